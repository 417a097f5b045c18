"""SDSS and BOSS spectra: ``spec-PLATE-MJD-FIBER.fits``, data release 8 and later.

Source: the SDSS data model page ``spec`` (HDU 1 COADD, HDU 2 SPECOBJ or SPALL) and the bitmask
page ``SPPIXMASK``. Wavelengths are vacuum and heliocentric; flux is in 1e-17 erg/s/cm2/A and is
*not* corrected for the dust of the Milky Way, so right ascension and declination are kept.
"""

__all__ = ["MASK_BITS", "read_sdss"]

import numpy as np
from astropy.io import fits
from astropy.io.fits import FITS_rec

from acie.errors import MalformedSpectrum
from acie.io.assembly import NativeSpectrum, to_observation
from acie.io.registry import ReadOptions, Source, reader
from acie.io.units import flux_factor
from acie.observation import Observation
from acie.results import QualityFlag
from acie.units import LIGHT_KM_S

#: Bits of ``and_mask`` (set in every exposure) that make a pixel unusable, from SPPIXMASK.
#: Left out on purpose: bits 0 to 15 describe a whole fibre (0266-51630-0174 carries BADTRACE over
#: its whole red half and agrees with its repeat); NEARBADPIXEL, LOWFLAT, PARTIALREJECT and
#: SCATTEREDLIGHT are common in good pixels whose inverse variance already accounts for them.
MASK_BITS: dict[str, int] = {
    "FULLREJECT": 18,  # fully rejected in extraction
    "CROSSTALK": 21,  # significant light from a neighbouring fibre
    "NOSKY": 22,  # sky level unknown
    "BRIGHTSKY": 23,  # sky so bright that its residuals exceed the stated errors
    "NODATA": 24,  # no data in the combination
    "COMBINEREJ": 25,  # rejected in the combination
    "BADFLUXFACTOR": 26,  # low flux calibration
    "BADSKYCHI": 27,  # bad sky residuals at this wavelength over the plate
    "REDMONSTER": 28,  # a region of bad sky residuals
}
_MASK = sum(1 << bit for bit in MASK_BITS.values())

#: Vacuum wavelength of the brightest sky line, [O I] 5577, and the half width masked, angstrom.
#: The files flag 3 to 5 of the 13 pixels that its residuals reach, up to 6 standard deviations.
SKY_LINE = (5578.9, 8.0)
#: One native pixel is 1e-4 in log10 of the wavelength.
KM_S_PER_PIXEL = LIGHT_KM_S * np.log(10.0) * 1e-4
#: Variance of the mean over a native pixel, square pixels.
_PIXEL_VARIANCE = 1.0 / 12.0
# BOSS files name no survey; their plates are numbered from here on.
_FIRST_BOSS_PLATE = 3510
# Without a unit in the file, that of the data model.
_FLUX_UNIT = "1e-17 erg/(s cm2 Angstrom)"


def _is_sdss(source: Source) -> bool:
    needed = {"flux", "loglam", "ivar", "and_mask", "wdisp"}
    return any(needed <= set(columns) for columns in source.hdus.values())


def _coadd_index(source: Source) -> int:
    for index, columns in enumerate(source.hdus.values()):
        if {"flux", "loglam", "ivar", "and_mask", "wdisp"} <= set(columns):
            return index
    return 1


def _wavelength(loglam: np.ndarray) -> np.ndarray:
    """Vacuum wavelength, angstrom; loglam is float32, exact only to 0.003 angstrom."""
    loglam = loglam.astype(np.float64)
    exact = np.round(loglam, 4)
    # Rounded wavelengths would make pixel widths jump by half a percent.
    return 10.0 ** (exact if np.abs(loglam - exact).max() < 2e-6 else loglam)


