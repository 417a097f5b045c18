"""The amortised posterior of one batch of galaxies, as a proposal to refine."""

__all__ = ["AmortisedPosterior"]

import torch
from torch import Tensor

from acie.inference.estimator import NeuralPosteriorEstimator
from acie.inference.importance import AdaptiveImportanceSampler, ImportanceResult, LogTarget


class AmortisedPosterior:
    """q(x_s, x_l | features, root) of a batch, with both factors side by side in ``x``.

    Arguments:
        estimator: A fitted estimator.
        features: Standardised features, ``(batch, n_features)``.
        root: Observed roots, ``(batch,)`` or ``(batch, n_root)``.
        chunk: Draws evaluated at once; bounds the memory of the spline parameters, which is
            about 10 kB per draw and galaxy.
    """

    def __init__(
        self,
        estimator: NeuralPosteriorEstimator,
        features: Tensor,
        root: Tensor,
        *,
        chunk: int = 256,
    ) -> None:
        self.estimator, self.features, self.root, self.chunk = estimator, features, root, chunk

    @torch.no_grad()
    def sample_and_log_prob(
        self, num_samples: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draws ``(sample, batch, dim)``, ``x_s`` before ``x_l``, and log density."""
        xs, logs = [], []
        for start in range(0, num_samples, self.chunk):
            count = min(self.chunk, num_samples - start)
            x_s, x_l, log_q = self.estimator.sample(count, self.features, self.root, generator)
            xs.append(torch.cat([x_s, x_l], dim=-1))
            logs.append(log_q)
        return torch.cat(xs), torch.cat(logs)

    @torch.no_grad()
    def log_prob(self, x: Tensor) -> Tensor:
        """Log density ``(sample, batch)`` of ``(sample, batch, dim)``."""
        split = [self.estimator.n_spectral, self.estimator.n_latent]
        return torch.cat(
            [
                self.estimator.log_prob(self.features, *part.split(split, dim=-1), self.root)
                for part in x.split(self.chunk)
            ]
        )

    def refine(
        self,
        log_target: LogTarget,
        num_samples: int,
        generator: torch.Generator,
        sampler: AdaptiveImportanceSampler | None = None,
    ) -> ImportanceResult:
        """Importance refinement with the exact target; see :class:`AdaptiveImportanceSampler`."""
        sampler = sampler if sampler is not None else AdaptiveImportanceSampler()
        return sampler.run(log_target, self, num_samples, generator)
