"""Compiled kernels of residuals, projections and bases against the torch code beside them."""

from dataclasses import replace

import pytest
import torch

import acie
from acie import native, predictive
from acie.inference.projection import interpolate_from_rest, scatter_to_rest
from acie.native import basis, checks, projection
from acie.physics import SubsetModel
from acie.predictive import predictive_check
from acie.refinement import reduced
from acie.seeds import SeedStream
from acie.simulation import Simulator, SpectrumLikelihood, SurveyConfig, expansion

pytestmark = pytest.mark.skipif(not native.available(), reason="no compiled kernels here")


@pytest.fixture(scope="module")
def engine():
    return acie.load()


@pytest.fixture(scope="module")
def observed(engine):
    """Five galaxies with masked stretches and pixels, and seven draws near each."""
    simulator = Simulator(
        engine.scm, engine.physics, engine.noise_model, SurveyConfig(snr=(10.0, 40.0))
    )
    drawn = simulator.draw(5, SeedStream(8).generator("checks"))
    generator = torch.Generator().manual_seed(4)
    good = torch.rand(5, 6000, generator=generator) > 0.03
    good[0, 1003:1391] = False
    good[1, 5500:] = False
    seen = drawn.observation
    # Light that no draw has, in two of them.
    line = torch.exp(-0.5 * ((torch.arange(6000) - 3000.0) / 12.0) ** 2)
    extra = line * torch.tensor([0.0, 0.0, 0.3, 0.6, 0.0])[:, None] * drawn.clean
    seen = replace(seen, flux=(seen.flux + extra) * good, ivar=seen.ivar * good)
    draws = drawn.clean * (1.0 + 0.02 * torch.randn(7, 5, 1, generator=generator))
    return seen, draws * (1.0 + 0.003 * torch.randn(7, 5, 6000, generator=generator))


def without(function, *arguments):
    """What a function gives where there are no kernels."""
    with native.kernels_off():
        return function(*arguments)


def test_the_predictive_check(observed):
    seen, draws = observed
    check = predictive_check(seen, draws, acie.load().noise_model)
    expected = without(predictive_check, seen, draws, acie.load().noise_model)
    torch.testing.assert_close(check.noise_scale, expected.noise_scale, rtol=3e-6, atol=0)
    torch.testing.assert_close(check.p_values, expected.p_values, rtol=1e-4, atol=1e-6)
    assert check.p_values.min() < 0.01 < 0.5 < check.p_values.max()


def test_bins_without_most_of_their_pixels_do_not_count(observed):
    seen, draws = observed
    likelihood = SpectrumLikelihood(seen, acie.load().noise_model)
    rows = likelihood.flux, likelihood.ivar, likelihood.relative
    coefficients = likelihood.coefficients(draws).float()
    sums, _ = checks.bins(draws, *rows, likelihood.basis, coefficients)
    found = checks.squares(sums, torch.ones(5), 0.02, predictive.WIDTHS)
    model = draws * (1.0 + coefficients @ likelihood.basis)
    weight, residual = likelihood.weight(model)[0], likelihood.flux - model
    binned = predictive._binned(weight.double(), (residual, model), predictive.WIDTHS)
    for place, values in enumerate(binned):
        count, total = predictive._squares(*values, torch.ones(5))
        assert torch.equal(found[..., place, 0].T, count)
        torch.testing.assert_close(found[..., place, 1].T, total, rtol=1e-5, atol=0)
    assert 0 < found[0, 0, 0, 0] < 1200


def test_an_impossible_draw_spoils_its_own_sums_alone(observed):
    seen, draws = observed
    spoiled = draws.clone()
    spoiled[2, 1, 700] = torch.nan
    likelihood = SpectrumLikelihood(seen, acie.load().noise_model)
    rows = likelihood.flux, likelihood.ivar, likelihood.relative, likelihood.basis
    coefficients = torch.zeros(7, 5, 4)
    right, _ = checks.bins(draws, *rows, coefficients)
    wrong, mean = checks.bins(spoiled, *rows, coefficients)
    others = [0, 2, 3]  # a draw that is not a number has a pixel less
    assert torch.equal(torch.where(wrong.isnan(), right, wrong)[:, :, others], right[:, :, others])
    assert wrong.isnan().nonzero()[:, [0, 1, 3]].unique(dim=0).tolist() == [[1, 2, 140]]
    assert mean.isnan().nonzero()[:, [0, 2]].unique(dim=0).tolist() == [[1, 140]]
    plain = checks.squares(right.clone(), torch.ones(5), 0.02, predictive.WIDTHS)
    fewer = checks.squares(wrong, torch.ones(5), 0.02, predictive.WIDTHS)
    lost = (plain - fewer)[..., 0].nonzero()
    assert lost.tolist() == [[1, 2, level] for level in range(len(predictive.WIDTHS))]


def test_the_misfit(observed):
    seen, draws = observed
    likelihood = SpectrumLikelihood(seen, acie.load().noise_model)
    for found, expected in zip(
        likelihood.misfit(draws), without(likelihood.misfit, draws), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)


def test_the_coefficients_of_the_calibration(observed):
    seen, draws = observed
    likelihood = SpectrumLikelihood(seen, acie.load().noise_model)
    spectra = draws.transpose(0, 1).contiguous().transpose(0, 1)
    exact = without(likelihood.coefficients, draws.double())
    error = (likelihood.coefficients(spectra) - exact).abs().max()
    assert error < 2.0 * (without(likelihood.coefficients, draws) - exact).abs().max() < 4e-6


