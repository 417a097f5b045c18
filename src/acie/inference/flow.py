"""A conditional density on unconstrained variables: location, scale, then a neural spline flow.

This is one of the two files that may import zuko. Importing zuko switches torch's validation of
distributions off for the whole process; the state found before the import is restored here.
"""

__all__ = ["PosteriorFlow"]

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from acie import native
from acie.device import full_precision
from acie.errors import ConfigurationError, NotFitted
from acie.inference.compiled import CompiledCouplings, CompiledEmbedding
from acie.replay import Constant

_validation = Distribution._validate_args
import zuko  # noqa: E402

Distribution.set_default_validate_args(_validation)


class _ResidualMLP(nn.Module):
    """A pre-normalised residual network: ``(*, n_in)`` to ``(*, n_out)``."""

    def __init__(self, n_in: int, n_out: int, width: int, blocks: int) -> None:
        super().__init__()
        self.first = nn.Linear(n_in, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width),
                nn.Linear(width, width),
                nn.SiLU(),
                nn.Linear(width, width),
            )
            for _ in range(blocks)
        )
        self.last = nn.Sequential(nn.LayerNorm(width), nn.SiLU(), nn.Linear(width, n_out))

    def forward(self, value: Tensor) -> Tensor:
        hidden = self.first(value)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return self.last(hidden)


