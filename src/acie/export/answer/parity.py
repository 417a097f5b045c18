"""Is the graph of a whole answer that answer? By its errors, and by calibration."""

__all__ = ["AnswerTolerance", "Question", "compare_answers", "engine_answer"]

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from acie.engine import CounterfactualEngine
from acie.export.network.parity import engine_draws
from acie.export.runner import ExportedModel
from acie.inference import expected_coverage, rank_statistics
from acie.observation import Observation
from acie.physics import OBSERVED
from acie.scm import ThresholdMechanism
from acie.simulation import LATENT_NAMES, SPECTRAL_NAMES, Simulator
from acie.threads import spread, undivided

_LEVELS = (0.5, 0.68, 0.9, 0.95)
#: Galaxies computed together.
_CHUNK = 8


@dataclass(frozen=True)
class AnswerTolerance:
    """What the graph of an answer may differ by.

    Arguments:
        flux: Change of a counterfactual pixel in errors of that pixel, for 999 of 1000 pixels.
        line: Largest change of any pixel, as a share of the peak of its spectrum. It is that of
            lines that nothing broadens, see :mod:`acie.export.answer.light`.
        state: Change of a variable in either world in standard deviations of its posterior, for
            999 of 1000 draws.
        log_q: Change of the log density, for 999 of 1000 draws.
        flips: Share of draws that end on the other side of a threshold, or become possible.
        coverage: Change of the coverage of central intervals in either world.
    """

    flux: float = 0.02
    line: float = 0.003
    state: float = 0.01
    log_q: float = 0.01
    flips: float = 0.002
    coverage: float = 0.005


@dataclass(frozen=True)
class Question:
    """An intervention as text, and as the graph takes it."""

    text: tuple[str, ...]
    do: Mapping[str, tuple[str, float]]


#: One of each kind, on causes near the root and near the spectrum.
QUESTIONS = (
    Question(("stellar_mass*=1.5",), {"stellar_mass": ("scale", 1.5)}),
    Question(("halo_mass+=0.2dex",), {"halo_mass": ("shift_dex", 0.2)}),
    Question(("quenched=1",), {"quenched": ("set", 1.0)}),
    Question(("dust_av=0.1", "sfr*=0.5"), {"dust_av": ("set", 0.1), "sfr": ("scale", 0.5)}),
    Question(("age-=0.01",), {"age": ("shift", -0.01)}),
)


def engine_answer(
    engine: CounterfactualEngine, observation: Observation, noise: np.ndarray, uniform: np.ndarray,
    text: tuple[str, ...],
) -> dict[str, np.ndarray]:  # fmt: skip
    """What the graph computes, by the parts of the engine.

    Arguments:
        engine: Of the model.
        observation: Galaxies.
        noise: Standard normal, ``(sample, batch, variable)``.
        uniform: Between 0 and 1, ``(sample, batch, 2)``.
        text: Interventions.
    """
    scm, names = engine.scm, tuple(engine.scm.variables)
    with torch.inference_mode(), undivided():
        features = engine.bundle.encoder(observation).float().numpy()
        draws = engine_draws(engine.bundle.estimator)
        x_s, x_l, log_q = draws(features, observation.redshift.numpy(), noise)
        x = torch.from_numpy(np.concatenate([x_s, x_l], -1)).double()
        given = {"redshift": observation.redshift.double().expand(x.shape[:-1])}
        values, _ = scm.from_unconstrained(x, (*SPECTRAL_NAMES, *LATENT_NAMES), given)
        binary = _binary(engine)
        odds = scm.enumerate_binary(values, binary)
        first, second = torch.from_numpy(uniform).unbind(-1)
        values[binary] = (first < torch.sigmoid(odds[1] - odds[0])).double()
        exogenous = scm.abduct(values, torch.Generator().manual_seed(0))
        low, high = scm.mechanisms[binary].invert_interval(values[binary], values)
        exogenous[binary] = low + (high - low) * second
        other = scm.predict(exogenous, values, engine.act(list(text)), strict=False)
        possible = torch.stack([~value.isnan() for value in other.values()]).all(0)
        # The forward model is never asked for what is not a number, not by the engine either.
        other = {name: torch.where(possible, other[name], values[name]) for name in names}
        change = _spectra(engine, observation, other) - _spectra(engine, observation, values)
    factual, changed = (torch.stack([w[name] for name in names], -1) for w in (values, other))
    parts = {
        "counterfactual": observation.flux.float() + change,
        "factual_state": factual,
        "counterfactual_state": changed,
    }
    parts |= {
        name: torch.where(possible[..., None], parts[name], torch.nan)
        for name in ("counterfactual", "counterfactual_state")
    }
    return {**{name: part.numpy() for name, part in parts.items()}, "log_q": log_q}


def _spectra(
    engine: CounterfactualEngine, observation: Observation, values: dict[str, Tensor]
) -> Tensor:
    light = engine.physics.coefficients(values)
    sightlines = engine.physics.sightlines_of(observation)

    def galaxy(index: int) -> Tensor:
        own = {name: values[name][:, index] for name in OBSERVED}
        return engine.physics.observe(tuple(p[:, index] for p in light), own, sightlines[index])

    return torch.stack(spread(galaxy, range(len(observation))), 1)


