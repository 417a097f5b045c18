"""A question about one galaxy and its answer, whatever transport brings it."""

__all__ = ["Answer", "Query", "StateSummary"]

from dataclasses import dataclass, field

import numpy as np

from acie.observation import Observation

#: A variable's unit, median and central 68 % interval.
StateSummary = dict[str, str | float]


@dataclass(frozen=True)
class Query:
    """One galaxy and one question.

    Arguments:
        observation: With a batch axis of one.
        intervention: Text, or a mapping from names to numbers or actions; empty for none.
        hold: Descendants that keep their factual value.
        samples: Posterior draws; the default of the service when left out.
        seed: Makes the answer repeatable, at the price of being computed alone.
        model: Name of a loaded model, ``name@version`` or ``latest``.
        check_redshift: Whether a given redshift is compared with the spectrum.
    """

    observation: Observation
    intervention: str | dict | list = field(default_factory=dict)
    hold: tuple[str, ...] = ()
    samples: int | None = None
    seed: int | None = None
    model: str = "latest"
    check_redshift: bool = False


@dataclass(frozen=True)
class Answer:
    """What one galaxy would have looked like, and what it is.

    Arguments:
        model: Name, version and digest.
        redshift: Of the observation.
        interventions: The actions as text.
        counterfactual: Median counterfactual flux, ``(wave,)``, 1e-17 erg/s/cm2/A.
        counterfactual_p16: 16th percentile, ``(wave,)``.
        counterfactual_p84: 84th percentile, ``(wave,)``.
        latent_draws: Posterior draws of every variable in the order of ``latent``, one variable
            after the other, ``(variable * sample,)``.
        counterfactual_draws: The same draws in the counterfactual world.
        latent: Summary of every variable, in the order of the model.
        counterfactual_latent: The same in the counterfactual world.
        confidence: Importance-sampling efficiency.
        quality: Names of the flags that are set.
        samples: Posterior draws.
        seed: Of the draws.
        redshift_estimate: Value, error, delta_chi2 and second-best value, where it was unknown.
        cached: Whether it was computed for an equal question of somebody else.
    """

    model: dict[str, str]
    redshift: float
    interventions: tuple[str, ...]
    counterfactual: np.ndarray
    counterfactual_p16: np.ndarray
    counterfactual_p84: np.ndarray
    latent_draws: np.ndarray
    counterfactual_draws: np.ndarray
    latent: dict[str, StateSummary]
    counterfactual_latent: dict[str, StateSummary]
    confidence: float
    quality: tuple[str, ...]
    samples: int
    seed: int | None
    redshift_estimate: dict[str, float | None] | None = None
    cached: bool = False
