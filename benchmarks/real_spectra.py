"""Real spectra: dispersion against the pipeline's, repeat observations, residuals, flags."""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from astropy.io import fits
from torch import Tensor

import acie
import acie.io
from acie.errors import ACIEError
from acie.observation import WAVELENGTH, Observation
from acie.simulation import NoiseModel, SpectrumLikelihood

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
#: Variables whose repeat observations are compared.
NAMES = ("stellar_mass", "age", "metallicity", "dust_av", "sfr", "velocity_dispersion")
DRAWS = 32


def native_residual_std(path: Path, observation: Observation, spectra: Tensor) -> float:
    """Robust standard deviation of posterior predictive residuals at the file's own pixels.

    The pixels of the instrument grid are correlated where they are narrower than those of the
    file; the file's own are not. Each draw is multiplied by its posterior mean calibration,
    interpolated to the file's wavelengths, and compared in units of the stated error and the
    template error, added in quadrature.

    Arguments:
        path: A spec file of SDSS.
        observation: The same, on the instrument grid.
        spectra: Model spectra of posterior draws, ``(sample, 1, wave)``.
    """
    with fits.open(path) as file:
        table = file[1].data
        wave, flux = 10.0 ** table["loglam"].astype(float), table["flux"].astype(float)
        ivar = table["ivar"].astype(float) * (table["and_mask"] == 0)
    inside = (ivar > 0) & (wave > WAVELENGTH[0]) & (wave < WAVELENGTH[-1])
    noise = NoiseModel()
    likelihood = SpectrumLikelihood(observation.batched(), noise)
    calibrated = (spectra * likelihood.calibration(spectra))[:, 0].double().numpy()
    relative = noise.relative_error(observation.batched().redshift)[0].numpy()
    spreads = []
    for draw in calibrated:
        model = np.interp(wave, WAVELENGTH, draw)
        error = np.interp(wave, WAVELENGTH, relative * draw)
        residual = ((flux - model) / np.sqrt(1.0 / np.where(inside, ivar, 1.0) + error**2))[inside]
        spreads.append(1.4826 * np.median(np.abs(residual - np.median(residual))))
    return float(np.median(spreads))


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
        for variable in NAMES:
            values = engine.scm.variables[variable].forward(posterior.values[variable][:, 0])
            row[variable] = [float(values.median()), float(values.std())]
        row["sigma_km_s"] = float(posterior.values["velocity_dispersion"][:, 0].median())
        row["pipeline_km_s"] = observation.meta.get("vdisp")
        row["fit"] = float(posterior.fit[0])
        row["efficiency"] = float(posterior.confidence[0])
        row["quality"] = list(acie.QualityFlag(int(posterior.quality[0])).names)
        row["snr"] = float(observation.batched().signal_to_noise[0])
        if name in PASSIVE:
            row["residual_std"] = native_residual_std(path, observation, posterior.spectra[:DRAWS])
        galaxies[name] = row
    ratios = {n: galaxies[n]["sigma_km_s"] / galaxies[n]["pipeline_km_s"] for n in PASSIVE}
    one, two = (galaxies[name] for name in REPEAT)
    repeat = {}
    for variable in NAMES:
        (a, sa), (b, sb) = one[variable], two[variable]
        repeat[variable] = (a - b) / (sa**2 + sb**2) ** 0.5
    return {
        "galaxies": galaxies,
        "dispersion_ratio_passive": ratios,
        "repeat_pull": repeat,
        "residual_std_passive": {n: galaxies[n]["residual_std"] for n in PASSIVE},
        "binned_residual_std_passive": {n: galaxies[n]["fit"] for n in PASSIVE},
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
        for key in (
            "dispersion_ratio_passive",
            "repeat_pull",
            "residual_std_passive",
            "binned_residual_std_passive",
        ):
            print(key, {k: round(v, 2) for k, v in result[key].items()})
