"""What an answer holds: quality flags, posterior samples, counterfactual worlds."""

__all__ = [
    "Abduction",
    "CounterfactualResult",
    "PosteriorSamples",
    "QualityFlag",
    "summarise",
]

import enum
import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from acie.observation import Observation
from acie.quantiles import effective_draws, quantiles


class QualityFlag(enum.IntFlag):
    """What is weak about an answer; bits 16 to 30 are reserved and never set.

    Bad input raises an error; a weak result is flagged and returned.
    """

    #: Importance-sampling efficiency below 1 %: posterior and likelihood disagree.
    LOW_CONFIDENCE = 1 << 0
    #: The posterior predictive check fails: the model cannot reproduce this spectrum.
    POOR_FIT = 1 << 1
    #: The spectrum lies outside the population the estimator was trained on.
    OUT_OF_DISTRIBUTION = 1 << 2
    #: Median signal-to-noise ratio per pixel below 3.
    LOW_SNR = 1 << 3
    #: A mechanism was used outside the range of its publication.
    EXTRAPOLATED = 1 << 4
    #: The file has no errors; they were estimated from the scatter of the pixels.
    NOISE_ESTIMATED = 1 << 5
    #: The redshift was estimated by ACIE or carries a warning of the survey's pipeline.
    REDSHIFT_ESTIMATED = 1 << 6
    #: Fewer than half of the pixels are good.
    MASKED = 1 << 7
    #: Up to half of the draws have no allowed value after the action; the others answer.
    PARTIAL = 1 << 8
    #: The redshift was estimated, and another one explains the spectrum nearly as well.
    REDSHIFT_AMBIGUOUS = 1 << 9
    #: The posterior piles up at an edge of the model's range: the truth may lie beyond.
    AT_EDGE = 1 << 10
    #: The spectrum speaks clearly for another redshift than the one given.
    REDSHIFT_CONFLICT = 1 << 11

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the bits that are set."""
        return tuple(flag.name for flag in QualityFlag if flag in self and flag.name)


@dataclass(frozen=True)
class PosteriorSamples:
    """Equally weighted draws of the physical state given the observation.

    Arguments:
        values: Every variable in physical units, each ``(sample, batch)``.
        spectra: Noise-free model spectra of the draws, ``(sample, batch, wave)``.
        confidence: Importance-sampling efficiency (effective size over draws), ``(batch,)``.
        quality: Bits of :class:`QualityFlag`, ``(batch,)``.
        fit: Robust standard deviation of the best draw's residuals in bins of 5, ``(batch,)``.
    """

    values: dict[str, Tensor]
    spectra: Tensor
    confidence: Tensor
    quality: Tensor
    fit: Tensor

    @functools.cached_property
    def effective_draws(self) -> Tensor:
        """What the draws are worth, ``(batch,)``: some are repeated. Intervals depend on it."""
        return effective_draws(self.values)


@dataclass(frozen=True)
class Abduction:
    """What an observation says about the exogenous noise.

    Arguments:
        posterior: The draws.
        noise: Noise of every random variable for each draw, each ``(sample, batch)``.
        flux: What was observed, ``(batch, wave)``.
    """

    posterior: PosteriorSamples
    noise: dict[str, Tensor]
    flux: Tensor

    @property
    def residual(self) -> Tensor:
        """Observed minus model flux, which is noise too, ``(sample, batch, wave)``."""
        return self.flux.to(self.posterior.spectra.dtype) - self.posterior.spectra

    def take(self, index: Tensor) -> "Abduction":
        """The draws ``index``, ``(sample, batch)``, of each galaxy."""
        galaxy = torch.arange(index.shape[1], device=index.device)

        def chosen(value: Tensor) -> Tensor:
            return value[index, galaxy]

        posterior = replace(
            self.posterior,
            values={name: chosen(value) for name, value in self.posterior.values.items()},
            spectra=chosen(self.posterior.spectra),
        )
        noise = {name: chosen(value) for name, value in self.noise.items()}
        return Abduction(posterior, noise, self.flux)


    def galaxies(self, chosen: Tensor) -> "Abduction":
        """The abduction of some galaxies of the batch, a mask or indices."""
        own = self.posterior
        posterior = replace(
            own,
            values={name: value[:, chosen] for name, value in own.values.items()},
            spectra=own.spectra[:, chosen],
            confidence=own.confidence[chosen],
            quality=own.quality[chosen],
            fit=own.fit[chosen],
        )
        noise = {name: value[:, chosen] for name, value in self.noise.items()}
        return Abduction(posterior, noise, self.flux[chosen])


@dataclass(frozen=True)
class CounterfactualResult:
    """A factual and a counterfactual world that share all exogenous noise.

    Arguments:
        observation: What was observed, with a batch axis.
        abduction: Posterior draws and their noise.
        actions: The interventions as text.
        values: Every variable in the counterfactual world, each ``(sample, batch)``.
        change: Counterfactual minus factual model spectrum, ``(sample, batch, wave)``.
        flags: Bits of :class:`QualityFlag` that the counterfactual world adds, ``(batch,)``.
    """

    observation: Observation
    abduction: Abduction
    actions: tuple[str, ...]
    values: dict[str, Tensor]
    change: Tensor
    flags: Tensor

    @property
    def worlds(self) -> Tensor:
        """Spectra ``(world, sample, batch, wave)``; world 0 is the observation itself.

        The counterfactual is the observation plus the change of the model, which equals the
        counterfactual model plus the residual; written so, an empty action returns the
        observation bit by bit.
        """
        flux = self.observation.flux.to(self.change.dtype)
        return torch.stack([flux.expand_as(self.change), flux + self.change])

    @property
    def confidence(self) -> Tensor:
        """See :class:`PosteriorSamples`."""
        return self.abduction.posterior.confidence

    @property
    def effective_draws(self) -> Tensor:
        """See :class:`PosteriorSamples`."""
        return self.abduction.posterior.effective_draws

    @property
    def quality(self) -> tuple[QualityFlag, ...]:
        """One flag per galaxy."""
        quality = self.abduction.posterior.quality | self.flags
        return tuple(QualityFlag(int(bits)) for bits in quality)

    def effect(self, name: str) -> Tensor:
        """Counterfactual minus factual, of a variable ``(sample, batch)`` or of ``flux``."""
        if name == "flux":
            return self.change
        return self.values[name] - self.abduction.posterior.values[name]


def summarise(
    variables: Mapping[str, Tensor], effective: Tensor | float | None = None
) -> dict[str, dict[str, float]]:
    """Median and central 68 % interval of every variable.

    Arguments:
        variables: Draws of each, ``(sample,)``.
        effective: What they are worth; see :func:`acie.quantiles.quantiles`.
    """
    stacked = torch.stack([draws.double() for draws in variables.values()], -1)
    found = quantiles(stacked, (0.16, 0.5, 0.84), effective).T.tolist()
    return {
        name: {"median": middle, "p16": low, "p84": high}
        for name, (low, middle, high) in zip(variables, found, strict=True)
    }
