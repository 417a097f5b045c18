"""An answer as plain data: the JSON object and the FITS table of the command line's contract."""

__all__ = ["result_to_fits", "result_to_json", "state_summaries"]

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from torch import Tensor

from acie.bundle import ModelBundle
from acie.figures import counterfactual_band
from acie.results import CounterfactualResult, summarise
from acie.variables import Variable


def state_summaries(
    result: CounterfactualResult, variables: dict[str, Variable], galaxy: int = 0
) -> dict[str, dict[str, dict[str, str | float]]]:
    """``latent_state`` and ``counterfactual_state`` of one galaxy.

    Returns:
        Of both worlds, unit, median and central 68 % interval of every variable but the redshift.
    """
    posterior = result.abduction.posterior
    effective = posterior.effective_draws[galaxy]

    names = [name for name in variables if name != "redshift"]

    def summary(values: dict[str, Tensor]) -> dict[str, dict[str, str | float]]:
        found = summarise({name: values[name][:, galaxy] for name in names}, effective)
        return {name: {"unit": variables[name].unit, **found[name]} for name in names}

    return {
        "latent_state": summary(posterior.values),
        "counterfactual_state": summary(result.values),
    }


def result_to_json(
    result: CounterfactualResult,
    bundle: ModelBundle,
    variables: dict[str, Variable],
    *,
    source: str,
    timing_ms: float,
    galaxy: int = 0,
) -> dict[str, Any]:
    """The answer for one galaxy; masked pixels of ``observed`` and the counterfactual are null."""
    posterior = result.abduction.posterior
    good = (result.observation.ivar[galaxy] > 0).numpy()

    def pixels(values: np.ndarray) -> list[float | None]:
        return [float(f"{v:.6g}") if ok else None for v, ok in zip(values, good, strict=True)]

    low, middle, high = counterfactual_band(result, galaxy)
    return {
        "input": source,
        "model": {"name": bundle.name, "version": bundle.version, "digest": bundle.digest},
        "redshift": float(result.observation.redshift[galaxy]),
        "interventions": list(result.actions),
        **state_summaries(result, variables, galaxy),
        "wavelength": result.observation.wavelength.tolist(),
        "observed": pixels(result.observation.flux[galaxy].numpy()),
        "counterfactual": pixels(middle),
        "counterfactual_p16": pixels(low),
        "counterfactual_p84": pixels(high),
        "confidence": float(result.confidence[galaxy]),
        "quality": list(result.quality[galaxy].names),
        "fit_robust_std": float(posterior.fit[galaxy]),
        "timing_ms": timing_ms,
    }


def result_to_fits(answer: dict[str, Any], path: str | Path | BinaryIO) -> None:
    """Write the spectra and the states of an answer as two FITS tables with units."""
    from astropy import units
    from astropy.io import fits
    from astropy.table import Table

    flux = 1e-17 * units.erg / units.s / units.cm**2 / units.AA
    spectra = Table()
    spectra["wavelength"] = np.array(answer["wavelength"]) * units.AA
    for name in ("observed", "counterfactual", "counterfactual_p16", "counterfactual_p84"):
        spectra[name] = np.array(answer[name], dtype=float) * flux
    rows = [
        (name, state["unit"], *(state[k] for k in ("median", "p16", "p84")),
         *(answer["counterfactual_state"][name][k] for k in ("median", "p16", "p84")))
        for name, state in answer["latent_state"].items()
    ]  # fmt: skip
    columns = ("variable", "unit", "median", "p16", "p84", "cf_median", "cf_p16", "cf_p84")
    header = fits.Header()
    header["REDSHIFT"] = answer["redshift"]
    if "redshift_estimate" in answer:
        header["ZERR"] = (answer["redshift_estimate"]["error"], "of the estimated redshift")
        # FITS has no None: the keyword then has no value.
        header["ZGAP"] = (answer["redshift_estimate"]["delta_chi2"], "chi2 to the second best")
    header["MODEL"] = answer["model"]["name"]
    header["CONFID"] = (answer["confidence"], "importance-sampling efficiency")
    header["QUALITY"] = ",".join(answer["quality"])
    for number, action in enumerate(answer["interventions"], 1):
        header[f"DO{number}"] = action
    units_ = [fits.PrimaryHDU(header=header)]
    for name, table in (("SPECTRA", spectra), ("STATE", Table(rows=rows, names=columns))):
        hdu = fits.table_to_hdu(table)
        hdu.name = name
        units_.append(hdu)
    fits.HDUList(units_).writeto(path, overwrite=True)