@pytest.mark.parametrize("size", [1, 2, 7, 8, 6000])
def test_medians_are_those_of_torch(size):
    values = torch.randn(9, size, generator=torch.Generator().manual_seed(size))
    values[1] = torch.nan
    values[2, ::2] = torch.nan
    values[3] = -1.5
    values[4, : size // 2 + 1] = -torch.inf
    values[5, : size // 2 + 1] = torch.inf
    values[6] = values[6].abs() * 1e-42
    found, expected = checks.nanmedian(values), values.nanmedian(-1).values
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("components", [3, 16, 81])
def test_the_projection_onto_components(components):
    """Normal equations and residuals where some pixels are masked and some beyond the grid."""
    generator = torch.Generator().manual_seed(components)
    rest, pixels = 705, 640
    parts = torch.randn(rest, components, generator=generator)
    shift = torch.tensor([[0.0], [60.0], [-9.0]], dtype=torch.float64)
    position = torch.linspace(-20.7, 730.0, pixels) + shift
    weights = torch.rand(3, pixels, generator=generator)
    weights[0, 100:320] = 0.0
    values = torch.randn(3, pixels, generator=generator)
    mean = torch.randn(3, components, generator=generator)
    packed = projection.packed(parts)
    gram, projected = projection.equations(packed, components, position, weights, values)
    pulled, misfit = projection.residuals(packed, mean, position, weights, values)

    parts, weights, values = parts.double(), weights.double(), values.double()
    shared = scatter_to_rest(torch.stack([weights, weights * values]), position, rest)
    residual = values - interpolate_from_rest(mean.double() @ parts.T, position)
    owed = scatter_to_rest(weights * residual, position, rest)
    inside = (position >= 0) & (position < rest - 1)
    chi2 = (weights * residual.square() * inside).sum(-1)
    for found, expected in (
        (gram, (parts.T * shared[0][:, None]) @ parts),
        (projected, shared[1] @ parts),
        (pulled, owed @ parts),
        (misfit, torch.stack([chi2, ((weights > 0) & inside).sum(-1)], -1)),
    ):
        error = (found - expected).abs().amax() / expected.abs().amax()
        assert found.shape == expected.shape
        assert float(error) < 1e-6


def test_the_encoder(engine, observed):
    encoder = engine.bundle.encoder
    found, expected = encoder.encode(observed[0]), without(encoder.encode, observed[0])
    for part, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(part, reference, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(found.reduced_chi2, expected.reduced_chi2, rtol=1e-5, atol=0)


def apart(found, expected):
    """The largest difference over the largest number."""
    return float((found - expected).abs().amax() / expected.abs().amax())


def test_the_basis_of_draws(observed):
    seen, draws = observed
    likelihood = SpectrumLikelihood(seen, acie.load().noise_model)
    draws = draws.transpose(0, 1)
    share = torch.softmax(torch.randn(5, 7, generator=torch.Generator().manual_seed(1)), -1)
    found = reduced._basis(likelihood, draws, share)
    expected = without(reduced._basis, likelihood, draws, share)
    for part, reference in zip(found[:2], expected[:2], strict=True):
        assert apart(part, reference) < 1e-6
    # Deviations from a mean have a direction less, and any direction may point either way.
    for part, reference in zip(found[2:4], expected[2:4], strict=True):
        part, reference = part[:, :6], reference[:, :6]
        sign = (part * reference).sum(-1, keepdim=True).sign()
        assert apart(sign * part, reference) < 1e-4
    centre, root, white = expected[:3]
    pixels, leverage = basis.strata(white.square().sum(1).double(), root, 28, reduced._EVEN)
    assert torch.equal(pixels, expected[4])
    torch.testing.assert_close(leverage, expected[5], rtol=1e-6, atol=0)
    assert bool((root.gather(1, pixels) > 0).all())


@pytest.mark.parametrize("rank", [1, 7, 18, 24])
def test_the_sums_of_a_basis(observed, rank):
    seen, draws = observed
    likelihood = SpectrumLikelihood(seen, acie.load().noise_model)
    centre = draws[0].contiguous()
    rows = likelihood.weight(centre)[0], centre, likelihood.flux - centre
    polynomials = likelihood.noise.polynomials(9)
    flat = polynomials.unflatten(1, (-1, expansion._BLOCK)).mean(-1)
    components = torch.randn(5, rank, 6000, generator=torch.Generator().manual_seed(rank))
    given = (*rows, components, polynomials, flat)
    assert basis.expands(components, polynomials, expansion._BLOCK, *rows)
    exact = expansion._expanded(*(part.double() for part in given))
    for found, expected in zip(basis.expanded(*given), exact, strict=True):
        assert found.shape == expected.shape
        for one, other in zip(found, expected, strict=True):
            assert apart(one, other) < 1e-6


def test_the_templates_at_few_pixels(engine, observed):
    redshift, lsf = observed[0].redshift, observed[0].lsf
    excess = engine.physics.lsf_excess(redshift, lsf)
    pixels = torch.randint(6000, (5, 31), generator=torch.Generator().manual_seed(2)).sort().values
    ends = torch.full((5,), 40.0), torch.tensor([60.0, 90.0, 200.0, 350.0, 500.0])
    given = engine.physics, redshift, excess, ends, pixels
    found, expected = SubsetModel(*given), without(SubsetModel, *given)
    old = engine.physics.old_size
    for one, other in zip(found._table, expected._table, strict=True):
        assert apart(one[..., :old], other[..., :old]) < 1e-6
        assert apart(one[..., old:], other[..., old:]) < 1e-6
