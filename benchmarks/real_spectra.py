"""Real spectra: dispersion against the pipeline's, repeat observations, residuals, flags."""

import argparse
import json
from pathlib import Path

import torch

import acie
import acie.io
from acie.errors import ACIEError

PASSIVE = (
    "0266-51630-0367",
    "0266-51630-0481",
    "0266-51630-0486",
    "0266-51630-0598",
    "0268-51633-0074",
    "0266-51602-0166",
    "0266-51630-0174",
)
REPEAT = ("0266-51602-0166", "0266-51630-0174")


def run(folder: Path, model: str) -> dict:
    engine = acie.load(model)
    galaxies = {}
    for path in sorted(folder.glob("sdss/*.fits")) + sorted(folder.glob("desi/coadd*.fits")):
        name = path.stem.removeprefix("spec-")
        try:
            observation = acie.io.read(path)
            posterior = engine.infer(observation, 256)
        except ACIEError as error:
            galaxies[name] = {"error": type(error).__name__}
            continue
        row = {}
        for variable in (
            "stellar_mass",
            "age",
            "metallicity",
            "dust_av",
            "sfr",
            "velocity_dispersion",
        ):
            values = engine.scm.variables[variable].forward(posterior.values[variable][:, 0])
            row[variable] = [float(values.median()), float(values.std())]
        row["sigma_km_s"] = float(posterior.values["velocity_dispersion"][:, 0].median())
        row["pipeline_km_s"] = observation.meta.get("vdisp")
        row["fit"] = float(posterior.fit[0])
        row["efficiency"] = float(posterior.confidence[0])
        row["quality"] = list(acie.QualityFlag(int(posterior.quality[0])).names)
        row["snr"] = float(observation.batched().signal_to_noise[0])
        galaxies[name] = row
    ratios = {n: galaxies[n]["sigma_km_s"] / galaxies[n]["pipeline_km_s"] for n in PASSIVE}
    one, two = (galaxies[name] for name in REPEAT)
    repeat = {}
    for variable in (
        "stellar_mass",
        "age",
        "metallicity",
        "dust_av",
        "sfr",
        "velocity_dispersion",
    ):
        (a, sa), (b, sb) = one[variable], two[variable]
        repeat[variable] = (a - b) / (sa**2 + sb**2) ** 0.5
    return {
        "galaxies": galaxies,
        "dispersion_ratio_passive": ratios,
        "repeat_pull": repeat,
        "fit_passive": {n: galaxies[n]["fit"] for n in PASSIVE},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", default="galaxy-v1")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    result = run(arguments.data, arguments.model)
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, row in result["galaxies"].items():
            if "error" in row:
                print(f"{name:>28} refused: {row['error']}")
                continue
            mass, error = row["stellar_mass"]
            pipeline = row["pipeline_km_s"] or float("nan")
            print(
                f"{name:>28} logM {mass:6.2f} +- {error:.3f}  sigma {row['sigma_km_s']:5.0f}"
                f" (pipeline {pipeline:5.0f})  fit {row['fit']:.2f}"
                f"  eff {row['efficiency']:.3f}  {','.join(row['quality'])}"
            )
        for key in ("dispersion_ratio_passive", "repeat_pull", "fit_passive"):
            print(key, {k: round(v, 2) for k, v in result[key].items()})
