"""Features of spectra: known spectra, invariances, and the model against its own pixels."""

import math

import pytest
import torch

from acie.bundle import ModelBundle
from acie.errors import ConfigurationError
from acie.observation import WAVELENGTH, Observation
from acie.physics import StellarPopulationModel
from acie.physics.features import FEATURES, Feature, SpectralFeatures, feature_of, measure
from acie.physics.sfh import DelayedTauSolver

WAVE = torch.arange(3000.0, 9000.0, 0.5, dtype=torch.float64)
WIDTH = torch.full_like(WAVE, 0.5)


@pytest.fixture(scope="module")
def physics():
    return StellarPopulationModel(ModelBundle.load().templates)


@pytest.fixture(scope="module")
def state(physics):
    values = {
        "stellar_mass": 3e10, "age": 6.0, "metallicity": 0.02, "gas_metallicity": 8.6,
        "ionization_parameter": -3.0, "dust_av": 0.5, "dust_slope": -0.2,
        "velocity_dispersion": 60.0, "redshift": 0.1,
    }  # fmt: skip
    grid = {k: torch.full((5,), v, dtype=torch.float64) for k, v in values.items()}
    sfr = torch.logspace(-1.5, 0.8, 5, dtype=torch.float64)
    solver = DelayedTauSolver(physics.surviving_fraction)
    grid["tau"] = solver(grid["age"], sfr / grid["stellar_mass"] * grid["age"] * 1e9)
    return grid


def test_a_flat_spectrum_has_no_break_and_no_colour():
    flat_nu = WAVE**-2.0
    for name in ("dn4000", "d4000", "u_r", "g_r"):
        assert float(FEATURES[name].of(WAVE, WIDTH, flat_nu)) == pytest.approx(
            1.0 if "4000" in name else 0.0, abs=1e-3
        )


def test_a_power_law_has_the_colour_of_its_integrals():
    # F_lambda ~ lambda^p: the photon-weighted mean of F_nu is an elementary integral.
    p, (a, b), (c, d) = 1.3, (3500.0, 4000.0), (6000.0, 7000.0)

    def level(low, high):
        whole = (high ** (p + 2) - low ** (p + 2)) / (p + 2)
        return whole / math.log(high / low)

    found = feature_of("colour:3500-4000/6000-7000").of(WAVE, WIDTH, WAVE**p)
    assert float(found) == pytest.approx(-2.5 * math.log10(level(a, b) / level(c, d)), abs=1e-6)


def test_a_rectangular_line_has_its_area_as_equivalent_width():
    # On a sloping continuum: 40 % absorbed over 10 angstrom is 4 angstrom.
    continuum = 2.0 + 1e-3 * (WAVE - 4000.0)
    inside = (WAVE > 4095.0) & (WAVE < 4105.0)
    line = torch.where(inside, 0.6, 1.0) * continuum
    width = float(inside.double().sum()) * 0.5
    assert float(FEATURES["hdelta_a"].of(WAVE, WIDTH, line)) == pytest.approx(
        0.4 * width, abs=0.01
    )
    inside = (WAVE > 6560.0) & (WAVE < 6570.0)
    line = torch.where(inside, 3.0, 1.0) * continuum
    width = float(inside.double().sum()) * 0.5
    assert float(FEATURES["halpha_ew"].of(WAVE, WIDTH, line)) == pytest.approx(
        2.0 * width, rel=1e-3
    )


def test_windows_published_in_air_are_converted():
    edges = FEATURES["dn4000"].vacuum_windows()
    # 4000 A in air is 4001.13 A in vacuum (Morton 2000).
    assert edges[1][0] == pytest.approx(4001.13, abs=0.01)
    assert FEATURES["halpha_ew"].vacuum_windows()[0] == (6554.6, 6574.6)


def test_ratios_do_not_know_the_mass_and_fluxes_are_proportional_to_it(physics, state):
    features = SpectralFeatures(physics)
    # At fixed shape of the history: tau is kept.
    heavier = {**state, "stellar_mass": 3.0 * state["stellar_mass"]}
    for name in ("dn4000", "g_r", "halpha_ew", "hdelta_a", "balmer_decrement"):
        torch.testing.assert_close(features.compute(name, heavier), features.compute(name, state))
    ratio = features.compute("flux:4000-4500", heavier) / features.compute("flux:4000-4500", state)
    torch.testing.assert_close(ratio, torch.full_like(ratio, 3.0), rtol=1e-5, atol=0)


