"""Answers about a catalogue as columns: JSON, CSV, Parquet."""

__all__ = ["answer_catalogue", "write_answer"]

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from acie.io import Catalogue, write_catalogue
from acie.quantiles import quantiles
from acie.results import QualityFlag
from acie.seeds import SeedStream
from acie.tabular.engine import TabularEngine, TabularResult
from acie.variables import Variable

#: Draws that are held at a time, over all rows: some hundred megabytes.
_CHUNK = 2_000_000
_LEVELS = {"p16": 0.16, "median": 0.5, "p84": 0.84}


def answer_catalogue(
    engine: TabularEngine,
    catalogue: Catalogue,
    do: Any = (),
    hold: Iterable[str] = (),
    num_samples: int = 256,
    seed: int = 0,
) -> dict[str, Any]:
    """The answer for every row, in the shape of the contract of ``acie infer --json``.

    Arguments:
        engine: The engine of a learned model.
        catalogue: The rows.
        do: Interventions.
        hold: Held variables.
        num_samples: Draws per row where something is random.
        seed: Seed of everything random.

    Returns:
        ``latent_state`` and ``counterfactual_state`` hold for every variable its unit and arrays
        over the rows: ``median``, ``p16``, ``p84`` for numbers; ``label`` (the most probable) and
        ``probability`` for categories. ``effect`` holds the median and the interval of the
        difference. Memory does not grow with the number of draws: rows are done in parts.
    """
    start = time.perf_counter()
    hold = tuple(hold)
    actions = engine.act(do)
    engine.check_hold(actions, hold)
    generator = SeedStream(seed).generator("catalogue")
    step = max(1, _CHUNK // num_samples)
    parts, text = [], ()
    for first in range(0, len(catalogue), step):
        abduction = engine.abduct(
            catalogue.take(slice(first, first + step)), num_samples, generator
        )
        result = engine.predict(abduction, actions, hold)
        text = result.actions
        parts.append(
            {
                "latent_state": _states(engine, result, result.abduction.posterior.values),
                "counterfactual_state": _states(engine, result, result.values),
                "effect": {
                    name: _numbers(result.effect(name), result.confidence)
                    for name, v in engine.scm.variables.items()
                    if v.kind != "categorical"
                },
                "confidence": result.confidence.numpy(),
                "quality": result.quality.numpy(),
            }
        )
    bundle = engine.bundle
    return {
        "input": catalogue.source,
        "model": {"name": bundle.name, "version": bundle.version, "digest": bundle.digest},
        "rows": len(catalogue),
        "interventions": list(text),
        "held": list(hold),
        **_joined(parts),
        "timing_ms": (time.perf_counter() - start) * 1e3,
    }


def write_answer(answer: dict[str, Any], path: str | Path) -> list[Path]:
    """Write ``.json``, ``.csv`` and ``.parquet`` beside one another, one row per object.

    Arguments:
        answer: From :func:`answer_catalogue`.
        path: Folder and stem.
    """
    path = Path(path)
    columns: dict[str, np.ndarray] = {}
    for key, suffix in (("latent_state", ""), ("counterfactual_state", "_cf"), ("effect", "")):
        for name, state in answer[key].items():
            stem = f"effect_{name}" if key == "effect" else f"{name}{suffix}"
            for part, values in state.items():
                if part != "unit":
                    main = part in ("median", "label")
                    columns[stem if main else f"{stem}_{part}"] = values
    columns["confidence"] = answer["confidence"]
    columns["quality"] = answer["quality"]
    columns["flags"] = _flags(answer["quality"], "|".join)
    json_path = path.with_name(path.name + ".json")
    json_path.write_text(json.dumps(to_plain(answer)), "utf-8")
    written = [json_path]
    for suffix in (".csv", ".parquet"):
        written.append(write_catalogue(columns, path.with_name(path.name + suffix)))
    return written


def to_plain(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer with lists in the place of arrays, names in the place of flags, null for NaN."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(part) for name, part in value.items()}
        if isinstance(value, np.ndarray):
            if value.dtype.kind == "f" and np.isnan(value).any():
                return np.where(np.isnan(value), None, value.astype(object)).tolist()
            return value.tolist()
        return value

    return plain(answer | {"quality": _flags(answer["quality"], list)})


def _flags(quality: np.ndarray, form: Any) -> np.ndarray:
    """Names of the bits of every row; there are few different masks."""
    masks, inverse = np.unique(quality, return_inverse=True)
    named = np.empty(len(masks), dtype=object)
    for place, mask in enumerate(masks):
        named[place] = form(QualityFlag(int(mask)).names)
    return named[inverse]


def _states(
    engine: TabularEngine, result: TabularResult, values: dict[str, Tensor]
) -> dict[str, dict[str, Any]]:
    return {
        name: {"unit": variable.unit, **_summary(variable, values[name], result.confidence)}
        for name, variable in engine.scm.variables.items()
    }


def _summary(variable: Variable, draws: Tensor, confidence: Tensor) -> dict[str, np.ndarray]:
    if variable.kind != "categorical":
        return _numbers(draws, confidence)
    shares = torch.stack(
        [(draws == code).double().mean(0) for code in range(len(variable.categories))]
    )
    best = shares.max(0)
    labels = np.array(variable.categories, dtype=object)
    return {"label": labels[best.indices.numpy()], "probability": best.values.numpy()}


def _numbers(draws: Tensor, confidence: Tensor) -> dict[str, np.ndarray]:
    """Median and interval of every row; a missing value makes its draws worth less."""
    if draws.shape[0] == 1:
        return dict.fromkeys(_LEVELS, draws[0].numpy())
    # Draws without an allowed value are left out; see the flag PARTIAL.
    found = quantiles(draws, list(_LEVELS.values()), confidence * len(draws))
    return {name: value.numpy() for name, value in zip(_LEVELS, found, strict=True)}


def _joined(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Parts of a catalogue, one after the other."""
    first = parts[0]
    joined = {}
    for key, value in first.items():
        if isinstance(value, dict):
            joined[key] = _joined([part[key] for part in parts])
        elif isinstance(value, np.ndarray):
            joined[key] = np.concatenate([part[key] for part in parts])
        else:
            joined[key] = value
    return joined
