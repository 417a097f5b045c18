"""The likelihood in a small basis against the likelihood of all pixels."""

import pytest
import torch

from acie.simulation import NoiseModel, ReducedExpansion, SpectrumLikelihood

COUNT = 4


@pytest.fixture(scope="module")
def setting(survey):
    """Observations, a centre, a basis, and pixels that stand for all."""
    clean = survey.clean[:COUNT]
    basis = torch.stack([clean, clean.roll(4, -1) - clean, clean * torch.linspace(-1, 1, 6000)], 1)
    good = survey.observation.ivar[:COUNT] > 0
    pixels = torch.stack([torch.nonzero(row)[::40, 0][:110] for row in good])
    return survey.observation[:COUNT], clean, basis, pixels


def expand(setting, noise):
    observation, centre, basis, pixels = setting
    likelihood = SpectrumLikelihood(observation, noise)
    shares = torch.ones(pixels.shape)
    return likelihood, ReducedExpansion(likelihood, centre, basis, pixels, shares)


def coordinates(size, count=12):
    generator = torch.Generator().manual_seed(1)
    scale = size * torch.tensor([1.0, 0.5, 1.0])
    return scale * torch.randn(COUNT, count, 3, generator=generator)


def values(setting, likelihood, expansion, a):
    _, centre, basis, pixels = setting
    spectra = centre[:, None] + a @ basis
    at = spectra.gather(2, pixels[:, None].expand(-1, a.shape[1], -1))
    return likelihood(spectra.transpose(0, 1)), expansion(a, at)


def test_it_is_exact_where_the_weights_do_not_depend_on_the_model(setting):
    noise = NoiseModel(template_error=0.0, template_error_outside=0.0)
    likelihood, expansion = expand(setting, noise)
    exact, found = values(setting, likelihood, expansion, coordinates(0.1))
    # Sums over 6000 pixels in single precision, some of them a million: 1e-7 of each.
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=0.05)


def test_changed_weights_are_followed_closely(setting):
    likelihood, expansion = expand(setting, NoiseModel())
    exact, found = values(setting, likelihood, expansion, coordinates(0.05))
    error = found - exact
    # Without the change of the weights the error would be tens of units (see below).
    assert float(error.abs().max()) < 1.5
    frozen = SpectrumLikelihood(setting[0], NoiseModel())
    weight, damping = frozen.weight(setting[1])
    assert bool((weight < frozen.ivar).any())
    assert float((exact - exact[:1]).abs().max()) > 10.0


def test_information_is_minus_the_curvature_of_the_likelihood(setting):
    # Without template error and calibration nothing but the residual depends on the model.
    noise = NoiseModel(calibration=1e-6, template_error=0.0, template_error_outside=0.0)
    observation, centre, basis, _ = setting
    likelihood, expansion = expand(setting, noise)
    at = torch.tensor([[0.01, 0.0, -0.02]]).repeat(COUNT, 1).requires_grad_()
    model = centre + torch.einsum("bd,bdw->bw", at, basis)
    (expected,) = torch.autograd.grad(likelihood(model[None]).sum(), at)
    gradient, precision = expansion.information(at.detach())
    torch.testing.assert_close(gradient.float(), expected, rtol=1e-3, atol=1e-2)
    assert bool((torch.linalg.eigvalsh(precision) > 0).all())


def test_calibration_takes_away_information_about_the_brightness(setting):
    noise = NoiseModel()
    _, precision = expand(setting, noise)[1].information(torch.zeros(COUNT, 3))
    _, free = expand(setting, NoiseModel(calibration=1e-6))[1].information(torch.zeros(COUNT, 3))
    # A parameter that only scales the spectrum is the first term of the calibration; the scale of
    # the noise is 1 within its prior of 20 degrees of freedom.
    assert bool((precision[:, 0, 0] < 2.0 / noise.calibration**2).all())
    assert bool((free[:, 0, 0] > 10.0 / noise.calibration**2).any())