def test_young_galaxies_have_small_breaks_and_strong_lines(physics, state):
    features = SpectralFeatures(physics)
    assert bool((features.compute("dn4000", state).diff() < 0).all())
    assert bool((features.compute("halpha_ew", state).diff() > 0).all())
    assert bool((features.compute("light_weighted_age", state).diff() < 0).all())
    assert bool((features.compute("u_r", state).diff() < 0).all())


def test_dust_reddens_by_its_law(physics, state):
    features = SpectralFeatures(physics)
    clear = {**state, "dust_av": 0.0 * state["dust_av"]}
    torch.testing.assert_close(
        features.compute("balmer_decrement", clear), torch.full((5,), 2.86, dtype=torch.float64)
    )
    # Calzetti (slope 0), A_V = 1 on the stars, 1 / 0.44 on the gas: k(Hb) - k(Ha) = 1.2717
    # of R_V 4.05 (Calzetti et al. 2000, equation 4), by hand.
    one = {**state, "dust_av": torch.ones(5).double(), "dust_slope": torch.zeros(5).double()}
    expected = 2.86 * 10 ** (0.4 / 0.44 * 1.2717 / 4.05)
    assert float(features.compute("balmer_decrement", one)[0]) == pytest.approx(expected, rel=2e-3)
    for name in ("g_r", "u_r"):
        assert bool((features.compute(name, state) > features.compute(name, clear)).all())


def test_features_broadcast_and_keep_nan(physics, state):
    features = SpectralFeatures(physics)
    one = {name: value[:1] for name, value in state.items()}
    many = {**one, "dust_av": torch.tensor([[0.0, 0.3], [math.nan, 1.0]], dtype=torch.float64)}
    found = features.compute("g_r", many)
    assert found.shape == (2, 2)
    assert found.isnan().tolist() == [[False, False], [True, False]]
    alone = features.compute("g_r", {**one, "dust_av": torch.tensor([0.3], dtype=torch.float64)})
    torch.testing.assert_close(found[0, 1], alone[0])


def test_measured_on_its_own_noise_free_pixels_the_model_agrees(physics, state):
    # Instrument of the templates' resolution and little broadening.
    spectra = physics(state)
    observation = Observation(
        flux=spectra, ivar=torch.full_like(spectra, 1e6), redshift=state["redshift"],
        lsf=torch.full((5, WAVELENGTH.size), 60.0),
    )  # fmt: skip
    features, generator = SpectralFeatures(physics), torch.Generator().manual_seed(0)
    for name, tolerance in (("dn4000", 5e-3), ("g_r", 3e-3), ("hdelta_a", 0.15)):
        value, error = measure(observation, name, generator, draws=4)
        assert bool((error >= 0).all())
        difference = (value - features.compute(name, state)).abs()
        assert float(difference.max()) < tolerance, name
    # Below 3600 A nothing was observed.
    unseen = measure(observation, "flux:2600-2700", generator, draws=2)[0]
    assert bool(unseen.isnan().all())


def test_the_error_of_a_measurement_is_that_of_its_noise():
    # A mean over n pixels of error s has the error s / sqrt(n).
    flux = torch.full((1, WAVELENGTH.size), 5.0)
    observation = Observation(
        flux=flux, ivar=torch.full_like(flux, 4.0), redshift=torch.zeros(1).double() + 0.01,
        lsf=torch.full_like(flux, 60.0),
    )  # fmt: skip
    _, error = measure(observation, "flux:5000-5400", torch.Generator().manual_seed(1), draws=400)
    expected = 0.5 / math.sqrt(400 * 1.01)
    # A standard deviation from 400 draws is good to 3.5 %; four of those.
    assert float(error[0]) == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("name", ["colour", "flux:4000", "flux:5000-4000", "flux:100-200"])
def test_what_is_not_a_feature_is_refused(name):
    with pytest.raises(ConfigurationError):
        feature_of(name)


def test_a_definition_is_data():
    feature = Feature("mine", "flux", ((5000.0, 5100.0),))
    assert float(feature.of(WAVE, WIDTH, torch.full_like(WAVE, 2.5))) == pytest.approx(2.5)
