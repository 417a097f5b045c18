"""Throughput of a catalogue through Ray over that of the plain loop, and memory of the workers.

Both read the same shards, ask the same question and write the same answers. The plain loop is one
process with all threads; half of the shards are answered by it before Ray and half after, because
a machine is not equally fast all the time. Ray's rate is given with the start of its actors (each
loads the model) and without; the start of Ray itself is given apart.

    python benchmarks/ray_inference.py --n 2000
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

import acie
from acie.allocator import keep_freed_memory
from acie.cluster import Question, Shard, answer_shard, find_shards, infer_catalogue, ray_session
from acie.engine import CounterfactualEngine
from acie.io import read_shard, write_arrays, write_shard
from acie.seeds import SeedStream
from acie.simulation import Simulator


def simulate(engine: CounterfactualEngine, folder: Path, n: int, size: int) -> list[Shard]:
    simulator = Simulator(engine.scm, engine.physics)
    folder.mkdir()
    for number, start in enumerate(range(0, n, size)):
        generator = SeedStream(1).generator(f"shard-{number}")
        drawn = simulator.draw(min(size, n - start), generator)
        write_shard(drawn.observation, folder / f"{number:05d}.parquet")
    return find_shards([str(folder)])


def plain(
    engine: CounterfactualEngine, shards: list[Shard], question: Question, out: Path
) -> tuple[int, float]:
    out.mkdir(exist_ok=True)
    rows, start = 0, time.perf_counter()
    for shard in shards:
        spectra = read_shard(shard.path)
        table = answer_shard(engine, spectra, shard.key, question)
        write_arrays(table, out / f"{shard.key}.parquet")
        rows += len(spectra)
    return rows, time.perf_counter() - start


def with_ray(
    shards: list[Shard], question: Question, out: Path, workers: int | None
) -> dict[str, object]:
    done: list[tuple[float, dict]] = []
    start = time.perf_counter()
    with ray_session(None, workers):
        started = time.perf_counter() - start
        outcome = infer_catalogue(
            shards, out, question, workers=workers,
            progress=lambda record: done.append((time.perf_counter(), record)),
        )  # fmt: skip
    assert not outcome.failed, outcome.failed[0]
    memory: dict[str, list[float]] = {}
    for _, record in done:
        memory.setdefault(record["worker"], []).append(record["resident_mib"])
    # Until each worker has ended its first shard it has been starting, too.
    first = len(memory)
    steady = sum(record["rows"] for _, record in done[first:])
    return {
        "ray_start_s": started,
        "rate": outcome.total("rows") / outcome.seconds,
        "rate_without_start": steady / (done[-1][0] - done[first - 1][0]),
        "workers": len(memory),
        "resident_mib": {
            worker: {
                "first": seen[0],
                "after_a_quarter": seen[len(seen) // 4],
                "median": median(seen),
                "last": seen[-1],
                "largest": max(seen),
            }
            for worker, seen in memory.items()
        },
    }


def run(options: argparse.Namespace) -> dict[str, object]:
    engine = acie.load(options.model)
    question = Question(do=("stellar_mass*=1.5",), samples=options.samples, model=options.model)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        shards = simulate(engine, root / "catalogue", options.n, options.shard)
        # Warm: the first answers of a process are slower.
        plain(engine, shards[:1], question, root / "warm")
        before = plain(engine, shards[::2], question, root / "plain")
        ray = with_ray(shards, question, root / "ray", options.workers)
        after = plain(engine, shards[1::2], question, root / "plain")
        same = all(
            (root / "ray" / f"{shard.key}.parquet").stat().st_size > 0
            and _equal(root / "ray", root / "plain", shard)
            for shard in shards
        )
    rate = (before[0] + after[0]) / (before[1] + after[1])
    return {
        "galaxies": options.n,
        "shards": len(shards),
        "samples": options.samples,
        "plain_threads": torch.get_num_threads(),
        "plain_rate": rate,
        "plain_rate_before_and_after": [before[0] / before[1], after[0] / after[1]],
        "ray": ray,
        "share_of_plain": ray["rate"] / rate,
        "share_of_plain_without_start": ray["rate_without_start"] / rate,
        "same_answers": same,
    }


def _equal(one: Path, other: Path, shard: Shard) -> bool:
    import pyarrow.parquet

    def answers(folder: Path) -> pyarrow.Table:
        table = pyarrow.parquet.read_table(folder / f"{shard.key}.parquet")
        # Missing reasons of refusals are all there is of nothing in a file without refusals.
        return table.drop_columns("reason")

    return answers(one).equals(answers(other))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--shard", type=int, default=50)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--model", default="galaxy-v1")
    arguments = parser.parse_args()
    keep_freed_memory()
    print(json.dumps(run(arguments), indent=1))
