"""Network part and whole answers of one galaxy: torch, compiled kernels and ONNX Runtime.

Each figure is the median over calls that follow one another in this process, so that whatever else
the machine does meets all. One thread, as within the engine.
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
from acie.export.answer.parity import engine_answer
from acie.export.network.parity import engine_draws
from acie.native import kernels_off
from acie.simulation import Simulator, SurveyConfig
from acie.threads import undivided

_QUESTION = "stellar_mass*=1.5"


def in_turn(own: Callable[[int], object], onnx: Callable[[int], object], count: int) -> dict:
    """Medians in milliseconds, and the medians of their ratios to that of ONNX Runtime.

    ``own`` is called by torch alone, then as the engine does it; each with the number of the turn.
    """

    def alone(turn: int) -> None:
        with kernels_off():
            own(turn)

    works = {"torch": alone, "engine": own, "onnx": onnx}
    times = {name: [] for name in works}
    for turn in range(count + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work(turn)
            # The first time makes what is kept.
            if turn:
                times[name].append(1e3 * (time.perf_counter() - start))
    base = np.array(times["onnx"])
    found = {f"{name}_ms": round(np.median(each), 3) for name, each in times.items()}
    for name in ("torch", "engine"):
        found[f"{name}_over_onnx"] = round(np.median(times[name] / base), 2)
    return found


def network(engine: CounterfactualEngine, exported: ExportedModel, count: int) -> dict:
    """Features of one galaxy, and noise, to draws and log q."""
    own, rng = engine_draws(engine.bundle.estimator), np.random.default_rng(0)
    found = {}
    for batch, samples in ((1, 1), (1, 64), (1, 256), (1, 384), (8, 256)):
        features = rng.standard_normal((batch, 112), dtype=np.float32)
        redshift = np.full(batch, 0.1, dtype=np.float32)
        noise = rng.standard_normal((samples, batch, 11), dtype=np.float32)
        with undivided():
            found[f"batch {batch}, {samples} draws"] = in_turn(
                lambda _, i=(features, redshift, noise): own(*i),
                lambda _, i=(features, redshift, noise): exported.draws(*i),
                count,
            )
    return found


def answers(engine: CounterfactualEngine, other: CounterfactualEngine, rounds: int) -> dict:
    """Whole refined answers of single galaxies."""
    simulator = Simulator(engine.scm, engine.physics, survey=SurveyConfig(snr=(20.0, 20.1)))
    drawn = simulator.draw(20, torch.Generator().manual_seed(3)).observation

    def by(which: CounterfactualEngine) -> Callable[[int], object]:
        def one(turn: int) -> object:
            galaxy = turn % len(drawn)
            return which.counterfactual(drawn[galaxy : galaxy + 1], _QUESTION, num_samples=256)

        return one

    return in_turn(by(engine), by(other), 20 * rounds)


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
        found[f"batch {batch}, {samples} draws"] = in_turn(
            lambda _, i=(own, noise, uniform): engine_answer(engine, *i, (_QUESTION,)),
            lambda _, i=dict(arrays, noise=noise, uniform=uniform): exported.answer(**i, do=do),
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
    parser.add_argument("--count", type=int, default=100, help="turns of the network part")
    parser.add_argument("--rounds", type=int, default=5, help="times 20 galaxies, whole answers")
    arguments = parser.parse_args()
    keep_freed_memory()
    result = run(arguments.folder, arguments.model, arguments.count, arguments.rounds)
    print(json.dumps(result, indent=1))
