r"""The amortised posterior as modules that become good graphs.

Base noise is an input, so that a graph is a function: the same noise gives the same draws in any
runtime. Nothing here is trained; the modules hold the weights of the estimator in the form in
which sampling needs them, with masks multiplied in.
"""

__all__ = ["FlowSampling", "LatentSampling"]

import math

import torch
from torch import Tensor, nn

from acie.errors import ConfigurationError
from acie.inference import NeuralPosteriorEstimator, PosteriorFlow

#: The splines act between these ends, as in :mod:`acie.inference.flow`.
_BOUND = 5.0


class FlowContext(nn.Module):
    """What the draws of a flow need of each context.

    Arguments:
        flow: A fitted flow.
    """

    def __init__(self, flow: PosteriorFlow) -> None:
        super().__init__()
        self.dim = flow.dim
        self.embed = _ResidualMLP(flow.embed)
        self.affine = _Linear(flow.affine.weight, flow.affine.bias)
        for name in ("x_mean", "x_std", "context_mean", "context_std"):
            self.register_buffer(name, getattr(flow, name).clone())
        # Puts the values below the diagonal into a matrix.
        row, column = torch.tril_indices(flow.dim, flow.dim, -1)
        place = torch.zeros(len(row), flow.dim, flow.dim)
        place[torch.arange(len(row)), row, column] = 1.0
        self.register_buffer("_place", place.flatten(1))

    def forward(self, context: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of contexts ``(batch, context)``.

        Returns:
            The embedding ``(batch, embedding)``; a matrix ``(batch, dim, dim)`` that whitened
            variables are multiplied with and a centre ``(batch, dim)`` that is added; the log
            determinant of the matrix, ``(batch,)``.
        """
        scaled = ((context - self.context_mean) / self.context_std).clamp(-8.0, 8.0)
        embedded = self.embed(scaled)
        affine, dim = self.affine(embedded), self.dim
        log_diagonal = affine[:, dim : 2 * dim].clamp(-6.0, 9.0)
        # A row of the root of the precision is its diagonal times a row of a unit triangle.
        inverse = self._inverse(affine[:, 2 * dim :]) * torch.exp(-log_diagonal)[:, None]
        centre = affine[:, :dim] * self.x_std + self.x_mean
        log_det = self.x_std.log().sum() - log_diagonal.sum(-1)
        return embedded, inverse * self.x_std[:, None], centre, log_det

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


class FlowStart(nn.Module):
    """Noise with its variables first, as the layers take it."""

    def forward(self, noise: Tensor, log_det: Tensor) -> tuple[Tensor, Tensor]:
        """Shapes ``(dim, batch, *sample)`` and ``(batch, *sample)``.

        Arguments:
            noise: Shape ``(*sample, batch, dim)``.
            log_det: Shape ``(batch,)``.
        """
        value = noise.permute(*reversed(range(noise.ndim)))
        return value, log_det if noise.ndim == 2 else log_det[:, None].expand(value.shape[1:])


class FlowPlacement(nn.Module):
    """Whitened variables to their location and scale.

    Arguments:
        order: Which variable each row holds.
    """

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("back", order.argsort())

    def forward(
        self, value: Tensor, log_det: Tensor, matrix: Tensor, centre: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Draws ``(*sample, batch, dim)`` and log |d draw / d noise| ``(*sample, batch)``.

        Arguments:
            value: Whitened, ``(dim, batch, *sample)``.
            log_det: Shape ``(batch, *sample)``.
            matrix: From :class:`FlowContext`, as is the next one.
            centre: Shape ``(batch, dim)``.
        """
        white = value.index_select(0, self.back)
        if value.ndim == 2:
            return (matrix @ white.T[..., None])[..., 0] + centre, log_det
        return (matrix @ white.transpose(0, 1)).permute(2, 0, 1) + centre, log_det.T


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
                "flow",
                expected="coupling layers over two variables or more",
                found=f"{flow.dim} variables",
            )
        self.dim = flow.dim
        self.context, self.start = FlowContext(flow), FlowStart()
        self.layers = nn.ModuleList(Coupling(layer, flow.dim) for layer in layers)
        # Each layer wants its first half first, of what the layer before it left.
        orders = [torch.arange(flow.dim), *(layer.rows for layer in self.layers)]
        for index, (before, layer) in enumerate(zip(orders, self.layers, strict=False)):
            self.register_buffer(f"take{index}", before.argsort()[layer.rows])
        self.place = FlowPlacement(orders[-1])

    def forward(self, context: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Draws and log |d draw / d noise|.

        Arguments:
            context: Shape ``(batch, context)``.
            noise: Shape ``(sample, batch, dim)``, or ``(batch, dim)`` for one draw of each.

        Returns:
            Shapes ``(*sample, batch, dim)`` and ``(*sample, batch)``.
        """
        embedded, matrix, centre, log_det = self.context(context)
        value, log_det = self.start(noise, log_det)
        for index, layer in enumerate(self.layers):
            taken = value.index_select(0, getattr(self, f"take{index}"))
            value, log_det = layer(taken, log_det, embedded)
        return self.place(value, log_det, matrix, centre)


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
            self.alone.append(_Linear(weight[to_a][:, a], bias[to_a]))
            self.fixed.append(_Linear(weight[to_b][:, a], bias[to_b]))
            self.moved.append(_Linear(weight[to_b][:, b], None))
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


class LatentSampling(nn.Module):
    """One draw of the latent factor for each draw of the spectral one.

    Arguments:
        estimator: A fitted estimator with a latent factor and one root.
    """

    def __init__(self, estimator: NeuralPosteriorEstimator) -> None:
        super().__init__()
        if estimator.latent is None or estimator.n_root != 1:
            raise ConfigurationError(
                "estimator",
                expected="a latent factor and one observed root",
                found=f"{estimator.n_latent} latent variables, {estimator.n_root} roots",
            )
        self.flow = FlowSampling(estimator.latent)

    def forward(self, x_s: Tensor, redshift: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Draws and their log density.

        Arguments:
            x_s: Unconstrained spectral variables, ``(sample, batch, n_spectral)``.
            redshift: Shape ``(batch,)``.
            noise: Standard normal, ``(sample, batch, n_latent)``.

        Returns:
            Shapes ``(sample, batch, n_latent)`` and ``(sample, batch)``.
        """
        root = redshift[:, None].expand(*x_s.shape[:-1], 1)
        context = torch.cat([x_s, root], -1).flatten(0, 1)
        x_l, log_det = self.flow(context, noise.flatten(0, 1))
        base = -0.5 * (noise * noise).sum(-1) - 0.5 * self.flow.dim * math.log(2.0 * math.pi)
        shape = x_s.shape[:-1]
        return x_l.unflatten(0, shape), base - log_det.unflatten(0, shape)


class _ResidualMLP(nn.Module):
    """The embedding network of a flow, ``(batch, in)`` to ``(batch, out)``."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        norm, _, last = network.last
        self.first, self.norm, self.last = _of(network.first), norm, _of(last)
        self.blocks = nn.ModuleList(
            nn.ModuleList([block[0], _of(block[1]), _of(block[3])]) for block in network.blocks
        )

    def forward(self, value: Tensor) -> Tensor:
        hidden = self.first(value)
        for norm, inner, outer in self.blocks:
            hidden = hidden + outer(nn.functional.silu(inner(norm(hidden))))
        return self.last(nn.functional.silu(self.norm(hidden)))


class _Linear(nn.Module):
    """A linear layer whose weights are stored as the product takes them, ``(in, out)``."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach().T.contiguous())
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    def forward(self, value: Tensor) -> Tensor:
        product = value @ self.weight
        return product if self.bias is None else product + self.bias


def _of(layer: nn.Linear) -> _Linear:
    return _Linear(layer.weight, layer.bias)