def compare_answers(
    engine: CounterfactualEngine,
    exported: ExportedModel,
    galaxies: int,
    seed: int,
    count: int = 48,
) -> dict[str, Any]:
    """What the engine and the graph make of the same galaxies, noise and questions.

    Arguments:
        engine: Of the model.
        exported: Holds the graph ``answer``.
        galaxies: Simulated ones.
        seed: Of galaxies and noise.
        count: Draws of each.

    Returns:
        Plain numbers, named as in :class:`AnswerTolerance`.
    """
    simulator = Simulator(engine.scm, engine.physics)
    drawn = simulator.draw(galaxies, torch.Generator().manual_seed(seed))
    rng, coverage = np.random.default_rng(seed), 0.0
    errors: dict[str, list[np.ndarray]] = {
        name: [] for name in ("flux", "line", "state", "log_q", "flips")
    }
    for question in QUESTIONS:
        pairs = []
        # One question tells of calibration; the others of errors alone, for which fewer do.
        asked = galaxies if question is QUESTIONS[0] else min(galaxies, _CHUNK)
        for start in range(0, asked, _CHUNK):
            part = drawn.observation[start : start + _CHUNK]
            shape = (count, len(part))
            noise = rng.standard_normal((*shape, exported.manifest["noise"]), dtype=np.float32)
            uniform = rng.random((*shape, 2))
            own = engine_answer(engine, part, noise, uniform, question.text)
            arrays = {n: getattr(part, n).numpy() for n in ("flux", "ivar", "lsf", "redshift")}
            other = exported.answer(**arrays, do=question.do, noise=noise, uniform=uniform)
            same = _same(own, other, exported.manifest["variables"].index(_binary(engine)))
            errors["flips"].append(~same)
            errors["log_q"].append(np.abs(own["log_q"] - other["log_q"]).ravel())
            errors["state"].append(_state_error(own, other, same))
            flux, line = _flux_errors(own, other, same, arrays)
            errors["flux"].append(flux)
            errors["line"].append(line)
            pairs.append((own, other))
        if question is QUESTIONS[0]:
            truth, _ = simulator.true_counterfactual(drawn, list(question.text))
            coverage = _coverage_change(engine, pairs, (drawn.values, truth))
    figures = {
        name: np.concatenate([part.ravel() for part in parts]) for name, parts in errors.items()
    }
    return {
        "galaxies": {"simulated": galaxies, "draws": count, "questions": len(QUESTIONS)},
        **{name: _largest_of_most(figures[name]) for name in ("flux", "state", "log_q")},
        "line": float(figures["line"].max(initial=0.0)),
        "flips": float(figures["flips"].mean()),
        "coverage": coverage,
    }


def _largest_of_most(errors: np.ndarray) -> float:
    """Of 999 of 1000; where there is nothing to compare it is infinite."""
    return float(np.quantile(errors, 0.999)) if errors.size else math.inf


def _binary(engine: CounterfactualEngine) -> str:
    """The one variable on a side of a threshold."""
    (name,) = (n for n, m in engine.scm.mechanisms.items() if isinstance(m, ThresholdMechanism))
    return name


def _same(own: dict, other: dict, binary: int) -> np.ndarray:
    """Draws on the same side of the threshold, possible in both or in neither."""
    same = True
    for world in ("factual_state", "counterfactual_state"):
        pair = (own[world][..., binary], other[world][..., binary])
        same = same & ((pair[0] == pair[1]) | (np.isnan(pair[0]) & np.isnan(pair[1])))
    return same


def _state_error(own: dict, other: dict, same: np.ndarray) -> np.ndarray:
    found = []
    for world in ("factual_state", "counterfactual_state"):
        sigma = np.nanstd(own[world], 0)
        error = np.abs(own[world] - other[world]) / np.where(sigma > 0, sigma, np.inf)
        found.append(error[same & ~np.isnan(own[world]).any(-1)].ravel())
    return np.concatenate(found)


def _flux_errors(
    own: dict, other: dict, same: np.ndarray, arrays: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Of every pixel that was observed, and of every spectrum; see :class:`AnswerTolerance`."""
    kept = same & ~np.isnan(own["counterfactual_state"]).any(-1)
    weight = np.sqrt(arrays["ivar"])
    error = np.abs(own["counterfactual"] - other["counterfactual"])[kept]
    weight = np.broadcast_to(weight, (*same.shape, weight.shape[-1]))[kept]
    peak = np.where(weight > 0, own["counterfactual"][kept], 0.0).max(-1, initial=1e-30)
    return (error * weight)[weight > 0], error.max(-1, initial=0.0) / peak


def _coverage_change(
    engine: CounterfactualEngine, pairs: list[tuple[dict, dict]], truth: tuple[dict, dict]
) -> float:
    levels = torch.tensor(_LEVELS, dtype=torch.float64)
    chosen = [n for n in engine.scm.variables if n in (*SPECTRAL_NAMES, *LATENT_NAMES)]
    places = [list(engine.scm.variables).index(name) for name in chosen]
    largest = 0.0
    for world, values in zip(("factual_state", "counterfactual_state"), truth, strict=True):
        known = torch.stack([values[name] for name in chosen], -1)
        covered = []
        for side in (0, 1):
            draws = np.concatenate([pair[side][world] for pair in pairs], 1)[..., places]
            covered.append(expected_coverage(
                rank_statistics(torch.from_numpy(draws), known), levels))  # fmt: skip
        largest = max(largest, float((covered[1] - covered[0]).abs().max()))
    return largest
