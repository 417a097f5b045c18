"""Latency of one counterfactual query and throughput of a batch, spectra included.

Memory is kept as every ``acie`` command keeps it, see :mod:`acie.allocator`. Each query is asked
as usual, without recordings (:mod:`acie.replay`) and without compiled kernels either
(:mod:`acie.native`), in turn; batches with and without kernels.
"""

import argparse
import json
import time

import torch

import acie
from acie.allocator import keep_freed_memory
from acie.native import available, kernels_off
from acie.replay import recordings_off
from acie.simulation import Simulator, SurveyConfig


def seconds(engine, one) -> float:
    start = time.perf_counter()
    engine.counterfactual(one, "stellar_mass*=1.5", num_samples=256)
    return time.perf_counter() - start


def rate(engine, drawn) -> float:
    start = time.perf_counter()
    engine.counterfactual(drawn, "stellar_mass*=1.5", num_samples=64)
    return len(drawn) / (time.perf_counter() - start)


def run(model: str, repeats: int) -> dict[str, float | bool]:
    engine = acie.load(model)
    simulator = Simulator(engine.scm, engine.physics, survey=SurveyConfig(snr=(20.0, 20.1)))
    drawn = simulator.draw(40, torch.Generator().manual_seed(3)).observation
    for _ in range(70):
        # Until what is called for every galaxy has been recorded.
        engine.counterfactual(drawn[0:1], "stellar_mass*=1.5", num_samples=256)
    times, unrecorded, plain = [], [], []
    for galaxy in range(len(drawn)):
        one = drawn[galaxy : galaxy + 1]
        each, second, third = [], [], []
        for _ in range(repeats):
            with recordings_off():
                second.append(seconds(engine, one))
                with kernels_off():
                    third.append(seconds(engine, one))
            each.append(seconds(engine, one))
        for found, own in ((times, each), (unrecorded, second), (plain, third)):
            found.append(sorted(own)[repeats // 2])
    for found in (times, unrecorded, plain):
        found.sort()
    rate(engine, drawn)
    rates, slow = [], []
    for _ in range(5):
        rates.append(rate(engine, drawn))
        with kernels_off():
            slow.append(rate(engine, drawn))
    return {
        # Galaxies that need the longer refinement are the upper part of the distribution.
        "latency_ms_256": times[len(times) // 2] * 1e3,
        "latency_ms_256_p90": times[int(0.9 * len(times))] * 1e3,
        "latency_ms_256_unrecorded": unrecorded[len(unrecorded) // 2] * 1e3,
        "latency_ms_256_torch_alone": plain[len(plain) // 2] * 1e3,
        "galaxies_per_s_64": sorted(rates)[2],
        "galaxies_per_s_64_torch_alone": sorted(slow)[2],
        "kernels": available(),
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
            print(f"{name:>30} {value:10.2f}")
