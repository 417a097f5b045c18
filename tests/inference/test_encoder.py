"""The encoder on smooth spectra with lines: what must not matter, does not."""

import dataclasses
import json

import pytest
import torch

from acie.errors import ConfigurationError, NotFitted
from acie.inference import SpectrumEncoder
from acie.observation import WAVELENGTH, Observation

WAVE = torch.from_numpy(WAVELENGTH.copy())


def rest_spectra(wave, state):
    """Spectra that are linear in the last three columns of ``state`` ``(n, 5)``."""
    log_wave = wave.log()
    colour = (wave / 5000.0) ** (0.4 * state[:, :1])
    jump = 1 - 0.3 * torch.sigmoid(state[:, 1:2]) * torch.sigmoid((4000 - wave) / 40)
    total = colour * jump
    for index, line in enumerate((3728.5, 5008.2, 6564.6)):
        profile = torch.exp(-0.5 * ((log_wave - torch.tensor(line).log()) * 2000).square())
        total = total + torch.sigmoid(state[:, 2 + index : 3 + index]) * profile
    return total


def observe(state, redshift, snr, seed=0, amplitude=3.0):
    redshift = torch.as_tensor(redshift, dtype=torch.float64)
    flux = amplitude * rest_spectra(WAVE / (1 + redshift[:, None]), state)
    sigma = (flux.median(-1, keepdim=True).values / snr).expand_as(flux)
    noise = torch.randn(flux.shape, generator=torch.Generator().manual_seed(seed)).double()
    flux = flux + sigma * noise
    return Observation(
        flux=flux.float(),
        ivar=sigma.pow(-2).float(),
        redshift=redshift.float(),
        lsf=torch.full(flux.shape, 65.0),
    )


def states(n, seed):
    return torch.randn(n, 5, generator=torch.Generator().manual_seed(seed)).double()


@pytest.fixture(scope="module")
def encoder():
    grid = torch.from_numpy(SpectrumEncoder.rest_grid())
    encoder = SpectrumEncoder.from_spectra(rest_spectra(grid, states(250, 0)), n_components=20)
    redshift = 0.01 + 0.55 * torch.rand(300, generator=torch.Generator().manual_seed(2))
    encoding = encoder.encode(observe(states(300, 1), redshift.double(), 20.0))
    encoder.fit_scaling(encoding.features, encoding.reduced_chi2)
    return encoder


@pytest.fixture
def observation():
    return observe(states(6, 3), [0.02, 0.1, 0.2, 0.3, 0.4, 0.59], 25.0)


def masked(observation, fraction=0.3, value=None):
    generator = torch.Generator().manual_seed(4)
    mask = torch.rand(observation.flux.shape, generator=generator) < fraction
    flux = observation.flux if value is None else observation.flux.masked_fill(mask, value)
    return dataclasses.replace(
        observation,
        flux=flux,
        ivar=observation.ivar.masked_fill(mask, 0.0),
        lsf=observation.lsf if value is None else observation.lsf.masked_fill(mask, 1e4),
    )


def test_values_in_masked_pixels_do_not_matter(encoder, observation):
    first = encoder.features(masked(observation))
    assert torch.equal(first, encoder.features(masked(observation, value=-1e6)))


def test_flux_scale_moves_only_the_amplitude(encoder, observation):
    scaled = dataclasses.replace(
        observation, flux=observation.flux * 1000, ivar=observation.ivar / 1e6
    )
    first, second = encoder.encode(observation), encoder.encode(scaled)
    shift = second.features - first.features
    amplitude = encoder.n_features - 4
    torch.testing.assert_close(
        shift[:, amplitude], torch.full_like(shift[:, 0], 3.0), rtol=0, atol=1e-4
    )
    shift[:, amplitude] = 0.0
    assert float(shift.abs().max()) < 5e-3


def test_masking_most_pixels_keeps_the_answer(encoder, observation):
    full, most = encoder.encode(observation), encoder.encode(masked(observation, 0.7))
    assert bool(most.features.isfinite().all())
    spread = most.features[:, 20:36].exp()
    # 30 % of the pixels: differences within 5 of their own uncertainty (96 numbers).
    assert float(((most.coefficients - full.coefficients)[:, :16] / spread).abs().max()) < 5.0
    assert bool((spread >= full.features[:, 20:36].exp() * 0.999).all())


