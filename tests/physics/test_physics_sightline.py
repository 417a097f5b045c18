"""Resolution that varies along the spectrum, against spectra of one resolution each."""

import pytest
import torch

from acie.physics import StellarPopulationModel, TemplateSet

#: Constant differences of resolution, km^2/s^2, that enclose those of the test.
NODES = torch.linspace(-3200.0, 6800.0, 51, dtype=torch.float64)


@pytest.fixture(scope="module")
def physics():
    return StellarPopulationModel(TemplateSet.build(components=(48, 12, 24))).double()


def galaxy(dispersion):
    """Strong narrow lines on young stars, ``(1,)`` each."""
    state = {
        "stellar_mass": 1e10, "age": 1.0, "tau": 3.0, "metallicity": 0.012,
        "gas_metallicity": 8.6, "ionization_parameter": -2.7, "dust_av": 0.3, "dust_slope": -0.4,
        "velocity_dispersion": dispersion, "redshift": 0.12,
    }  # fmt: skip
    return {name: torch.tensor([value], dtype=torch.float64) for name, value in state.items()}


def resolution():
    """Excess at the pixels: slow change, and a step as the templates have, ``(1, wave)``."""
    pixel = torch.arange(6000, dtype=torch.float64)
    return (-2900.0 + 0.9 * pixel + 4000.0 * (pixel < 1200))[None]


def exact(physics, state, excess):
    """Every pixel from the spectra whose one resolution is next to that of the pixel."""
    spectra = torch.stack([physics(state, torch.full_like(excess, float(c)))[0] for c in NODES])
    place = (excess[0] - NODES[0]) / (NODES[1] - NODES[0])
    below = place.long()
    pixel = torch.arange(len(place))
    return torch.lerp(spectra[below, pixel], spectra[below + 1, pixel], place - below)


@pytest.mark.parametrize("dispersion", [60.0, 100.0, 180.0])
def test_every_pixel_has_its_own_resolution(physics, dispersion):
    state, excess = galaxy(dispersion), resolution()
    expected = exact(physics, state, excess)
    one = {name: value[None] for name, value in state.items()}
    peak = float(expected.max())
    # The filters are fitted to the power of the sharpest templates: measured 1.4e-4.
    assert float((physics(one, excess)[0, 0] - expected).abs().max()) < 5e-4 * peak
    assert float((physics(state, excess)[0] - expected).abs().max()) < 5e-4 * peak


@pytest.mark.parametrize("dispersion", [25.0, 40.0, 50.0])
def test_below_the_resolution_of_the_templates_widths_stay_close(physics, dispersion):
    # Between two dispersions 10 km/s apart the width of some pixels ceases to be cut off at zero:
    # there, and only there, the mixture of the two is wider than it should be, by a few km/s in
    # quadrature.
    state, excess = galaxy(dispersion), resolution()
    one = {name: value[None] for name, value in state.items()}
    found, expected = physics(one, excess)[0, 0], exact(physics, state, excess)
    assert float((found - expected).abs().max()) < 0.02 * float(expected.max())
    resolved = excess[0] + dispersion**2 > 900.0
    difference = (found - expected)[resolved].abs().max()
    assert float(difference) < 2e-3 * float(expected.max())


def test_nothing_is_sharpened_beyond_the_templates(physics):
    # An instrument sharper than anything: what is left is the templates' own resolution.
    state = galaxy(30.0)
    sharp = physics(state, torch.full((1, 6000), -1e5, dtype=torch.float64))
    unbroadened = physics(state | {"velocity_dispersion": torch.zeros(1).double()})
    torch.testing.assert_close(sharp, unbroadened, rtol=1e-9, atol=0)


def test_spectra_do_not_depend_on_their_company(physics):
    excess = resolution()
    dispersions = [30.0, 53.0, 60.0, 200.0]
    states = [galaxy(value) for value in dispersions]
    together = {name: torch.stack([s[name] for s in states]) for name in states[0]}
    alone = torch.stack([physics({n: v[None] for n, v in s.items()}, excess)[0] for s in states])
    torch.testing.assert_close(physics(together, excess), alone, rtol=1e-9, atol=1e-12)


def test_nothing_jumps_where_the_cut_begins(physics):
    excess = resolution()
    edge = float((-excess.min()).sqrt())
    values = [edge - 1e-6, edge + 1e-6]
    found = [
        physics({n: v[None] for n, v in galaxy(value).items()}, excess)[0, 0] for value in values
    ]
    torch.testing.assert_close(*found, rtol=0, atol=1e-5 * float(found[0].max()))


@pytest.mark.parametrize("dispersion", [45.0, 100.0])
def test_gradient_of_the_dispersion(physics, dispersion):
    excess, pixels = resolution(), slice(3000, 4500)

    def light(value):
        return physics(galaxy(1.0) | {"velocity_dispersion": value}, excess)[0, pixels]

    value = torch.tensor([dispersion], dtype=torch.float64, requires_grad=True)
    weights = torch.linspace(-1.0, 1.0, 1500, dtype=torch.float64)
    (light(value) @ weights).backward()
    step = 1e-3
    with torch.no_grad():
        up, down = (light(value + sign * step) @ weights for sign in (1, -1))
    torch.testing.assert_close(value.grad[0], (up - down) / (2 * step), rtol=1e-5, atol=0)
