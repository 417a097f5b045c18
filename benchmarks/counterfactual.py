"""Latency of one counterfactual query and throughput of a batch, spectra included.

Memory is kept as every ``acie`` command keeps it, see :mod:`acie.allocator`.
"""

import argparse
import json
import time

import torch

import acie
from acie.allocator import keep_freed_memory
from acie.simulation import Simulator, SurveyConfig


def run(model: str, repeats: int) -> dict[str, float]:
    engine = acie.load(model)
    simulator = Simulator(engine.scm, engine.physics, survey=SurveyConfig(snr=(20.0, 20.1)))
    drawn = simulator.draw(40, torch.Generator().manual_seed(3)).observation
    engine.counterfactual(drawn[0:1], "stellar_mass*=1.5", num_samples=256)
    times = []
    for galaxy in range(len(drawn)):
        one = drawn[galaxy : galaxy + 1]
        each = []
        for _ in range(repeats):
            start = time.perf_counter()
            engine.counterfactual(one, "stellar_mass*=1.5", num_samples=256)
            each.append(time.perf_counter() - start)
        times.append(sorted(each)[repeats // 2])
    times.sort()
    engine.counterfactual(drawn, "stellar_mass*=1.5", num_samples=64)
    rates = []
    for _ in range(3):
        start = time.perf_counter()
        engine.counterfactual(drawn, "stellar_mass*=1.5", num_samples=64)
        rates.append(40 / (time.perf_counter() - start))
    return {
        # Galaxies that need the longer refinement are the upper part of the distribution.
        "latency_ms_256": times[len(times) // 2] * 1e3,
        "latency_ms_256_p90": times[int(0.9 * len(times))] * 1e3,
        "galaxies_per_s_64": sorted(rates)[1],
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--model", default="galaxy-v1")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    keep_freed_memory()
    result = run(arguments.model, arguments.repeats)
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:>18} {value:10.2f}")
