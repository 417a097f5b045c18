"""The inverse of a coupling layer of splines, in the form that runtimes compute fastest."""

__all__ = ["Coupling", "Dense"]

import math

import torch
from torch import Tensor, nn

#: The splines act between these ends, as in :mod:`acie.inference.couplings`.
_BOUND = 5.0


class Dense(nn.Module):
    """A linear layer whose weights are stored as the product takes them, ``(in, out)``."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach().T.contiguous())
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    def forward(self, value: Tensor) -> Tensor:
        """Shapes ``(*, in)`` to ``(*, out)``."""
        product = value @ self.weight
        return product if self.bias is None else product + self.bias


class Coupling(nn.Module):
    """The inverse of one coupling layer.

    The first half of the variables sees the context alone, and so do half of the hidden units:
    these are computed once per context, and only the others once per draw.

    Arguments:
        layer: Of the flow.
        dim: Number of variables.
    """

    def __init__(self, layer: nn.Module, dim: int) -> None:
        super().__init__()
        halves = [(layer.order == half).nonzero()[:, 0] for half in (0, 1)]
        #: Which variable each row holds: the first half comes first.
        self.rows, self.first = torch.cat(halves), len(halves[0])
        linear = [part for part in layer.hyper if isinstance(part, nn.Linear)]
        pairs = [(part.mask * part.weight, part.bias) for part in linear]
        rows = torch.arange(layer.total)
        ends = [(half[:, None] * layer.total + rows).flatten() for half in halves]
        # Hidden units that see the context alone, and those that see the first half too.
        sees = pairs[0][0][:, halves[0]].abs().sum(1) > 0
        alone, both = [(~sees).nonzero()[:, 0]], [sees.nonzero()[:, 0]]
        for weight, _ in pairs[1:-1]:
            sees = weight[:, both[-1]].abs().sum(1) > 0
            alone.append((~sees).nonzero()[:, 0])
            both.append(sees.nonzero()[:, 0])
        alone.append(ends[0])
        both.append(ends[1])
        context = torch.arange(dim, pairs[0][0].shape[1])
        inputs = [(context, halves[0]), *zip(alone, both, strict=True)]
        # Of each step: from what sees the context alone to the same, and to the others, and from
        # these to themselves.
        self.alone, self.fixed, self.moved = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        steps = zip(pairs, inputs[:-1], alone, both, strict=True)
        for (weight, bias), (a, b), to_a, to_b in steps:
            self.alone.append(Dense(weight[to_a][:, a], bias[to_a]))
            self.fixed.append(Dense(weight[to_b][:, a], bias[to_b]))
            self.moved.append(Dense(weight[to_b][:, b], None))
        self.spline = _InverseSpline(layer)

    def forward(self, value: Tensor, log_det: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """One layer.

        Arguments:
            value: Those of the first half, then the others, ``(dim, batch, sample)``, or
                ``(dim, batch)`` for one draw of each context.
            log_det: Of the layers before, ``(batch, *sample)``.
            context: Shape ``(batch, embedding)``.

        Returns:
            The same two after this layer.
        """
        shape, fixed, hidden = value.shape[1:], [], context
        for index, (alone, both) in enumerate(zip(self.alone, self.fixed, strict=True)):
            hidden = nn.functional.silu(hidden) if index else hidden
            fixed.append(both(hidden))
            hidden = alone(hidden)
        table = self.spline.table(hidden)
        if len(shape) == 2:
            table = tuple(part[..., None] for part in table)
            fixed = [part[:, None] for part in fixed]
        known, first = self.spline(value[: self.first], *table)
        hidden = known.movedim(0, -1)
        for index, (moved, shift) in enumerate(zip(self.moved, fixed, strict=True)):
            hidden = moved(nn.functional.silu(hidden) if index else hidden) + shift
        # Of many axes, runtimes split a long run of draws into short ones.
        table = self.spline.table(hidden.flatten(0, -2))
        moving = value[self.first :].flatten(1)
        rest, second = self.spline(moving, *table)
        parts = [part.unflatten(1, shape) for part in (rest, second)]
        slope = torch.cat([first, parts[1]])
        return torch.cat([known, parts[0]]), log_det + slope.log().sum(0)


class _InverseSpline(nn.Module):
    """Inverses of rational-quadratic splines with the variables and bins on the leading axes.

    Long runs of draws come last, so that every operation is one over contiguous memory, and a bin
    is chosen by sums of products with zeros and ones.

    References:
        Durkan et al. 2019, Neural Spline Flows, arXiv:1906.04032, equations 4 to 8.

    Arguments:
        layer: Supplies the number of bins and the smallest slope.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.bins = layer.shapes[0][0]
        self.scale = 1.0 / abs(math.log(layer.univariate.keywords["slope"]))
        self.register_buffer("_sums", torch.ones(self.bins - 1, self.bins).tril())

    def table(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Widths and heights, slopes and inner knots, each ``(variable, ..., row)``.

        Arguments:
            parameters: Shape ``(row, variable * (3 bin - 1))``.
        """
        bins = self.bins
        parameters = parameters.T.unflatten(0, (-1, 3 * bins - 1))
        sizes, slopes = parameters[:, : 2 * bins], parameters[:, 2 * bins :]
        sizes = torch.exp(sizes / (1.0 + (2.0 * self.scale) * sizes.abs()))
        sizes = sizes.unflatten(1, (2, bins))
        sizes = sizes * (2.0 * _BOUND / sizes.sum(2, keepdim=True))
        slopes = torch.exp(slopes / (1.0 + self.scale * slopes.abs()))
        return sizes, slopes, self._sums @ sizes[:, 1] - _BOUND

    def forward(
        self, value: Tensor, sizes: Tensor, slopes: Tensor, knots: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Inverse and its derivative, both of the shape of the value.

        Arguments:
            value: Shape ``(variable, *row)``.
            sizes: From :meth:`table`, as are the next two.
            slopes: Slopes at the inner knots.
            knots: Inner knots.
        """
        inside = value.clamp(-_BOUND, _BOUND)
        # One where the value lies beyond an inner knot.
        beyond = (inside[:, None] > knots).to(value.dtype)
        x0, y0 = ((beyond[:, None] * sizes[:, :, :-1]).sum(2) - _BOUND).unbind(1)
        one = torch.ones_like(beyond[:, :1])
        left = torch.cat([one, beyond], 1)
        chosen = left - torch.cat([beyond, torch.zeros_like(one)], 1)
        width, height = (chosen[:, None] * sizes).sum(2).unbind(1)
        # Beyond the ends the slope is one.
        start = (chosen[:, 1:] * slopes).sum(1) + chosen[:, 0]
        end = (chosen[:, :-1] * slopes).sum(1) + chosen[:, -1]
        per_slope = width / height
        start = start * per_slope
        bend = start - 2.0 + end * per_slope
        above = (inside - y0) / height
        b = start - above * bend
        root = (b - 2.0 * above) * (b - 2.0 * above) + 4.0 * above * (1.0 - above)
        share = 2.0 * above / (b + root.clamp(min=0.0).sqrt())
        slope = start + share * (2.0 - 2.0 * start + share * bend)
        bent = 1.0 + bend * (share - share * share)
        return x0 + share * width + (value - inside), bent * bent * per_slope / slope
