"""Parameter recovery, coverage, efficiency and counterfactual coverage on fresh simulations."""

import argparse
import json

import acie
from acie.evaluation import measure_recovery

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--model", default="galaxy-v1")
    arguments = parser.parse_args()
    figures = measure_recovery(acie.load(arguments.model), arguments.n, seed=2026).figures
    if arguments.json:
        print(json.dumps(figures))
    else:
        for name in figures["scatter"]:
            print(
                f"{name:>22}  scatter {figures['scatter'][name]:.4f}"
                f"  bias {figures['bias'][name]:+.4f}"
                f"  coverage_68 {figures['coverage_68'][name]:.3f}"
            )
        for name, value in figures.items():
            if isinstance(value, float):
                print(f"{name:>38} {value:.4f}")
