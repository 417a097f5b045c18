r"""The amortised posterior as modules that become good graphs.

Base noise is an input, so that a graph is a function: the same noise gives the same draws in any
runtime. Nothing here is trained; the modules hold the weights of the estimator in the form in
which sampling needs them, with masks multiplied in.
"""

__all__ = ["FlowSampling", "PosteriorSampling"]

import math

import torch
from torch import Tensor, nn

from acie.errors import ConfigurationError
from acie.inference import NeuralPosteriorEstimator, PosteriorFlow

#: The splines act between these ends, as in :mod:`acie.inference.flow`.
_BOUND = 5.0


class FlowSampling(nn.Module):
    """Contexts and standard normal noise to draws of a :class:`PosteriorFlow`.

    Arguments:
        flow: A fitted flow of two variables or more.
    """

    def __init__(self, flow: PosteriorFlow) -> None:
        super().__init__()
        layers = list(reversed(flow.flow.transform.transforms))
        if flow.dim < 2 or any(layer.passes != 2 for layer in layers):
            raise ConfigurationError(
                "flow", expected="coupling layers over two variables or more", found=repr(flow.dim)
            )
        self.dim = flow.dim
        self.embed, self.affine = flow.embed, flow.affine
        for name in ("x_mean", "x_std", "context_mean", "context_std"):
            self.register_buffer(name, getattr(flow, name))
        # Rows of the variables, as the layer before leaves them: nothing is put back in between.
        order, couplings = torch.arange(flow.dim), []
        for layer in layers:
            couplings.append(Coupling(layer, flow.dim, order))
            order = torch.cat([(layer.order == half).nonzero()[:, 0] for half in (0, 1)])
        self.layers = nn.ModuleList(couplings)
        self.register_buffer("_back", order.argsort())
        # Puts the values below the diagonal into a matrix.
        row, column = torch.tril_indices(flow.dim, flow.dim, -1)
        place = torch.zeros(len(row), flow.dim, flow.dim)
        place[torch.arange(len(row)), row, column] = 1.0
        self.register_buffer("_place", place.flatten(1))

    def forward(self, context: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Draws and log |d draw / d noise|.

        Arguments:
            context: Shape ``(batch, context)``.
            noise: Shape ``(sample, batch, dim)``, or ``(batch, dim)`` for one draw of each.

        Returns:
            Shapes ``(*sample, batch, dim)`` and ``(*sample, batch)``.
        """
        dim = self.dim
        scaled = ((context - self.context_mean) / self.context_std).clamp(-8.0, 8.0)
        embedded = self.embed(scaled)
        affine = self.affine(embedded)
        loc, log_diagonal = affine[:, :dim], affine[:, dim : 2 * dim].clamp(-6.0, 9.0)
        value, factors = noise.permute(*reversed(range(noise.ndim))), []
        for layer in self.layers:
            value, pair = layer(value, embedded)
            factors.extend(pair)
        white = value.index_select(0, self._back)
        # A row of the root of the precision is its diagonal times a row of a unit triangle.
        white = white.movedim(0, 1).flatten(2) if noise.ndim == 3 else white.T[..., None]
        root = self._inverse(affine[:, 2 * dim :]) * self.x_std[:, None]
        draws = root @ (white * torch.exp(-log_diagonal)[..., None])
        draws = draws.permute(2, 0, 1) if noise.ndim == 3 else draws[..., 0]
        shift = self.x_std.log().sum() - log_diagonal.sum(-1)
        log_det = torch.cat(factors).log().sum(0)
        log_det = log_det.T if noise.ndim == 3 else log_det
        return draws + (loc * self.x_std + self.x_mean), log_det + shift

    def _inverse(self, below: Tensor) -> Tensor:
        r"""Inverse of :math:`1 + N` with N strictly lower triangular, ``(batch, dim, dim)``.

        N is nilpotent, so its Neumann series ends: :math:`(1 - N)(1 + N^2)(1 + N^4)...`, here in
        double precision, because its terms may cancel.
        """
        power = (below @ self._place).unflatten(-1, (self.dim, self.dim)).double()
        inverse, order = torch.eye(self.dim, dtype=power.dtype) - power, 2
        while order < self.dim:
            power = power @ power
            inverse, order = inverse + inverse @ power, 2 * order
        return inverse.float()


class Coupling(nn.Module):
    """The inverse of one coupling layer.

    The first half of the variables sees the context alone, and so do half of the hidden units:
    these are computed once per context, and only the others once per draw.

    Arguments:
        layer: Of the flow.
        dim: Number of variables.
        order: Which variable each row holds.
    """

    def __init__(self, layer: nn.Module, dim: int, order: Tensor) -> None:
        super().__init__()
        halves = [(layer.order == half).nonzero()[:, 0] for half in (0, 1)]
        place = order.argsort()
        for name, half in zip(("_first", "_second"), halves, strict=True):
            self.register_buffer(name, place[half])
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
        #: For each step: what is seen of the context gives ``alone`` and a part of ``both``.
        self.alone, self.fixed, self.moved = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for (weight, bias), (a, b), to_a, to_b in zip(pairs, inputs[:-1], alone, both, strict=True):
            self.alone.append(_linear(weight[to_a][:, a], bias[to_a]))
            self.fixed.append(_linear(weight[to_b][:, a], bias[to_b]))
            self.moved.append(_linear(weight[to_b][:, b], None))
        self.spline = InverseSpline(layer)

    def forward(self, value: Tensor, context: Tensor) -> tuple[Tensor, list[Tensor]]:
        """One layer.

        Arguments:
            value: Variables first, ``(dim, batch, sample)``, or ``(dim, batch)`` for one draw of
                each context.
            context: Shape ``(batch, embedding)``.

        Returns:
            The first and then the second half, and factors whose product is the derivative.
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
        known, first = self.spline(value.index_select(0, self._first), *table)
        hidden = known.movedim(0, -1)
        for index, (moved, shift) in enumerate(zip(self.moved, fixed, strict=True)):
            hidden = moved(nn.functional.silu(hidden) if index else hidden) + shift
        # Of many axes, runtimes split a long run of draws into short ones.
        table = self.spline.table(hidden.flatten(0, -2))
        moving = value.index_select(0, self._second).flatten(1)
        rest, second = self.spline(moving, *table)
        parts = [part.unflatten(1, shape) for part in (rest, second)]
        return torch.cat([known, parts[0]]), [first, parts[1]]


class InverseSpline(nn.Module):
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


class PosteriorSampling(nn.Module):
    """Features, redshift and noise to draws of both factors and their log density.

    Arguments:
        estimator: A fitted estimator with both factors and one root.
    """

    def __init__(self, estimator: NeuralPosteriorEstimator) -> None:
        super().__init__()
        self.spectral = FlowSampling(estimator.spectral)
        self.latent = FlowSampling(estimator.latent)

    def forward(
        self, features: Tensor, redshift: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Unconstrained draws and log q.

        Arguments:
            features: Standardised features, ``(batch, n_features)``.
            redshift: Shape ``(batch,)``.
            noise: Standard normal, the spectral variables first, ``(sample, batch, n)``.

        Returns:
            ``x_s`` ``(sample, batch, n_spectral)``, ``x_l`` ``(sample, batch, n_latent)`` and the
            joint log density, ``(sample, batch)``.
        """
        first = self.spectral.dim
        x_s, log_s = self.spectral(features, noise[..., :first])
        root = redshift[:, None].expand(*noise.shape[:-1], 1)
        context = torch.cat([x_s, root], -1).flatten(0, 1)
        x_l, log_l = self.latent(context, noise[..., first:].flatten(0, 1))
        base = -0.5 * ((noise * noise).sum(-1) + noise.shape[-1] * math.log(2.0 * math.pi))
        shape = noise.shape[:-1]
        return x_s, x_l.unflatten(0, shape), base - log_s - log_l.unflatten(0, shape)


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
    return layer.requires_grad_(False)