def _facts(row: FITS_rec, header: fits.Header, names: set[str]) -> dict:
    """What SPECOBJ and the primary header say about the target."""

    def value(*keys: str) -> object:
        for key in keys:
            if key in names:
                entry = row[key]
                return entry.strip() if isinstance(entry, str) else entry.item()
            if key in header:
                return header[key]
        return None

    plate = value("PLATE", "PLATEID") or 0
    facts = {
        "survey": value("SURVEY") or ("boss" if plate >= _FIRST_BOSS_PLATE else "sdss"),
        "plate": value("PLATE", "PLATEID"),
        "mjd": value("MJD"),
        "fiber": value("FIBERID"),
        "class": value("CLASS"),
        "subclass": value("SUBCLASS"),
        "vdisp": value("VDISP"),
        "vdisp_err": value("VDISP_ERR"),
        "zwarning": value("ZWARNING"),
        "redshift_err": value("Z_ERR"),
        # The header's RA and DEC are those of the plate, not of the fibre.
        "ra": value("PLUG_RA", "FIBER_RA"),
        "dec": value("PLUG_DEC", "FIBER_DEC"),
    }
    return {key: entry for key, entry in facts.items() if entry is not None}


@reader("sdss", identify=_is_sdss)
def read_sdss(source: Source, options: ReadOptions) -> Observation:
    """Read an SDSS or BOSS ``spec`` file.

    The resolution is column ``wdisp``, in native pixels of 69 km/s, with the width of these pixels
    added: the pipeline fits arc lines with Gaussians that are averaged over the pixel, so that
    ``wdisp`` is the width before it (idlspec2d, ``fitdispersion.pro`` and ``ProfileGauss`` in
    ``extract_row.c``; Law et al. 2021, AJ 161, 52, tell the two widths apart). That adds 20 km/s
    in quadrature. A non-zero ``ZWARNING`` sets REDSHIFT_ESTIMATED.

    Arguments:
        source: The file.
        options: What the caller knows better; ``wave_unit`` and ``medium`` do not apply.

    Returns:
        One observation without batch axis.

    Raises:
        MalformedSpectrum: The fibre is dead or the table is empty.
    """
    with fits.open(source.path) as hdus:
        coadd = hdus[_coadd_index(source)]
        header = hdus[0].header
        table = coadd.data
        if table is None or len(table) == 0:
            raise MalformedSpectrum(
                "COADD",
                expected="one row per pixel",
                found="an empty table",
                remedy="Fetch the file again.",
            )
        wave = _wavelength(table["loglam"])
        flux = table["flux"].astype(np.float64)
        ivar = table["ivar"].astype(np.float64)
        bad = (table["and_mask"].astype(np.int64) & _MASK) != 0
        wdisp = table["wdisp"].astype(np.float64)
        stated = coadd.columns["flux"].unit or header.get("BUNIT")
        redshift, facts = None, _facts(None, header, set())
        for hdu in hdus:
            if not hdu.is_image and {"Z", "ZWARNING"} <= set(hdu.columns.names):
                names = set(hdu.columns.names)
                if hdu.data is not None and len(hdu.data):
                    redshift = float(hdu.data[0]["Z"])
                    facts = _facts(hdu.data[0], header, names)
                break
    factor = flux_factor(options.flux_unit or stated or _FLUX_UNIT)
    bad |= np.abs(wave - SKY_LINE[0]) < SKY_LINE[1]
    quality = QualityFlag(0)
    if facts.get("zwarning"):
        quality |= QualityFlag.REDSHIFT_ESTIMATED
    numbers = [facts.get(key) for key in ("plate", "mjd", "fiber")]
    native = NativeSpectrum(
        wave=wave,
        flux=flux * factor,
        ivar=np.where(bad, 0.0, ivar / factor**2),
        redshift=redshift,
        # Zero stands for unknown.
        lsf=np.where(wdisp > 0, np.sqrt(wdisp**2 + _PIXEL_VARIANCE), 0.0) * KM_S_PER_PIXEL,
        name=source.path.stem if None in numbers else "spec-{:04d}-{:05d}-{:04d}".format(*numbers),
        quality=quality,
        meta=facts,
    )
    return to_observation([native], redshift=options.redshift)
