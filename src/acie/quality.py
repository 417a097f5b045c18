"""What is weak about an answer, as bits."""

__all__ = ["extrapolated", "posterior_quality"]

from collections.abc import Mapping

import torch
from torch import Tensor

from acie.observation import Observation
from acie.refinement import RefinedPosterior
from acie.results import QualityFlag
from acie.simulation import published_log_mass

#: Below this importance efficiency posterior and likelihood disagree.
LOW_CONFIDENCE = 0.01
#: Above this robust standard deviation of the standardised residuals the model does not fit.
POOR_FIT = 1.6
LOW_SNR = 3.0


def posterior_quality(
    observation: Observation, refined: RefinedPosterior, outlier: Tensor
) -> Tensor:
    """Bits of :class:`QualityFlag` for each galaxy, ``(batch,)``.

    Arguments:
        observation: Carries the bits that its reader has set.
        refined: The posterior.
        outlier: Whether the encoder finds the spectrum outside of its population, ``(batch,)``.
    """
    flags = {
        QualityFlag.LOW_CONFIDENCE: refined.efficiency < LOW_CONFIDENCE,
        QualityFlag.POOR_FIT: ~(refined.fit < POOR_FIT),
        QualityFlag.OUT_OF_DISTRIBUTION: outlier,
        QualityFlag.LOW_SNR: observation.signal_to_noise < LOW_SNR,
        QualityFlag.MASKED: (observation.ivar > 0).float().mean(-1) < 0.5,
    }
    quality = observation.quality | extrapolated(refined.values)
    for flag, raised in flags.items():
        quality = quality | raised.long() * int(flag)
    return quality


def extrapolated(values: Mapping[str, Tensor]) -> Tensor:
    """The bit EXTRAPOLATED for galaxies whose median mass is beyond where most sources stop.

    Arguments:
        values: Every variable of a world, each ``(sample, batch)``.
    """
    low, high = published_log_mass()
    mass = torch.log10(values["stellar_mass"]).median(0).values
    return ((mass < low) | (mass > high)).long() * int(QualityFlag.EXTRAPOLATED)
