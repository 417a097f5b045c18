"""A conditional density on unconstrained variables: location, scale, then a neural spline flow.

This is one of the two files that may import zuko. Importing zuko switches torch's validation of
distributions off for the whole process; the state found before the import is restored here.
"""

__all__ = ["PosteriorFlow"]

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from acie import native
from acie.device import full_precision
from acie.errors import ConfigurationError, NotFitted
from acie.inference.compiled import CompiledCouplings, CompiledEmbedding
from acie.inference.couplings import CouplingInverse, CouplingLayers, prepared

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


class _Whitened:
    """Standard normal noise to draws of :class:`_FlowDistribution`, and the volume change.

    Arguments:
        law: The density.
    """

    def __init__(self, law: "_FlowDistribution") -> None:
        self._place, self._ladj = law.placement, law.ladj
        self._spline, self._context, self._affine = law.spline, law.context, law.affine
        self._layers = CouplingLayers.of(law.spline)
        # The kernel does by itself what is prepared here.
        compiled = native.available() and self._layers.compiled
        self._inverse = None if compiled else self._prepare()

    def _prepare(self) -> CouplingInverse:
        return CouplingInverse(self._spline, self._context)

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
        couplings = CouplingLayers.of(self.flow).compiled if taken else None
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
        embed = prepared(self.embed, CompiledEmbedding)
        embedded = embed(context, self.context_mean, self.context_std, self._SATURATION)
        with full_precision(embedded):
            affine = self.affine(embedded)
        return couplings(noise, embedded, affine, torch.stack([self.x_mean, self.x_std]))


def _log_normal(noise: Tensor) -> Tensor:
    """Log density of standard normal ``(*, dim)``, shape ``(*)``."""
    return -0.5 * (noise.square().sum(-1) + noise.shape[-1] * math.log(2.0 * math.pi))
