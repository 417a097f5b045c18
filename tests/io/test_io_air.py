"""Air and vacuum wavelengths against published line lists."""

import numpy as np
import pytest

from acie.io import air_to_vacuum, vacuum_to_air


@pytest.mark.parametrize(
    # The SDSS table of lines (vacuum) and NIST (air).
    ("air", "vacuum"),
    [(6562.80, 6564.61), (5006.84, 5008.24), (4861.325, 4862.68), (3727.09, 3728.15)],
)
def test_published_lines(air, vacuum):
    assert air_to_vacuum(air) == pytest.approx(vacuum, abs=0.02)
    assert vacuum_to_air(vacuum) == pytest.approx(air, abs=0.02)


def test_roundtrip_and_ultraviolet():
    wave = np.linspace(1000.0, 20000.0, 5001)
    wave = wave[np.abs(wave - 2000.0) > 1.0]
    np.testing.assert_allclose(vacuum_to_air(air_to_vacuum(wave)), wave, rtol=1e-12)
    assert (air_to_vacuum(wave[wave < 1999]) == wave[wave < 1999]).all()


def test_agrees_with_the_physics_package():
    torch = pytest.importorskip("torch")
    refraction = pytest.importorskip("acie.physics.refraction")
    wave = np.linspace(3000.0, 10000.0, 101)
    other = refraction.air_to_vacuum(torch.from_numpy(wave)).numpy()
    np.testing.assert_allclose(air_to_vacuum(wave), other, rtol=1e-10)
