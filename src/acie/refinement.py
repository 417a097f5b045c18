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
#: Galaxies refined together, and spectra kept at a time (24 kB each): bounds of the memory.
_GROUP = 16
_SPECTRA = 4096
_FIGURES = ("efficiency", "size", "fit", "correlation")


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

    def put(self, chosen: Tensor, other: "RefinedPosterior") -> None:
        """Replace the galaxies ``chosen``, a mask ``(batch,)``, by those of ``other``."""
        for name, value in other.values.items():
            self.values[name][:, chosen] = value
        self.spectra[:, chosen] = other.spectra
        for name in _FIGURES:
            getattr(self, name)[chosen] = getattr(other, name)

    def outside_inference_mode(self) -> "RefinedPosterior":
        """A copy whose tensors may take part in later differentiation."""
        values = {name: value.clone() for name, value in self.values.items()}
        figures = {name: getattr(self, name).clone() for name in _FIGURES}
        return RefinedPosterior(values=values, spectra=self.spectra.clone(), **figures)


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
        configs = [self._config] if self._config else _levels(num_samples)
        # Thousands of small operations: without the records of autograd they are a tenth faster.
        with torch.inference_mode():
            found = self._batch(observation, features, configs[0], num_samples, generator)
            # Correlated residuals inflate the errors, once and for all.
            inflated = found.correlation > MISFIT
            inflation = torch.where(inflated, found.correlation, 1.0)
            needy = inflated | (found.size < HARD * num_samples)
            for config in configs[1:]:
                if not bool(needy.any()):
                    break
                part = (observation[needy], features[needy], config, num_samples, generator)
                found.put(needy, self._batch(*part, inflation[needy]))
                needy = found.size < HARD * num_samples
        return found.outside_inference_mode()

    def _batch(
        self,
        observation: Observation,
        features: Tensor,
        config: RefinementConfig,
        num_samples: int,
        generator: torch.Generator,
        inflation: Tensor | None = None,
    ) -> RefinedPosterior:
        size = max(1, min(_GROUP, _SPECTRA // config.evaluations))
        parts = []
        for group in torch.arange(len(observation)).split(size):
            own = None if inflation is None else inflation[group]
            part = (observation[group], features[group], config, num_samples, generator, own)
            parts.append(self._once(*part))
        return _joined(parts)

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


def _levels(num_samples: int) -> list[RefinementConfig]:
    """For every galaxy, for those that need more, and for those that need much more."""
    few, some = max(32, 3 * num_samples // 8), max(48, num_samples // 2)
    first, many = max(64, 5 * num_samples // 8), max(64, num_samples)
    return [
        RefinementConfig(first=first, rounds=(few, many), components=1),
        RefinementConfig(first=some + few, rounds=(few, some, many), components=1),
        RefinementConfig(first=2 * many, rounds=(many,) * 4 + (3 * many // 2,) * 2, components=2),
    ]


def _joined(parts: list[RefinedPosterior]) -> RefinedPosterior:
    """Groups of galaxies as one batch."""
    values = {
        name: torch.cat([part.values[name] for part in parts], 1) for name in parts[0].values
    }
    spectra = torch.cat([part.spectra for part in parts], 1)
    figures = {name: torch.cat([getattr(part, name) for part in parts]) for name in _FIGURES}
    return RefinedPosterior(values=values, spectra=spectra, **figures)
