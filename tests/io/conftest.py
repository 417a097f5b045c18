"""Where the survey spectra lie, and made-up ones."""

from pathlib import Path

import numpy as np
import pytest

_DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def _folder(name):
    folder = _DATA / name
    if not folder.is_dir():
        pytest.skip(f"no {name} spectra: ../shared/data/{name} is missing")
    return folder


@pytest.fixture
def sdss_folder():
    return _folder("sdss")


@pytest.fixture
def desi_coadd():
    return _folder("desi") / "coadd-4-80613-thru20210324.fits"


@pytest.fixture
def spectrum():
    """Wavelength (angstrom), flux (1e-17 cgs per angstrom) and error of a made-up spectrum."""
    rng = np.random.default_rng(3)
    wave = np.arange(3700.0, 9300.0, 1.5)
    error = 0.5 + wave / 2e4
    flux = 10 + (wave - 6000) / 1e3 + rng.normal(size=wave.size) * error
    return wave, flux, error
