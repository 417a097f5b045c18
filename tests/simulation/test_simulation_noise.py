"""The likelihood against brute force, and the noise against the likelihood."""

from dataclasses import replace

import numpy as np
import torch
from scipy.stats import multivariate_t

from acie.simulation import NoiseModel, SpectrumLikelihood

PIXELS = torch.arange(1000, 1400, 10)


def few_pixels(observation):
    """The observation with all but 40 pixels masked."""
    ivar = torch.zeros_like(observation.ivar)
    ivar[:, PIXELS] = observation.ivar[:, PIXELS].clamp(min=1e-3)
    flux = torch.where(ivar > 0, observation.flux, 0.0)
    return replace(observation, flux=flux, ivar=ivar)


def test_likelihood_is_the_multivariate_t(survey):
    noise = NoiseModel()
    observation = few_pixels(survey.observation[:6])
    clean = survey.clean[:6]
    models = torch.stack([clean, 1.03 * clean, clean.roll(3, -1)])
    found = SpectrumLikelihood(observation, noise)(models).numpy()
    stated = 1.0 / observation.ivar[:, PIXELS].double().numpy()
    relative = noise.relative_error(observation.redshift)[:, PIXELS].double().numpy()
    basis = noise.polynomials()[:, PIXELS].double().numpy()
    expected = np.empty_like(found)
    for sample in range(3):
        for galaxy in range(6):
            model = models[sample, galaxy, PIXELS].double().numpy()
            design = basis * model
            variance = stated[galaxy] + (relative[galaxy] * model) ** 2
            shape = np.diag(variance) + noise.calibration**2 * design.T @ design
            law = multivariate_t(model, shape, df=noise.scale_dof)
            expected[sample, galaxy] = law.logpdf(
                observation.flux[galaxy, PIXELS].double().numpy()
            )
    # Up to a constant per galaxy: compare differences between models.
    np.testing.assert_allclose(found - found[:1], expected - expected[:1], rtol=2e-4, atol=2e-3)


def test_masked_pixels_are_ignored(survey):
    noise = NoiseModel()
    observation = few_pixels(survey.observation[:4])
    clean = survey.clean[:4]
    plain = SpectrumLikelihood(observation, noise)
    masked = observation.ivar == 0
    garbage = replace(observation, flux=torch.where(masked, 1e3, observation.flux))
    spoiled = SpectrumLikelihood(garbage, noise)
    torch.testing.assert_close(spoiled(clean[None]), plain(clean[None]), rtol=0, atol=0)
    other = torch.where(masked, 7.0 * clean, clean)
    torch.testing.assert_close(plain(other[None]), plain(clean[None]), rtol=0, atol=0)
    residuals = plain.standard_residuals(clean[None])[0]
    assert torch.equal(residuals.isnan(), masked)


def test_residuals_of_the_truth_are_standard(survey):
    likelihood = SpectrumLikelihood(survey.observation, NoiseModel())
    residuals = likelihood.standard_residuals(survey.clean[None])[0]
    # Each galaxy has its own noise scale, of median 1.02 and scatter 0.17.
    spread = torch.stack([row[~row.isnan()].std() for row in residuals])
    assert 0.9 < float(spread.median()) < 1.15
    assert 0.9 < float(residuals[~residuals.isnan()].std()) < 1.15


def test_truth_is_more_likely_than_another_shape(survey):
    # Another galaxy brought to the same median flux.
    likelihood = SpectrumLikelihood(survey.observation, NoiseModel())
    shape = survey.clean / survey.clean.median(-1, keepdim=True).values
    other = shape.roll(1, 0) * survey.clean.median(-1, keepdim=True).values
    gain = likelihood(survey.clean[None]) - likelihood(other[None])
    assert bool((gain > 0).all())


def test_calibration_is_found(survey):
    noise = NoiseModel()
    warp = 1.0 + 0.04 * noise.polynomials()[1]
    observation = survey.observation
    sigma = 0.01 * survey.clean.median(-1, keepdim=True).values
    sharp = replace(
        observation,
        flux=torch.where(observation.ivar > 0, survey.clean * warp, 0.0),
        ivar=torch.where(observation.ivar > 0, sigma**-2, 0.0),
    )
    found = SpectrumLikelihood(sharp, noise).calibration(survey.clean[None])[0]
    good = observation.ivar > 0
    assert float((found - warp)[good].abs().max()) < 2e-3


def test_draws_have_the_stated_moments():
    noise = NoiseModel(scale_dof=1e4)
    clean = torch.ones(1500, 6000)
    redshift = torch.zeros(1500, dtype=torch.float64)
    draw = noise.sample(clean, torch.tensor(0.05), redshift, torch.Generator().manual_seed(3))
    # At pixel 2000 inside the range of MILES: noise, template error and calibration.
    basis = noise.polynomials()[:, 2000]
    expected = (0.05**2 + 0.02**2 + 0.03**2 * float(basis.square().sum())) ** 0.5
    assert abs(float(draw[:, 2000].std()) / expected - 1.0) < 0.08


def test_simulated_set_is_consistent(survey, simulator):
    observation = survey.observation
    assert observation.flux.shape == survey.clean.shape == (48, 6000)
    assert bool((observation.flux[observation.ivar == 0] == 0).all())
    assert bool((survey.clean > 0).all())
    values, spectra = simulator.true_counterfactual(survey, {})
    torch.testing.assert_close(spectra, survey.clean, rtol=1e-6, atol=0)
    assert all(values[name] is survey.values[name] for name in values)
    ratio = (observation.flux * observation.ivar.sqrt()).median(-1).values
    assert float(ratio.max()) < 80.0


def test_draws_repeat_with_the_seed(simulator):
    one, two = (simulator.draw(3, torch.Generator().manual_seed(21)) for _ in range(2))
    assert torch.equal(one.observation.flux, two.observation.flux)
    assert torch.equal(one.clean, two.clean)
