"""Estimated redshifts against the truth of simulations and the pipelines of real spectra."""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import torch

import acie
import acie.io
from acie.errors import ACIEError
from acie.redshift import RedshiftScanner
from acie.seeds import SeedStream
from acie.simulation import Simulator, SurveyConfig

#: A redshift is right within this.
TOLERANCE = 0.001


def simulated(engine, scanner, snr: float, count: int, seed: int) -> dict:
    """Rates on simulated galaxies of one S/N, redshifts uniform over the model's range."""
    survey = replace(SurveyConfig(), snr=(snr, snr * 1.0001))
    simulator = Simulator(engine.scm, engine.physics, engine.noise_model, survey)
    drawn = simulator.draw(count, SeedStream(seed).generator(f"redshift-{snr:g}"))
    start = time.perf_counter()
    found = scanner(drawn.observation)
    elapsed = (time.perf_counter() - start) / count
    difference = found.value - drawn.values["redshift"]
    right = difference.abs() < TOLERANCE
    warned = found.ambiguous
    pull = (difference / found.error)[right]
    spread = torch.quantile(pull, torch.tensor([0.16, 0.84], dtype=pull.dtype))
    return {
        "snr": snr,
        "count": count,
        "right": float(right.double().mean()),
        "warned": float(warned.double().mean()),
        "right_of_unwarned": float(right[~warned].double().mean()),
        "right_of_warned": float(right[warned].double().mean()) if bool(warned.any()) else None,
        "median_error": float(difference[right].abs().median()),
        "pull_spread": float(spread[1] - spread[0]) / 2.0,
        "ms": elapsed * 1e3,
    }


def real(folder: Path, scanner) -> dict:
    """Estimates of every file that can be read, beside the redshift of its survey's pipeline."""
    rows = {}
    for path in sorted(folder.glob("sdss/*.fits")) + sorted(folder.glob("desi/coadd*.fits")):
        try:
            observation = acie.io.read(path)
        except ACIEError as error:
            rows[path.stem] = {"refused": type(error).__name__}
            continue
        found = scanner(observation)
        pipeline = float(observation.redshift.reshape(-1)[0])
        rows[path.stem] = {
            "pipeline": pipeline,
            "difference": float(found.value[0]) - pipeline,
            **found.to_json(),
            "ambiguous": bool(found.ambiguous[0]),
        }
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--n", type=int, default=300, help="galaxies at each S/N")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", default="galaxy-v1")
    parser.add_argument("--components", type=int, default=None)
    arguments = parser.parse_args()
    engine = acie.load(arguments.model)
    options = {} if arguments.components is None else {"components": arguments.components}
    scanner = RedshiftScanner(engine.bundle.encoder, **options)
    rows = [
        simulated(engine, scanner, snr, arguments.n, arguments.seed)
        for snr in (3.0, 5.0, 10.0, 20.0)
    ]
    files = real(arguments.data, scanner)
    if arguments.json:
        print(json.dumps({"simulated": rows, "real": files}))
    else:
        for row in rows:
            print(
                f"S/N {row['snr']:4.0f}  right {row['right']:.3f}  warned {row['warned']:.3f}"
                f"  right of the others {row['right_of_unwarned']:.3f}"
                f"  median error {row['median_error']:.1e}  pull {row['pull_spread']:.2f}"
                f"  {row['ms']:.0f} ms"
            )
        for name, row in files.items():
            if "refused" in row:
                print(f"{name:>31}  refused: {row['refused']}")
                continue
            print(
                f"{name:>31}  pipeline {row['pipeline']:.5f}  here {row['value']:.5f}"
                f"  difference {row['difference']:+.5f}  gap {row['delta_chi2']:8.1f}"
                f"  second {row['second']:.4f}{'  ambiguous' if row['ambiguous'] else ''}"
            )
