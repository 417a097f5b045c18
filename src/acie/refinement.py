"""From the amortised posterior of a galaxy to draws weighted with the exact likelihood.

The amortised posterior proposes the variables that act on the spectrum; each proposal gets one
draw of the others (halo mass, size), and the two are weighted together.
"""

__all__ = ["PosteriorRefiner", "RefinedPosterior"]

from dataclasses import dataclass

import torch
from torch import Tensor

from acie.galaxy_target import AmortisedProposal, GalaxyTarget, RefinementModels
from acie.inference import (
    AdaptiveImportanceSampler,
    RefinementConfig,
    effective_sample_size,
)
from acie.observation import Observation

#: Galaxies whose draws are worth less than this share of the number asked for get more of them.
HARD = 0.25
#: Residuals in bins of 5 pixels may exceed those of single pixels, in units of their stated
#: errors, by this factor before the errors are inflated by it.
MISFIT = 1.2
#: Galaxies refined together; bounds the memory of a long list.
_GROUP = 8


@dataclass(frozen=True)
class RefinedPosterior:
    """Equally weighted draws, and figures of each galaxy.

    Arguments:
        values: Every variable of the model, each ``(sample, batch)``.
        spectra: Model spectra, ``(sample, batch, wave)``.
        efficiency: Importance-sampling efficiency, ``(batch,)``.
        size: Effective number of all draws together, ``(batch,)``.
        fit: Robust standard deviation of the best draw's residuals in bins of 5, ``(batch,)``.
        correlation: That of bins over that of single pixels, ``(batch,)``.
    """

    values: dict[str, Tensor]
    spectra: Tensor
    efficiency: Tensor
    size: Tensor
    fit: Tensor
    correlation: Tensor


class PosteriorRefiner:
    """Importance refinement for batches of galaxies.

    Arguments:
        models: Amortised posterior, forward model, prior and noise.
        config: Draws spent on every galaxy; left out, about twice the number asked for, and many
            more on the galaxies that need it.
    """

    def __init__(self, models: RefinementModels, config: RefinementConfig | None = None) -> None:
        self._models, self._config = models, config

    def run(
        self,
        observation: Observation,
        features: Tensor,
        num_samples: int,
        generator: torch.Generator,
    ) -> RefinedPosterior:
        """Refined draws of a batch of galaxies.

        Arguments:
            observation: The batch.
            features: Standardised features, ``(batch, n_features)``.
            num_samples: Draws to return per galaxy.
            generator: Source of all randomness.
        """
        groups = torch.arange(len(observation)).split(_GROUP)
        # Thousands of small operations: without the records of autograd they are a tenth faster.
        with torch.inference_mode():
            parts = [
                self._group(observation[group], features[group], num_samples, generator)
                for group in groups
            ]
        return _joined(parts)

    def _group(
        self,
        observation: Observation,
        features: Tensor,
        num_samples: int,
        generator: torch.Generator,
    ) -> RefinedPosterior:
        short = self._config or _short(num_samples)
        found = self._once(observation, features, short, num_samples, generator)
        hard = (found.size < HARD * num_samples) | (found.correlation > MISFIT)
        for galaxy in torch.nonzero(hard)[:, 0].tolist():
            # Galaxies on which the amortised posterior misleads, or whose residuals are
            # correlated, get a longer adaptation, with errors inflated by the correlation.
            one = slice(galaxy, galaxy + 1)
            correlation = found.correlation[one]
            again = self._once(
                observation[one],
                features[one],
                self._config or _long(num_samples),
                num_samples,
                generator,
                inflation=torch.where(correlation > MISFIT, correlation, 1.0),
            )
            for name, value in again.values.items():
                found.values[name][:, one] = value
            found.spectra[:, one] = again.spectra
            for name in ("efficiency", "size", "fit"):
                getattr(found, name)[one] = getattr(again, name)
        return found

    def _once(
        self,
        observation: Observation,
        features: Tensor,
        config: RefinementConfig,
        num_samples: int,
        generator: torch.Generator,
        inflation: Tensor | None = None,
    ) -> RefinedPosterior:
        target = GalaxyTarget(self._models, observation, inflation, config, generator)
        proposal = AmortisedProposal(self._models.estimator.spectral, features)
        found = AdaptiveImportanceSampler(config).run(
            target, proposal, num_samples, generator, target.gauss_newton
        )
        values = target.state(found.index)
        best = found.index.gather(0, found.log_target.argmax(0)[None])
        binned, single = target.likelihood.misfit(target.spectra(best))
        return RefinedPosterior(
            values=values,
            spectra=target.spectra(found.index),
            efficiency=found.efficiency,
            size=effective_sample_size(found.log_weights),
            fit=binned[0].double(),
            correlation=(binned / single)[0].double(),
        )


def _short(num_samples: int) -> RefinementConfig:
    few, many = max(32, 3 * num_samples // 8), max(64, num_samples)
    return RefinementConfig(first=max(64, 5 * num_samples // 8), rounds=(few, many), components=1)


def _long(num_samples: int) -> RefinementConfig:
    few, some = max(48, 3 * num_samples // 8), max(48, num_samples // 2)
    many = max(64, num_samples)
    return RefinementConfig(first=some + few, rounds=(few, some, many), components=1)


def _joined(parts: list[RefinedPosterior]) -> RefinedPosterior:
    """One batch again, as tensors that may take part in later differentiation."""
    values = {
        name: torch.cat([part.values[name] for part in parts], 1) for name in parts[0].values
    }
    columns = ("efficiency", "size", "fit", "correlation")
    figures = {name: torch.cat([getattr(part, name) for part in parts]) for name in columns}
    spectra = torch.cat([part.spectra for part in parts], 1)
    return RefinedPosterior(values=values, spectra=spectra, **figures)
