"""Compiled kernels of importance weights and Student laws against the torch code beside them.

Both compute in double precision, in another order: tolerances are of 1e-12 unless a matrix is
inverted, which multiplies rounding by its condition.
"""

import math

import pytest
import torch

from acie import native
from acie.inference import importance, student
from acie.inference import weights as measures
from acie.inference.student import StudentMixture, fit_student_mixture, temper
from acie.refinement import targets

pytestmark = pytest.mark.skipif(not native.available(), reason="there was no compiler")

#: Draws and galaxies: alone, within one vector, of many vectors and a rest, beyond one stretch.
SIZES = [(1, 1), (3, 2), (8, 1), (67, 1), (130, 7), (897, 3)]
CLOSE = {"rtol": 1e-12, "atol": 1e-12, "equal_nan": True}


@pytest.fixture(params=["any", "v3"], autouse=True)
def generation(request):
    """Each test takes the kernels of two generations of processors."""
    best = next(name for name in ("v4", "v3", "any") if native.kernels.choose(name))
    if not native.kernels.choose(request.param):
        pytest.skip("this processor is older")
    yield request.param
    assert native.kernels.choose(best)


def numbers(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def logarithms(draws, batch, spread=4.0):
    """Log weights, of which some are errors; of a dead galaxy, where there is more than one."""
    found = spread * numbers(draws, batch, seed=draws)
    if draws > 3:
        bad = torch.tensor([-math.inf, math.nan, math.inf, -2e300]).double()
        found[torch.arange(4) * draws // 4, torch.arange(4) % batch] = bad
    if batch > 2:
        found[:, 1] = torch.where(torch.arange(draws) % 2 == 0, -math.inf, math.nan)
    return found


def both(function, *arguments, **options):
    ours = function(*arguments, **options)
    with native.kernels_off():
        return ours, function(*arguments, **options)


def assert_close(found, **tolerances):
    torch.testing.assert_close(*found, **{**CLOSE, **tolerances})


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("spread", [0.0, 4.0, 300.0])
def test_normalised_weights_and_sizes(size, spread):
    values = logarithms(*size, spread)
    assert_close(both(measures.normalise_log_weights, values))
    assert_close(both(measures.effective_sample_size, values))
    assert_close(both(measures.effective_sample_size, values[:, 0].float()))
    assert_close(both(measures.effective_sample_size, values[0, 0]))
    # Not contiguous.
    assert_close(both(measures.normalise_log_weights, values.T.contiguous().T))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("target", [1.0, 7.3, 40.0])
@pytest.mark.parametrize("spread", [0.0, 4.0, 1e5])
def test_tempered_weights(size, target, spread):
    values = logarithms(*size, spread)
    ours, theirs = both(temper, values, min(target, 0.5 * len(values)))
    # Logarithms of the weights are powers times up to 1e5, of which a unit in the last place is
    # 1e-11.
    for pair in zip(ours, theirs, strict=True):
        torch.testing.assert_close(*pair, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("size", SIZES)
def test_resampled_indices(size):
    values = logarithms(*size)

    def resample():
        return measures.systematic_resample(values, 50, torch.Generator().manual_seed(2))

    ours, theirs = both(resample)
    assert torch.equal(ours, theirs)
    assert torch.equal(*both(lambda: resample()[:0]))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("parts", [1, 2, 5])
def test_mixture_weights(size, parts):
    densities = [logarithms(*size).nan_to_num(nan=-math.inf, posinf=-math.inf)]
    densities += [numbers(*size, seed=part) - 30.0 * part for part in range(1, parts)]
    densities[-1][-1] = math.nan
    counts = [7, 5, 9, 300, 2][:parts]
    found = both(importance._mixture_weights, logarithms(*size), densities, counts)
    assert_close(found)
    assert not bool(found[0].isnan().any())


def test_more_densities_than_the_kernel_takes():
    densities = [numbers(9, 2, seed=part) for part in range(20)]
    assert_close(both(importance._mixture_weights, numbers(9, 2, seed=30), densities, [4] * 20))


def law(batch, components, dim, dof=7):
    factor = numbers(batch, components, dim, dim, seed=1)
    root = torch.linalg.cholesky(factor @ factor.mT + 0.5 * torch.eye(dim).double())
    fraction = torch.log_softmax(numbers(batch, components, seed=2), -1)
    return StudentMixture(fraction, numbers(batch, components, dim, seed=3), root, dof)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("components", "dim"), [(1, 1), (1, 13), (3, 5)])
def test_student_laws(size, components, dim):
    draws, batch = size
    mixture, x = law(batch, components, dim), 2.0 * numbers(draws, batch, dim, seed=4)
    x[-1, 0, 0], x[0, -1, -1] = math.nan, 1e200
    # Distances in a matrix of some condition.
    assert_close(both(mixture.log_prob, x), rtol=1e-10, atol=1e-10)
    given = x, mixture.mean, mixture.root, mixture.dof
    assert_close(both(student.student_log_prob, *given), rtol=1e-10, atol=1e-10)

    def sample():
        return mixture.sample(draws, torch.Generator().manual_seed(5))

    assert_close(both(sample))


def test_a_draw_that_no_law_can_have():
    mixture, x = law(2, 2, 3), torch.full((5, 2, 3), math.inf, dtype=torch.float64)
    assert_close(both(mixture.log_prob, x))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dim", [1, 13, 32, 33])
def test_moments(size, dim):
    draws, batch = size
    x = 3.0 + numbers(draws, batch, dim)
    for components in (1, 3):
        weights = numbers(draws, batch, components, seed=6).exp()
        weights[:, -1, 0] = 0.0
        for pair in zip(*both(student._moments, x, weights), strict=True):
            assert_close(pair)
    x[draws // 2, 0, 0], x[0, -1, -1] = math.nan, math.inf
    assert_close(both(importance._covariance, x))


@pytest.mark.parametrize("components", [1, 2])
@pytest.mark.parametrize("spread", [0.5, 4.0])
@pytest.mark.parametrize("size", [(67, 1), (130, 7), (897, 3)])
def test_fits(size, components, spread):
    draws, batch = size
    x, values = numbers(draws, batch, 6), logarithms(draws, batch, spread)
    # Two laws start from a split along the leading axis, whose sign hangs on rounding where there
    # is hardly any width beside it.
    x[..., 1] = x[..., 0] + (1e-4 if components == 1 else 0.5) * x[..., 1]
    reference = importance._covariance(x)
    given = {"components": components, "target": 12.0}
    ours, theirs = both(fit_student_mixture, x, values, reference, **given)
    if components == 2 and spread < 1.0:
        # Enough draws for both of them, and a dead galaxy counts all of its own alike.
        assert (ours.mean[:, 0] != ours.mean[:, 1]).any(-1).all()
    # The condition of the covariance is 1e8 for one law; for two, eight rounds follow each other.
    for name in ("log_fraction", "mean", "root"):
        pair = getattr(ours, name), getattr(theirs, name)
        torch.testing.assert_close(*pair, rtol=1e-6, atol=1e-8)


def test_factors_of_matrices_that_have_none():
    matrix = torch.eye(3).double().repeat(4, 2, 1, 1)
    assert_close(both(student._cholesky, matrix))
    # Each needs more on the diagonal than those before; the last are beyond help.
    for corner in (1.0, 1.0 + 1e-8, 1.0 + 1e-5, 1.0 + 1e-2, 3.0, math.nan):
        matrix[1, 1, 0, 2] = matrix[1, 1, 2, 0] = corner
        # The pivot that is left is about the jitter.
        assert_close(both(student._cholesky, matrix), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("size", [(67, 1), (130, 7), (897, 3)])
@pytest.mark.parametrize("width", [1, 18, 40])
def test_regressions(size, width):
    draws, batch = size
    x, values = numbers(draws, batch, 9), numbers(draws, batch, width, seed=7)
    values = values + x[..., :1]
    log_weights = logarithms(draws, batch)
    ours, theirs = both(targets._regression, x, log_weights, values)
    for pair in zip(ours, theirs, strict=True):
        # By products in place of a factorisation of all draws: the condition, up to 1e3.
        assert_close(pair, rtol=1e-9, atol=1e-9)


def test_a_refinement_gives_the_same_draws():
    config = importance.RefinementConfig(first=130, rounds=(67, 90))
    centre = numbers(5, 4, seed=8)

    class Standard:
        """A normal proposal."""

        def sample_and_log_prob(self, count, generator):
            x = torch.randn((count, 5, 4), generator=generator, dtype=torch.float64)
            return x, self.log_prob(x)

        def log_prob(self, x):
            return -0.5 * x.square().sum(-1)

    def target(x):
        found = -2.0 * (x - 0.5 * centre).square().sum(-1)
        found = torch.where(x[..., 0] > 1.5, math.nan, found)
        # One galaxy is out of reach, and one is lost.
        found[:, 1] = found[:, 1] - 40.0 * (x[:, 1, 1] - 4.0).square()
        found[:, 3] = -math.inf
        return found

    def run():
        generator = torch.Generator().manual_seed(9)
        return importance.AdaptiveImportanceSampler(config).run(
            target, Standard(), 50, generator
        )

    ours, theirs = both(run)
    assert torch.equal(ours.index, theirs.index)
    for name in ("samples", "log_target", "efficiency", "amortised_efficiency", "size"):
        # Rounding of the fits is carried on.
        pair = getattr(ours, name), getattr(theirs, name)
        torch.testing.assert_close(*pair, rtol=1e-7, atol=1e-8, msg=name)
    assert float(ours.size[3]) == 0.0
    assert math.isfinite(float(ours.samples.sum()))


def test_what_is_differentiated_stays_with_torch():
    values = numbers(20, 3).requires_grad_()
    measures.effective_sample_size(values).sum().backward()
    assert bool((values.grad != 0).any())
    x = numbers(20, 3, 5).requires_grad_()
    law(3, 2, 5).log_prob(x).sum().backward()
    assert bool((x.grad != 0).all())
