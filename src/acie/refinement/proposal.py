"""The amortised posterior as a proposal."""

__all__ = ["AmortisedProposal"]

import math
import operator
from collections.abc import Callable

import torch
from torch import Tensor

from acie import native
from acie.inference import PosteriorFlow
from acie.replay import call

#: Draws whose moments a proposal without splines takes, and how much wider it is.
_MOMENTS, _WIDE = 512, 1.2


class AmortisedProposal:
    """The spectral factor of the amortised posterior, in the space of its own noise.

    There it is a standard normal law, and the exact posterior is nearly normal too: the flow has
    taken its skewness away.

    Arguments:
        flow: The amortised posterior.
        features: Standardised features, ``(batch, n_features)``.
        generator: Given for galaxies far from what the flow was trained on: the moments of its
            draws are kept only, because splines mean little where they were not trained.
        replay: Plays back what is called for every galaxy.
    """

    def __init__(
        self,
        flow: PosteriorFlow,
        features: Tensor,
        generator: torch.Generator | None = None,
        replay: Callable = call,
    ) -> None:
        # A recording would hold what the kernels are there to replace.
        self._replay = call if native.available() else replay
        self._map = replay("law", lambda features: flow(features).whitened(), features)
        self._shape = (len(features), flow.dim)
        if generator is not None:
            # Made anew for each of them: nothing that could be played back.
            self._map, self._replay = self._moments(generator), call

    def _moments(self, generator: torch.Generator) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """The normal law with mean and covariance of the amortised posterior, made wider."""
        noise, _ = self.sample_and_log_prob(_MOMENTS, generator)
        x = self.variables(noise)[0].transpose(0, 1)
        mean = x.mean(1)
        centred = x - mean[:, None]
        root = _WIDE * torch.linalg.cholesky(centred.mT @ centred / _MOMENTS)
        log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)

        def place(noise: Tensor) -> tuple[Tensor, Tensor]:
            x = (root @ noise[..., None].to(root.dtype))[..., 0] + mean
            return x, log_det.expand(noise.shape[:-1])

        return place

    def sample_and_log_prob(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws ``(count, batch, dim)`` and their log density ``(count, batch)``."""
        noise = torch.randn((count, *self._shape), generator=generator, dtype=torch.float64)
        return noise, self.log_prob(noise)

    def log_prob(self, noise: Tensor) -> Tensor:
        """Log density of ``(sample, batch, dim)``, ``(sample, batch)``."""
        return -0.5 * (noise.square().sum(-1) + noise.shape[-1] * math.log(2.0 * math.pi))

    def variables(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Unconstrained variables and log |d variables / d noise|, ``(sample, batch)``."""
        x, log_det = self._replay("draws", operator.call, self._map, noise.float())
        return x.double(), log_det.double()