class _FlowDistribution:
    """The density of :class:`PosteriorFlow` for one batch of contexts.

    Arguments:
        loc: Centre of the posterior in standardised units, ``(batch, dim)``.
        tri: Lower-triangular square root of the precision, ``(batch, dim, dim)``.
        spline: The flow of the whitened variables.
        context: Its embedded context, ``(batch, embedding)``.
        affine: What the first two were made of, ``(batch, dim + dim (dim + 1) / 2)``.
        shift: Mean of the training variables, ``(dim,)``.
        scale: Standard deviation of the training variables, ``(dim,)``.
    """

    def __init__(
        self,
        loc: Tensor,
        tri: Tensor,
        spline: zuko.flows.NSF,
        context: Tensor,
        affine: Tensor,
        shift: Tensor,
        scale: Tensor,
    ) -> None:
        self._loc, self._tri = loc, tri
        self.spline, self.context, self.affine = spline, context, affine
        self._shift, self._scale = shift, scale
        self.placement = _Placement(loc, tri, shift, scale)
        self.ladj = tri.diagonal(dim1=-2, dim2=-1).log().sum(-1) - scale.log().sum()

    @functools.cached_property
    def _flow(self) -> Distribution:
        """The density of the whitened variables, which draws do without."""
        return self.spline(self.context)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density at ``x``, shape ``(*sample, batch, dim)`` to ``(*sample, batch)``."""
        centred = (x - self._shift) / self._scale - self._loc
        white = (self._tri @ centred.unsqueeze(-1)).squeeze(-1)
        return self._flow.log_prob(white) + self.ladj

    def sample_and_log_prob(
        self, num_samples: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draw ``(sample, batch, dim)`` and the log density ``(sample, batch)`` of each draw."""
        # zuko would draw from the global state, hence the base noise is drawn here.
        shape = (num_samples, *self._loc.shape)
        noise = torch.randn(
            shape, generator=generator, device=generator.device, dtype=self._loc.dtype
        )
        noise = noise.to(self._loc.device)
        if torch.is_grad_enabled() or shape[-1] == 1:
            return self.push(noise)
        # The same map nine times faster, without gradients; a single variable has no coupling.
        x, log_det = self.whitened()(noise)
        return x, _log_normal(noise) - log_det

    def whitened(self) -> "_Whitened":
        """The same density as a map from standard normal noise, prepared for many draws."""
        return _Whitened(self)

    def push(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Map standard normal noise ``(sample, batch, dim)`` to draws and their log density."""
        white, ladj = self._flow.transform.inv.call_and_ladj(noise)
        return self.placement(white), _log_normal(noise) - ladj + self.ladj


@dataclass(frozen=True)
class _Placement:
    """Whitened variables to their location and scale; arguments as of the density."""

    loc: Tensor
    tri: Tensor
    shift: Tensor
    scale: Tensor

    def __call__(self, white: Tensor) -> Tensor:
        """Map ``(sample, batch, dim)``."""
        # Samples become columns, so that one triangular solve serves them all.
        columns = white.permute(1, 2, 0)
        centred = torch.linalg.solve_triangular(self.tri, columns, upper=False)
        return (centred.permute(2, 0, 1) + self.loc) * self.scale + self.shift


class _CouplingLayers(Constant):
    """Weights of a spline flow's layers, in the order and the parts that its inverse needs.

    In a coupling layer the first half of the variables depends on the context alone. All layers
    are of the same shape, so what depends on the context alone is computed for all at once.

    Arguments:
        flow: A flow whose layers take two passes.
    """

    def __init__(self, flow: zuko.flows.NSF) -> None:
        layers = list(reversed(flow.transform.transforms))
        dim = len(layers[0].order)
        #: Supplies the number of bins and the smallest slope, the same for all.
        self.layer = layers[0]
        #: Columns of the halves of each layer, as the layer before leaves them, and in the end.
        self.columns: list[tuple[Tensor, Tensor]] = []
        #: Of each layer, what the first half adds to the first hidden units.
        self.heads: list[Tensor] = []
        #: Of each layer, weights and biases from there to the parameters of the second half.
        self.tails: list[list[tuple[Tensor, Tensor]]] = []
        shared: list[list[tuple[Tensor, Tensor]]] = []
        place = torch.arange(dim, device=layers[0].order.device)
        for layer in layers:
            halves = [(layer.order == half).nonzero()[:, 0] for half in (0, 1)]
            linear = [part for part in layer.hyper if isinstance(part, nn.Linear)]
            pairs = [(part.mask * part.weight, part.bias.detach()) for part in linear]
            (weight, bias), *between, last = pairs
            rows = torch.arange(layer.total, device=place.device)
            ends = [(half[:, None] * layer.total + rows).flatten() for half in halves]
            self.columns.append((place[halves[0]], place[halves[1]]))
            self.heads.append(weight[:, halves[0]])
            self.tails.append([*between, tuple(part[ends[1]] for part in last)])
            shared.append(
                [(weight[:, dim:], bias), *between, tuple(part[ends[0]] for part in last)]
            )
            place = torch.cat(halves).argsort()
        self.restore = place
        #: The same for the kernel that draws, or none.
        self.compiled = None
        if CompiledCouplings.covers(layers):
            order = torch.stack([*(torch.cat(halves) for halves in self.columns), place])
            self.compiled = CompiledCouplings(layers, order)
        #: Weights ``(layer, in, out)`` and biases ``(layer, 1, out)`` of the first halves.
        self.shared = [
            (torch.stack([w.T for w, _ in step]), torch.stack([b for _, b in step])[:, None])
            for step in zip(*shared, strict=True)
        ]

    @classmethod
    def of(cls, flow: zuko.flows.NSF) -> "_CouplingLayers":
        """Those of a flow, made anew only where its weights have changed."""
        return _prepared(flow, cls)


def _prepared(module: nn.Module, prepare: Callable[[nn.Module], Constant]) -> Constant:
    """``prepare(module)``, called anew only where its parameters have changed."""
    state = tuple((part.data_ptr(), part._version) for part in module.parameters())
    kept = _kept.get(module)
    if kept is None or kept[0] != state:
        with torch.inference_mode(False), torch.no_grad():
            kept = _kept[module] = state, prepare(module)
    return kept[1]


_kept: WeakKeyDictionary = WeakKeyDictionary()


class _CouplingInverse:
    """The inverse of a spline flow for fixed contexts, with as few network calls as it needs.

    The splines of the first halves are made once for all draws; the network then runs once per
    draw and layer for the second half. (zuko runs it three times per draw, because its
    autoregressive layers may have any order.)

    Arguments:
        flow: A flow whose layers take two passes.
        context: Shape ``(batch, context)``.
    """

    def __init__(self, flow: zuko.flows.NSF, context: Tensor) -> None:
        self._layers = layers = _CouplingLayers.of(flow)
        (weight, bias), *rest = layers.shared
        hidden = torch.baddbmm(bias, context.expand(len(weight), *context.shape), weight)
        #: What the context adds to the first hidden units, ``(layer, batch, hidden)``.
        self._fixed = hidden
        for weight, bias in rest:
            hidden = torch.baddbmm(bias, nn.functional.silu(hidden), weight)
        self._first = _InverseSpline.of(
            hidden.unflatten(-1, (-1, layers.layer.total)), layers.layer
        )

    def __call__(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``(sample, batch, dim)`` back; also the log determinant, ``(sample, batch)``."""
        layers, places = self._layers, []
        for index, (first, second) in enumerate(layers.columns):
            known, place = self._first[index](value.index_select(-1, first))
            places.append(place)
            hidden = nn.functional.linear(known, layers.heads[index]) + self._fixed[index]
            for weight, bias in layers.tails[index]:
                hidden = nn.functional.linear(nn.functional.silu(hidden), weight, bias)
            spline = _InverseSpline.of(hidden.unflatten(-1, (len(second), -1)), layers.layer)
            rest, place = spline(value.index_select(-1, second))
            places.append(place)
            value = torch.cat([known, rest], -1)
        return value.index_select(-1, layers.restore), _InverseSpline.log_derivative(places)


class _InverseSpline:
    r"""The inverse of zuko's rational-quadratic spline and its log derivative in one pass.

    zuko finds the inverse first and its derivative by a second evaluation of the spline; together
    they take a third of the operations.

    References:
        Durkan et al. 2019, Neural Spline Flows, arXiv:1906.04032, equations 4 to 8.

    Arguments:
        inner: Inner knots of values, ``(*, bin - 1)``.
        table: For each bin: left knot of both axes, width, height, slopes at both knots,
            ``(*, 6, bin)``.
    """

    _BOUND = 5.0

    def __init__(self, inner: Tensor, table: Tensor) -> None:
        self._inner, self._table = inner, table

    @classmethod
    def of(cls, parameters: Tensor, layer: nn.Module) -> "_InverseSpline":
        """From the output of a layer's network.

        Arguments:
            parameters: Widths, heights and derivatives, ``(*, 3 bin - 1)``.
            layer: Supplies the number of bins and the smallest slope.
        """
        bins = layer.shapes[0][0]
        scale = 1.0 / abs(math.log(layer.univariate.keywords["slope"]))
        sizes, slopes = parameters.split([2 * bins, bins - 1], -1)
        sizes = sizes.unflatten(-1, (2, bins))
        # Bounded by the line itself, so the exponential needs no maximum taken off first.
        sizes = (sizes / (1.0 + (2.0 * scale) * sizes.abs())).exp()
        sizes = sizes * (2.0 * cls._BOUND / sizes.sum(-1, keepdim=True))
        edges = sizes.cumsum(-1) - cls._BOUND
        slopes = (slopes / (1.0 + scale * slopes.abs())).exp()
        slopes = nn.functional.pad(slopes, (1, 1), value=1.0)
        ends = slopes.unfold(-1, 2, 1).transpose(-1, -2)
        return cls(edges[..., 1, :-1], torch.cat([edges - sizes, sizes, ends], -2))

    def __getitem__(self, index: int) -> "_InverseSpline":
        """Those at one place of the first axis, for example of one layer."""
        return _InverseSpline(self._inner[index], self._table[index])

    def __call__(self, value: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Inverse of ``(sample, *)``, and what its derivative follows from."""
        # Beyond its ends the spline goes on with a slope of one.
        inside = value.clamp(-self._BOUND, self._BOUND)
        index = (inside[..., None] > self._inner).sum(-1)
        table = self._table.expand(*value.shape, *self._table.shape[-2:])
        found = table.gather(-1, index[..., None, None].expand(*value.shape, table.shape[-2], 1))
        x0, y0, width, height, start, end = found[..., 0].unbind(-1)
        # In a bin, everything is measured in its width, height and mean slope.
        per_slope = width / height
        start = start * per_slope
        bend = torch.addcmul(start - 2.0, end, per_slope)
        above = (inside - y0) / height
        b = torch.addcmul(start, above, bend, value=-1.0)
        root = torch.addcmul(
            torch.sub(b, above, alpha=2.0).square(), above, 1.0 - above, value=4.0
        )
        share = 2.0 * above / (b + root.clamp(min=0.0).sqrt())
        return torch.addcmul(x0, share, width) + (value - inside), (share, start, bend, per_slope)

    @staticmethod
    def log_derivative(places: list[tuple[Tensor, ...]]) -> Tensor:
        """Log derivatives of several splines, summed over the last axes."""
        share, start, bend, per_slope = (torch.cat(part, -1) for part in zip(*places, strict=True))
        rest = torch.addcmul(share, share, share, value=-1.0)
        # The mean slope times this over the square of the next is the slope there.
        slope = torch.addcmul(start, share, torch.addcmul(2.0 - 2.0 * start, share, bend))
        return ((1.0 + bend * rest).square() * per_slope / slope).log().sum(-1)


class _Whitened:
    """Standard normal noise to draws of :class:`_FlowDistribution`, and the volume change.

    Arguments:
        law: The density.
    """

    def __init__(self, law: "_FlowDistribution") -> None:
        self._place, self._ladj = law.placement, law.ladj
        self._spline, self._context, self._affine = law.spline, law.context, law.affine
        self._layers = _CouplingLayers.of(law.spline)
        # The kernel does by itself what is prepared here.
        compiled = native.available() and self._layers.compiled
        self._inverse = None if compiled else self._prepare()

    def _prepare(self) -> _CouplingInverse:
        return _CouplingInverse(self._spline, self._context)

    def __call__(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Draws ``(sample, batch, dim)`` and log |d draw / d noise|, ``(sample, batch)``."""
        compiled = self._layers.compiled
        if compiled and native.usable(noise, self._context, self._affine):
            scaling = torch.stack([self._place.shift, self._place.scale])
            return compiled(noise, self._context, self._affine, scaling)
        white, ladj = (self._inverse or self._prepare())(noise)
        return self._place(white), ladj - self._ladj


class PosteriorFlow(nn.Module):
    r"""Conditional density q(x | context) of unconstrained variables.

    A residual MLP embeds the context. From the embedding come a location :math:`\mu` and a lower
    triangular square root of the precision :math:`T`, so that :math:`T (x - \mu)` is nearly
    standard normal however narrow the posterior is, and a coupling neural spline flow for what is
    not Gaussian. Without the first step a posterior twenty times narrower than the prior would
    fall into a single spline bin. Splines act on :math:`[-5, 5]` and are the identity outside.

    References:
        Durkan et al. 2019, Neural Spline Flows, arXiv:1906.04032, equations 4 to 8.

    Arguments:
        dim: Number of variables.
        context: Number of context features.
        width: Width of the embedding network.
        blocks: Residual blocks of the embedding network.
        embedding: Size of the embedding that every spline layer sees.
        transforms: Number of spline layers.
        bins: Bins of each spline.
        hidden: Hidden widths of the network of each spline layer.
        seed: Seed of the initial weights and of the permutations between layers. The global
            random state is left untouched.
    """

    #: Standard deviations beyond which the embedding has seen nothing: it saturates there, in
    #: place of exploding.
    _SATURATION = 8.0

    def __init__(
        self,
        dim: int,
        context: int,
        *,
        width: int = 256,
        blocks: int = 2,
        embedding: int = 64,
        transforms: int = 5,
        bins: int = 8,
        hidden: tuple[int, ...] = (128, 128),
        seed: int = 0,
    ) -> None:
        super().__init__()
        if dim < 1 or context < 1:
            raise ConfigurationError(
                "dim, context", expected="at least 1 each", found=f"{dim}, {context}"
            )
        self.config = {
            "dim": dim,
            "context": context,
            "width": width,
            "blocks": blocks,
            "embedding": embedding,
            "transforms": transforms,
            "bins": bins,
            "hidden": list(hidden),
            "seed": seed,
        }
        self.dim = dim
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embed = _ResidualMLP(context, embedding, width, blocks)
            self.affine = nn.Linear(embedding, 2 * dim + dim * (dim - 1) // 2)
            self.flow = zuko.flows.NSF(
                features=dim,
                context=embedding,
                transforms=transforms,
                bins=bins,
                passes=2,
                randperm=True,
                hidden_features=tuple(hidden),
                activation=nn.SiLU,
            )
        # Start at the training distribution: zero location, unit precision.
        nn.init.zeros_(self.affine.bias)
        with torch.no_grad():
            self.affine.weight.mul_(0.1)
        self.register_buffer("x_mean", torch.zeros(dim))
        self.register_buffer("x_std", torch.ones(dim))
        self.register_buffer("context_mean", torch.zeros(context))
        self.register_buffer("context_std", torch.ones(context))
        self.register_buffer("is_fitted", torch.zeros((), dtype=torch.bool))

    def fit_scaling(self, x: Tensor, context: Tensor) -> None:
        """Store the means and standard deviations of variables and contexts.

        Arguments:
            x: Training variables, ``(batch, dim)``.
            context: Training contexts, ``(batch, context)``.
        """
        self.x_mean.copy_(x.mean(0))
        self.x_std.copy_(x.std(0).clamp_min(1e-6))
        self.context_mean.copy_(context.mean(0))
        # A feature that was constant in training must not become an amplifier of rounding.
        std = context.std(0)
        self.context_std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))
        self.is_fitted.fill_(True)

    def _require_scaling(self) -> None:
        if not bool(self.is_fitted):
            raise NotFitted(
                "PosteriorFlow",
                expected="a flow whose scaling is set",
                found="an untrained flow",
                remedy="Call fit_scaling and train, or load a bundle.",
            )

    def forward(self, context: Tensor) -> _FlowDistribution:
        """The density given contexts of shape ``(batch, context)``."""
        self._require_scaling()
        limit = self._SATURATION
        scaled = ((context - self.context_mean) / self.context_std).clamp(-limit, limit)
        # Only the embedding, most of the work, takes part in mixed precision: three digits of a
        # location are too few for a posterior that is twenty times narrower than the prior.
        embedded = self.embed(scaled).to(scaled.dtype)
        with full_precision(embedded):
            return self._law(embedded)

    def _law(self, embedded: Tensor) -> _FlowDistribution:
        affine = self.affine(embedded)
        loc, log_diagonal, rest = affine.split(
            [self.dim, self.dim, self.dim * (self.dim - 1) // 2], dim=-1
        )
        # Bounded so that an early training step cannot overflow float32.
        tri = torch.diag_embed(log_diagonal.clamp(-6.0, 9.0).exp())
        row, column = torch.tril_indices(self.dim, self.dim, -1, device=tri.device).unbind()
        # Rows are scaled with their diagonal: correlations, not precisions, are what is learned.
        below = torch.zeros_like(tri)
        below[..., row, column] = rest * tri[..., row, row]
        return _FlowDistribution(
            loc, tri + below, self.flow, embedded, affine, self.x_mean, self.x_std
        )

    def log_prob(self, x: Tensor, context: Tensor) -> Tensor:
        """Log density of ``x`` ``(*sample, batch, dim)`` given ``context`` ``(batch, context)``.

        Returns:
            Log density per unit of ``x``, shape ``(*sample, batch)``.
        """
        law = self(context)
        with full_precision(x):
            return law.log_prob(x)

    def sample_and_log_prob(
        self, num_samples: int, context: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draw ``(sample, batch, dim)`` and the log density ``(sample, batch)`` of each draw."""
        return self(context).sample_and_log_prob(num_samples, generator)

    def draw(self, noise: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """One draw for each of many contexts, without gradients: faster than the above.

        Arguments:
            noise: Standard normal, ``(batch, dim)``.
            context: Shape ``(batch, context)``.

        Returns:
            Draws ``(batch, dim)`` and their log density ``(batch,)``.
        """
        if self.dim == 1:
            # A single variable has no coupling layers.
            x, log_q = self(context).push(noise[None])
            return x[0], log_q[0]
        taken = native.usable(noise, context) and not torch.is_grad_enabled()
        couplings = _CouplingLayers.of(self.flow).compiled if taken else None
        if couplings and CompiledEmbedding.covers(self.embed):
            x, log_det = self._draw_compiled(couplings, noise[None], context)
        else:
            x, log_det = self(context).whitened()(noise[None])
        return x[0], _log_normal(noise) - log_det[0]

    def _draw_compiled(
        self, couplings: CompiledCouplings, noise: Tensor, context: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The map of a density, ``(1, batch, dim)``, without what only the density needs."""
        self._require_scaling()
        embed = _prepared(self.embed, CompiledEmbedding)
        embedded = embed(context, self.context_mean, self.context_std, self._SATURATION)
        with full_precision(embedded):
            affine = self.affine(embedded)
        return couplings(noise, embedded, affine, torch.stack([self.x_mean, self.x_std]))


def _log_normal(noise: Tensor) -> Tensor:
    """Log density of standard normal ``(*, dim)``, shape ``(*)``."""
    return -0.5 * (noise.square().sum(-1) + noise.shape[-1] * math.log(2.0 * math.pi))
