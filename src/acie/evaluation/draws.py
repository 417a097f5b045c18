"""One chunk of galaxies: simulated, inferred, questioned."""

__all__ = ["measure_chunk", "survey_of"]

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from acie.engine import CounterfactualEngine
from acie.evaluation.config import EvaluationConfig
from acie.evaluation.counterfactuals import ask
from acie.evaluation.laws import check_abduction, check_composition
from acie.evaluation.population import Population, random_rows
from acie.evaluation.predictive import check_spectra
from acie.evaluation.questions import Question
from acie.results import Abduction
from acie.seeds import SeedStream
from acie.simulation import SimulatedSet, Simulator, SurveyConfig


def survey_of(config: EvaluationConfig) -> SurveyConfig:
    """The survey of an evaluation: all of its S/N range, or one value."""
    survey = SurveyConfig()
    return survey if config.snr is None else replace(survey, snr=(config.snr, config.snr * 1.0001))


def measure_chunk(
    engine: CounterfactualEngine,
    population: Population,
    questions: Sequence[Question],
    config: EvaluationConfig,
    start: int,
    size: int,
) -> dict[str, Tensor]:
    """Everything that is measured of galaxies ``start`` to ``start + size``.

    One abduction per galaxy serves all questions.

    Returns:
        By name: ``truth`` and ``draws`` on the natural scale, ``(batch, variable)`` and
        ``(sample, batch, variable)``; figures of each galaxy, ``(batch,)``; ``features`` of the
        encoder, ``(batch, feature)``; ``ppc/...`` from :func:`check_spectra`; ``answer/...`` from
        :func:`ask` and of the laws, ``(question, batch, ...)``.
    """
    stream = SeedStream(config.seed)
    simulator = Simulator(engine.scm, engine.physics, engine.noise_model, survey_of(config))
    truth = simulator.draw(size, stream.generator(f"draw-{start}"))
    generator = stream.generator(f"infer-{start}")
    abduction = engine.abduct(truth.observation, config.samples, generator)
    found = _figures(engine, population, truth, abduction)
    check = check_spectra(
        engine, truth.observation, abduction.posterior, config.replicates,
        stream.generator(f"predictive-{start}"),
    )  # fmt: skip
    found |= {f"ppc/{name}": value.double() for name, value in check.items()}
    found["composition"] = check_composition(engine, truth, abduction)
    found["abduction"] = check_abduction(engine, abduction)
    generator = stream.generator(f"answers-{start}")
    rows = random_rows(config.samples, size, config.action_samples, generator)
    few = abduction.take(rows)
    found["effective_asked"] = few.posterior.effective_draws
    answers = [ask(engine, population, truth, few, one, generator) for one in questions]
    return found | _stacked(answers, size, len(population.names))


def _stacked(answers: list[dict[str, Tensor]], size: int, width: int) -> dict[str, Tensor]:
    """Answers as ``(question, batch, ...)``, NaN where nothing could be asked."""
    names = [
        "ranks", "spectrum_inside", "effect_inside", "error", "effect_error", "effect",
        "effectiveness", "minimality", "reversibility", "reversibility_spectrum",
    ]  # fmt: skip
    found = {}
    for name in names:
        shape = (size, width) if name == "ranks" else (size,)
        empty = torch.full(shape, torch.nan, dtype=torch.float64)
        found[f"answer/{name}"] = torch.stack([one.get(name, empty) for one in answers])
    return found


def _figures(
    engine: CounterfactualEngine,
    population: Population,
    truth: SimulatedSet,
    abduction: Abduction,
) -> dict[str, Tensor]:
    posterior, encoder = abduction.posterior, engine.bundle.encoder
    with torch.no_grad():
        features = encoder.standardise(encoder.encode(truth.observation).features)
    return {
        "truth": population.natural(truth.values),
        "draws": population.natural(posterior.values),
        "snr": truth.observation.signal_to_noise.double(),
        "redshift": truth.observation.redshift.double(),
        "confidence": posterior.confidence.double(),
        "fit": posterior.fit.double(),
        "quality": posterior.quality.long(),
        "effective": posterior.effective_draws,
        "features": features.float(),
    }
