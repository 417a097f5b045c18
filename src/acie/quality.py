"""What is weak about an answer, as bits."""

__all__ = ["at_edge", "extrapolated", "posterior_quality"]

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from acie.observation import Observation
from acie.predictive import predictive_check
from acie.refinement import RefinedPosterior
from acie.results import QualityFlag
from acie.simulation import NoiseModel, declared_supports, published_log_mass

#: Below this importance efficiency posterior and likelihood disagree.
LOW_CONFIDENCE = 0.01
#: Below this posterior predictive p value the model does not fit: the share of galaxies of the
#: model itself that would be flagged.
POOR_FIT = 1e-3
LOW_SNR = 3.0
#: A posterior piles up at an edge where this share of the draws lies within this share of the
#: range of the variable, on its own scale.
EDGE_DRAWS, EDGE_WIDTH = 0.5, 0.02
#: Variables whose range ends where the templates or the model end, not where nature does; of
#: ``dust_av`` only the upper end.
EDGE_NAMES = (
    "metallicity",
    "gas_metallicity",
    "ionization_parameter",
    "velocity_dispersion",
    "dust_slope",
    "dust_av",
)


def posterior_quality(
    observation: Observation,
    refined: RefinedPosterior,
    outlier: Tensor,
    noise: NoiseModel | None = None,
) -> Tensor:
    """Bits of :class:`QualityFlag` for each galaxy, ``(batch,)``.

    Arguments:
        observation: Carries the bits that its reader has set.
        refined: The posterior.
        outlier: Whether the encoder finds the spectrum outside of its population, ``(batch,)``.
        noise: The noise model; the default one when left out.
    """
    check = predictive_check(observation, refined.spectra, noise)
    flags = {
        QualityFlag.LOW_CONFIDENCE: refined.efficiency < LOW_CONFIDENCE,
        QualityFlag.POOR_FIT: ~(check.p_value >= POOR_FIT),
        QualityFlag.OUT_OF_DISTRIBUTION: outlier,
        QualityFlag.LOW_SNR: observation.signal_to_noise < LOW_SNR,
        QualityFlag.MASKED: (observation.ivar > 0).float().mean(-1) < 0.5,
    }
    quality = observation.quality | extrapolated(refined.values) | at_edge(refined.values)
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


def at_edge(values: Mapping[str, Tensor]) -> Tensor:
    """The bit AT_EDGE for galaxies whose draws pile up at an end of a variable's range.

    Arguments:
        values: Every variable of a world, each ``(sample, batch)``.
    """
    supports = declared_supports()
    natural, ends = [], []
    for name in EDGE_NAMES:
        (low, high), transform = supports[name]
        value = values[name]
        if transform == "log10":
            low, high, value = math.log10(low), math.log10(high), torch.log10(value)
        natural.append(value)
        ends.append((low, high))
    stacked = torch.stack(natural)
    low, high = stacked.new_tensor(ends).T[..., None, None]
    place = (stacked - low) / (high - low)
    upper, lower = place > 1.0 - EDGE_WIDTH, place < EDGE_WIDTH
    lower[EDGE_NAMES.index("dust_av")] = False
    piled = (torch.stack([upper, lower]).double().mean(2) > EDGE_DRAWS).flatten(0, 1).any(0)
    return piled.long() * int(QualityFlag.AT_EDGE)
