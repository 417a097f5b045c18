"""DESI coadds: three arms with resolution matrices, redshifts from redrock.

Source: the DESI data model pages ``coadd-PETAL-TILEID-GROUPID`` (HDUs FIBERMAP, ``B_WAVELENGTH``,
``B_FLUX``, ``B_IVAR``, ``B_MASK``, ``B_RESOLUTION`` and the same for R and Z) and
``redrock-PETAL-TILEID-GROUPID`` (HDU REDSHIFTS). Wavelengths are vacuum and heliocentric, flux is
*not* corrected for the dust of the Milky Way; ``EBV`` is kept.
"""

__all__ = ["combine_arms", "read_desi", "resolution_width"]

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits

from acie.errors import MalformedSpectrum
from acie.io.assembly import NativeSpectrum, lsf_after_rebinning, to_observation
from acie.io.rebin import rebin
from acie.io.registry import ReadOptions, Source, reader
from acie.io.units import flux_factor, to_angstrom
from acie.observation import WAVELENGTH, Observation
from acie.results import QualityFlag
from acie.units import LIGHT_KM_S

_ARMS = ("B", "R", "Z")
_FLUX_UNIT = "1e-17 erg/(s cm2 Angstrom)"
#: Facts of FIBERMAP that are kept, by the name they get.
_FACTS = {"ra": "TARGET_RA", "dec": "TARGET_DEC", "ebv": "EBV", "fiber": "FIBER"}


def _is_desi(source: Source) -> bool:
    present = set(source.hdus)
    return "FIBERMAP" in present and any(
        {f"{arm}_WAVELENGTH", f"{arm}_FLUX", f"{arm}_IVAR"} <= present for arm in _ARMS
    )


def resolution_width(wave: np.ndarray, bands: np.ndarray) -> np.ndarray:
    r"""Gaussian width of the line-spread function from a resolution matrix.

    Column :math:`j` of the matrix, stored as diagonals, is the response to a line at pixel
    :math:`j`: its second moment about its mean is the variance of the line-spread function. The
    matrix acts on monochromatic light and its response is what the pixels hold, so that the
    width of the native pixels is already in it (Guy et al. 2023, AJ 165, 144), but not that of
    the pixels of 1 angstrom.

    Arguments:
        wave: Pixel centres, angstrom, shape ``(pixel,)``.
        bands: Diagonals from the highest offset to the lowest, shape ``(..., band, pixel)``.

    Returns:
        Gaussian width, km/s, shape ``(..., pixel)``; NaN where the matrix is empty.
    """
    bands = np.asarray(bands, dtype=np.float64)
    half = bands.shape[-2] // 2
    offset = np.arange(half, half - bands.shape[-2], -1, dtype=np.float64)[:, None]
    total = bands.sum(-2)
    safe = np.where(total > 0, total, np.nan)
    mean = (bands * offset).sum(-2) / safe
    variance = (bands * offset**2).sum(-2) / safe - mean**2
    pixel_km_s = np.gradient(wave) / wave * LIGHT_KM_S
    return np.sqrt(np.where(variance > 0, variance, np.nan)) * pixel_km_s