def test_the_same_galaxy_at_two_redshifts_has_the_same_coefficients(encoder):
    state = states(5, 6)
    near, far = (observe(state, [z] * 5, 500.0) for z in (0.2, 0.3))
    near, far = encoder.encode(near), encoder.encode(far)
    # Leading coefficients in units of their population scatter.
    torch.testing.assert_close(
        near.coefficients[:, :3], far.coefficients[:, :3], rtol=0, atol=0.05
    )
    # The flux scale is that of the rest-frame spectrum, whatever part of it is seen.
    torch.testing.assert_close(near.log_amplitude, far.log_amplitude, rtol=0, atol=0.01)


def test_recovers_the_spectrum_it_was_built_from(encoder, observation):
    chi2 = encoder.encode(observation).reduced_chi2
    # The calibration floor widens the errors, so at most one; 6000 pixels scatter by 0.018.
    assert bool((chi2 < 1.06).all())
    assert bool((chi2 > 0.6).all())


def test_information_feature_counts_every_pixel_once(encoder, observation):
    half = dataclasses.replace(observation, ivar=observation.ivar / 2)
    bands = slice(36, 48)
    drop = encoder.features(observation)[:, bands] - encoder.features(half)[:, bands]
    torch.testing.assert_close(drop, torch.full_like(drop, 0.30103), rtol=0, atol=0.01)


def test_batch_and_single_agree(encoder):
    many = observe(states(20, 8), torch.linspace(0.01, 0.59, 20).double(), 80.0)
    together = encoder.features(many)
    alone = torch.cat([encoder.features(many[i]) for i in range(20)])
    # float32 products in another order, after one step of refinement.
    torch.testing.assert_close(together, alone, rtol=0, atol=3e-3)
    torch.testing.assert_close(
        encoder.encode(many, chunk=17).features, together, atol=3e-3, rtol=0
    )


def test_dark_and_noisy_spectra_are_finite(encoder, observation):
    for scale in (0.0, 1e-6, -1.0):
        dark = dataclasses.replace(observation, flux=observation.flux * scale)
        assert bool(encoder.features(dark).isfinite().all())
        assert bool(encoder(dark).abs().le(10.0).all())


def test_outliers_are_seen(encoder):
    redshift = torch.full((50,), 0.25).double()
    ordinary = encoder.misfit(observe(states(50, 9), redshift, 20.0, seed=5))
    # 0.5 % each for distance and misfit: 5 of 50 is beyond 1e-4.
    assert int(ordinary.is_outlier.sum()) <= 5
    strange = observe(states(50, 9), redshift, 20.0, seed=5)
    ripple = 1 + 0.5 * torch.sin(WAVE.float() / 30)
    strange = dataclasses.replace(strange, flux=strange.flux * ripple)
    assert bool(encoder.misfit(strange).is_outlier.all())


def test_rebuilds_from_config_and_tensors(encoder, observation):
    config = json.loads(json.dumps(encoder.config))
    other = SpectrumEncoder.from_state(config, encoder.state_dict())
    assert torch.equal(other(observation), encoder(observation))
    assert other.rest_wavelength == pytest.approx(SpectrumEncoder.rest_grid())


def test_misuse_is_refused(observation):
    pixels = SpectrumEncoder.rest_grid().size
    with pytest.raises(ConfigurationError):
        SpectrumEncoder.from_spectra(torch.ones(100, 7))
    with pytest.raises(ConfigurationError):
        SpectrumEncoder.from_spectra(torch.ones(5, pixels), n_components=5)
    with pytest.raises(NotFitted):
        SpectrumEncoder(pixels, 3)(observation)


def test_what_is_kept_of_the_components_follows_them(encoder, observation):
    changed = SpectrumEncoder.from_state(encoder.config, encoder.state_dict())
    before = changed.features(observation)
    changed.components.mul_(-1.0)
    after = changed.features(observation)
    fresh = SpectrumEncoder.from_state(changed.config, changed.state_dict())
    assert torch.equal(after, fresh.features(observation))
    assert not torch.equal(after, before)
