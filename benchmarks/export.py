"""Network part and whole answers of one galaxy: torch against ONNX Runtime, in pairs.

Each figure is the median over pairs that follow one another in this process, so that whatever else
the machine does meets both. One thread, as within the engine.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import acie
from acie.allocator import keep_freed_memory
from acie.engine import CounterfactualEngine
from acie.export import ExportedModel, with_onnx
from acie.export.answer.parity import eager_answer
from acie.export.network.parity import eager_draws
from acie.simulation import Simulator, SurveyConfig
from acie.threads import undivided

_QUESTION = "stellar_mass*=1.5"


def pairs(first: Callable[[], object], second: Callable[[], object], count: int) -> dict:
    """Medians in milliseconds, and the median of the ratios."""
    first(), second()
    times = []
    for _ in range(count):
        own = []
        for work in (first, second):
            start = time.perf_counter()
            work()
            own.append(1e3 * (time.perf_counter() - start))
        times.append(own)
    eager, onnx = np.median(times, 0)
    ratio = np.median([a / b for a, b in times])
    return {"torch_ms": round(eager, 3), "onnx_ms": round(onnx, 3), "ratio": round(ratio, 2)}


def network(engine: CounterfactualEngine, exported: ExportedModel, count: int) -> dict:
    """Features of one galaxy, and noise, to draws and log q."""
    eager, rng = eager_draws(engine.bundle.estimator), np.random.default_rng(0)
    found = {}
    for batch, samples in ((1, 1), (1, 64), (1, 256), (1, 384), (8, 256)):
        features = rng.standard_normal((batch, 112), dtype=np.float32)
        redshift = np.full(batch, 0.1, dtype=np.float32)
        noise = rng.standard_normal((samples, batch, 11), dtype=np.float32)
        with undivided():
            found[f"batch {batch}, {samples} draws"] = pairs(
                lambda i=(features, redshift, noise): eager(*i),
                lambda i=(features, redshift, noise): exported.draws(*i),
                count,
            )
    return found


def answers(engine: CounterfactualEngine, other: CounterfactualEngine, rounds: int) -> dict:
    """Whole refined answers of single galaxies."""
    simulator = Simulator(engine.scm, engine.physics, survey=SurveyConfig(snr=(20.0, 20.1)))
    drawn = simulator.draw(20, torch.Generator().manual_seed(3)).observation
    place = iter(range(20 * rounds + 20))

    def one(which: CounterfactualEngine, index: list[int]) -> None:
        which.counterfactual(drawn[index[0] : index[0] + 1], _QUESTION, num_samples=256)

    index = [0]

    def first() -> None:
        index[0] = next(place) % 20
        one(engine, index)

    return pairs(first, lambda: one(other, index), 20 * rounds)


def amortised(engine: CounterfactualEngine, exported: ExportedModel, count: int) -> dict:
    """Whole answers of the network alone: observation, noise and intervention to spectra."""
    simulator = Simulator(engine.scm, engine.physics, survey=SurveyConfig(snr=(20.0, 20.1)))
    drawn = simulator.draw(8, torch.Generator().manual_seed(3)).observation
    rng, found = np.random.default_rng(0), {}
    do = {"stellar_mass": ("scale", 1.5)}
    for batch, samples in ((1, 1), (1, 64), (1, 256), (8, 64)):
        own = drawn[:batch]
        arrays = {n: getattr(own, n).numpy() for n in ("flux", "ivar", "lsf", "redshift")}
        noise = rng.standard_normal((samples, batch, 11), dtype=np.float32)
        uniform = rng.random((samples, batch, 2))
        found[f"batch {batch}, {samples} draws"] = pairs(
            lambda i=(own, noise, uniform): eager_answer(engine, *i, (_QUESTION,)),
            lambda i=arrays, n=noise, u=uniform: exported.answer(**i, do=do, noise=n, uniform=u),
            count,
        )
    return found


def run(folder: Path, model: str, count: int, rounds: int) -> dict:
    engine = acie.load(model)
    exported = ExportedModel(folder)
    other = CounterfactualEngine(with_onnx(engine.bundle, folder))
    whole = "answer.onnx" in exported.manifest["files"]
    return {
        "bytes": {name: facts["bytes"] for name, facts in exported.manifest["files"].items()},
        "quantized": bool(exported.manifest.get("quantized")),
        "network": network(engine, exported, count),
        "amortised": amortised(engine, exported, max(1, count // 4)) if whole else None,
        "answer": answers(engine, other, rounds),
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="made by acie export")
    parser.add_argument("--model", default="galaxy-v1")
    parser.add_argument("--count", type=int, default=100, help="pairs of the network part")
    parser.add_argument("--rounds", type=int, default=5, help="times 20 galaxies, whole answers")
    arguments = parser.parse_args()
    keep_freed_memory()
    result = run(arguments.folder, arguments.model, arguments.count, arguments.rounds)
    print(json.dumps(result, indent=1))