def combine_arms(
    flux: Sequence[np.ndarray], ivar: Sequence[np.ndarray], lsf: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spectra of several arms on one grid as one: weighted by inverse variance where they overlap.

    Arguments:
        flux: Flux density per arm, each of shape ``(..., wave)``.
        ivar: Inverse variance per arm, same shapes.
        lsf: Gaussian width per arm, km/s, same shapes.

    Returns:
        Flux density, inverse variance (the sum) and width (that of the mixture: variances
        average), each of shape ``(..., wave)``; the width is NaN where no arm has data.
    """
    weights = np.stack(ivar)
    total = weights.sum(0)
    safe = np.where(total > 0, total, 1.0)
    mean = (weights * np.stack(flux)).sum(0) / safe
    variance = (weights * np.stack(lsf) ** 2).sum(0) / safe
    return mean, total, np.where(total > 0, np.sqrt(variance), np.nan)


def _read_arm(hdus: fits.HDUList, arm: str, flux_unit: str | None) -> tuple[np.ndarray, ...]:
    """Flux, inverse variance and width of all targets of one arm, on the grid."""
    stated = hdus[f"{arm}_WAVELENGTH"].header.get("BUNIT", "Angstrom")
    wave = to_angstrom(hdus[f"{arm}_WAVELENGTH"].data, stated)
    factor = flux_factor(flux_unit or hdus[f"{arm}_FLUX"].header.get("BUNIT") or _FLUX_UNIT)
    flux = hdus[f"{arm}_FLUX"].data.astype(np.float64) * factor
    ivar = hdus[f"{arm}_IVAR"].data.astype(np.float64) / factor**2
    # Every bit of a coadd's mask says that no exposure has a usable pixel there.
    good = hdus[f"{arm}_MASK"].data == 0 if f"{arm}_MASK" in hdus else np.ones(flux.shape, bool)
    flux_out, ivar_out = rebin(wave, flux, ivar, good)
    if f"{arm}_RESOLUTION" in hdus:
        width = resolution_width(wave, hdus[f"{arm}_RESOLUTION"].data)
    else:
        width = np.full(flux.shape, np.nan)
    lsf = np.stack([lsf_after_rebinning(wave, row) for row in width])
    return flux_out, ivar_out, lsf


def _redrock_beside(path: Path) -> Path | None:
    """The redrock file of a coadd, by the naming of the data model."""
    for prefix in ("coadd-", "spectra-"):
        if path.name.startswith(prefix):
            stem = "redrock-" + path.name.removeprefix(prefix).removesuffix(".gz")
            for name in (stem, stem + ".gz"):
                if path.with_name(name).is_file():
                    return path.with_name(name)
    return None


def _redshifts(hdus: fits.HDUList, redrock: Path | None) -> dict[int, dict]:
    """Redshift, warning and class by TARGETID; from the same file if it holds them."""
    if "REDSHIFTS" in hdus:
        table = hdus["REDSHIFTS"].data
    elif redrock is not None:
        table = fits.getdata(redrock, "REDSHIFTS")
    else:
        return {}
    names = set(table.names)
    return {
        int(row["TARGETID"]): {
            "redshift": float(row["Z"]),
            "redshift_err": float(row["ZERR"]) if "ZERR" in names else None,
            "zwarning": int(row["ZWARN"]) if "ZWARN" in names else 0,
            "class": str(row["SPECTYPE"]).strip() if "SPECTYPE" in names else "",
            "subclass": str(row["SUBTYPE"]).strip() if "SUBTYPE" in names else "",
        }
        for row in table
    }


def _usable(fibers: fits.FITS_rec, ivar: np.ndarray) -> np.ndarray:
    """Which fibres hold a target with a good pixel, shape ``(fibre,)``; at least one does."""
    if len(fibers) != len(ivar):
        raise MalformedSpectrum(
            "FIBERMAP",
            expected=f"one row per spectrum, {len(ivar)}",
            found=f"{len(fibers)} rows",
            remedy="Fetch the file again.",
        )
    sky = fibers["OBJTYPE"] == "SKY" if "OBJTYPE" in fibers.names else np.zeros(len(ivar), bool)
    usable = (ivar > 0).any(-1) & ~sky
    if not usable.any():
        raise MalformedSpectrum(
            "ivar",
            expected="at least one target with a good pixel",
            found=f"none in {len(ivar)} fibres ({int(sky.sum())} of them sky)",
            remedy="The fibres are dead or masked; leave this file out.",
        )
    return usable


def read_desi(
    path: str | Path,
    *,
    redrock: str | Path | None = None,
    redshift: float | None = None,
    flux_unit: str | None = None,
) -> Observation:
    """Read all targets of a DESI coadd.

    Sky fibres and targets without one good pixel are left out and listed in ``meta["left_out"]``.
    A non-zero ``ZWARN`` sets REDSHIFT_ESTIMATED.

    Arguments:
        path: The coadd.
        redrock: The redrock file; by default the one of the same name beside the coadd. Targets
            that are in none have the redshift NaN.
        redshift: Redshift for every target, instead of redrock's.
        flux_unit: Unit of the flux, instead of the file's.

    Returns:
        The observation; without batch axis where the coadd holds one target.

    Raises:
        MalformedSpectrum: No target can be used.
    """
    path = Path(path)
    redrock = _redrock_beside(path) if redrock is None else Path(redrock)
    with fits.open(path) as hdus:
        fibers = hdus["FIBERMAP"].data
        arms = [arm for arm in _ARMS if f"{arm}_FLUX" in hdus]
        flux, ivar, lsf = combine_arms(
            *zip(*(_read_arm(hdus, arm, flux_unit) for arm in arms), strict=True)
        )
        known = _redshifts(hdus, redrock)
        tile = hdus[0].header.get("TILEID")
    names = set(fibers.names)
    usable = _usable(fibers, ivar)
    natives = []
    for row in np.flatnonzero(usable):
        target = int(fibers["TARGETID"][row])
        facts = {"target_id": target, "survey": "desi", "tile": tile}
        facts |= {key: fibers[name][row].item() for key, name in _FACTS.items() if name in names}
        facts |= known.get(target, {})
        warned = bool(facts.get("zwarning"))
        natives.append(
            NativeSpectrum(
                wave=WAVELENGTH,
                flux=flux[row],
                ivar=ivar[row],
                redshift=facts.pop("redshift", None),
                lsf=lsf[row],
                name=f"desi-{target}",
                quality=QualityFlag.REDSHIFT_ESTIMATED if warned else QualityFlag(0),
                meta={key: value for key, value in facts.items() if value is not None},
            )
        )
    left_out = [int(target) for target in fibers["TARGETID"][~usable]]
    return to_observation(
        natives, redshift=redshift, meta={"left_out": left_out} if left_out else None
    )


@reader("desi", identify=_is_desi)
def _read(source: Source, options: ReadOptions) -> Observation:
    """Read a DESI coadd; ``wave_unit`` and ``medium`` do not apply."""
    return read_desi(source.path, redshift=options.redshift, flux_unit=options.flux_unit)
