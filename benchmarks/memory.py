"""Resident memory while many files are answered one after another."""

import argparse
import json
import resource
from pathlib import Path

from scipy.stats import theilslopes

import acie
import acie.io
from acie.errors import ACIEError


def resident_mb() -> float:
    """Resident memory of this process, MB; its peak where the system tells no more."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(row for row in status.read_text().splitlines() if row.startswith("VmRSS"))
        return int(line.split()[1]) / 1024.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def run(folder: Path, model: str, rounds: int) -> dict:
    engine = acie.load(model)
    files = sorted(folder.glob("sdss/*.fits"))
    trace, answered = [], 0
    for _ in range(rounds):
        for path in files:
            try:
                engine.counterfactual(acie.io.read(path), "stellar_mass*=1.5", num_samples=64)
            except ACIEError:
                continue
            answered += 1
        trace.append(resident_mb())
    return {
        "answered": answered,
        "rss_mb_after_round": [round(value, 1) for value in trace],
        # The median of the slopes of all pairs: one round that gave memory back is no growth.
        "growth_mb_per_file": float(theilslopes(trace[1:]).slope) / len(files),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", default="galaxy-v1")
    parser.add_argument("--rounds", type=int, default=6)
    arguments = parser.parse_args()
    result = run(arguments.data, arguments.model, arguments.rounds)
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:>20} {value}")
