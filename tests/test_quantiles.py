"""Intervals of independent, weighted and resampled draws cover as often as they say.

Tolerances of coverage are five standard errors over the simulated sets, plus what the docstring of
``acie.quantiles`` leaves open where that is stated.
"""

import math

import numpy as np
import pytest
import torch

from acie.errors import ConfigurationError
from acie.inference import effective_sample_size, systematic_resample
from acie.quantiles import effective_draws, quantiles, weighted_quantiles

NORMAL = torch.distributions.Normal(torch.tensor(0.0).double(), torch.tensor(1.0).double())
LEVELS = (0.5, 0.68, 0.9)
SETS = 10_000


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def pool(law, count, seed):
    """Weighted draws of a standard normal, and what is asked about them.

    ``apart`` are weights that have nothing to do with the values; in the others a proposal that is
    too wide and off its place makes them. ``skewed`` asks about the exponential.
    """
    z = normal(count, SETS, seed=seed)
    if law == "apart":
        return normal(count, SETS, seed=seed + 1), z
    x = 0.4 + 1.5 * z
    return (x.exp() if law == "skewed" else x), NORMAL.log_prob(x) - NORMAL.log_prob(z)


def covered(law, ends):
    """Probability between the ends, ``(set,)``."""
    low, high = (end.log() if law == "skewed" else end for end in ends)
    return NORMAL.cdf(high) - NORMAL.cdf(low)


def central(level):
    return [(1.0 - level) / 2.0, (1.0 + level) / 2.0]


# -- coverage -------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [15, 64, 300])
@pytest.mark.parametrize("law", ["normal", "skewed"])
def test_independent_draws(law, count):
    draws = normal(count, SETS, seed=count)
    draws = draws.exp() if law == "skewed" else draws
    for level in LEVELS:
        share = covered(law, quantiles(draws, central(level)))
        # Interpolation is linear in the value and not in the probability: at each end an eighth of
        # a cell of 1 / (n + 1) where the density changes by as much as itself within the cell.
        allowed = 5.0 * float(share.std()) / SETS**0.5 + 2.0 / 8.0 / (count + 1)
        # No interval can be longer than from the smallest draw to the largest.
        expected = min(level, (count - 1) / (count + 1))
        assert abs(float(share.mean()) - expected) < allowed
        plain = covered(law, torch.quantile(draws, torch.tensor(central(level)).double(), dim=0))
        wrong = level * (count - 1) / (count + 1)
        assert abs(float(plain.mean()) - wrong) < allowed


# The number of distinct draws, of the pool's effective draws and of those handed out differ most
# where the pool is small (repeats) or large (resampling drops what it had).
@pytest.mark.parametrize(("size", "samples"), [(20, 64), (60, 64), (600, 64), (150, 256)])
@pytest.mark.parametrize("law", ["apart", "normal", "skewed"])
def test_resampled_draws(law, size, samples):
    values, log_weights = pool(law, size, seed=size)
    index = systematic_resample(log_weights, samples, seeded(3))
    draws = values.gather(0, index)
    worth = effective_draws(draws)
    # One over the number of cells that stay free: the second order of the derivation.
    second = float((1.0 / worth.square()).mean()) * 4.0
    for level in (0.5, 0.68):
        share = covered(law, quantiles(draws, central(level), worth))
        error = float(share.std()) / SETS**0.5
        assert abs(float(share.mean()) - level) < 5.0 * error + second
        plain = covered(law, torch.quantile(draws, torch.tensor(central(level)).double(), dim=0))
        assert float(plain.mean()) < level - 5.0 * error


def test_the_effective_size_of_the_pool_is_not_enough():
    """What resampling drops is in the repeats, and neither in the pool nor in the weights."""
    values, log_weights = pool("apart", 60, seed=9)
    draws = values.gather(0, systematic_resample(log_weights, 32, seeded(3)))
    # The pool is worth about as much as there are draws, and the draws half of that.
    worth = {"pool": effective_sample_size(log_weights), "draws": effective_draws(draws)}
    off = {
        name: float(covered("apart", quantiles(draws, central(0.68), size)).mean()) - 0.68
        for name, size in worth.items()
    }
    # Standard error 0.0009; levels moved by 0.34 (1/32 - 1/20) at both ends would lose 0.012.
    assert off["pool"] < -0.005
    assert abs(off["draws"]) < 0.0045


def test_weighted_draws():
    values, log_weights = pool("normal", 40, seed=21)
    weights = (log_weights - log_weights.amax(0)).exp()
    rows = range(2000)
    found = [weighted_quantiles(values[:, i], central(0.68), weights[:, i]) for i in rows]
    share = covered("normal", torch.stack(found, 1))
    worth = effective_sample_size(log_weights)
    allowed = 5.0 * float(share.std()) / len(rows) ** 0.5 + 4.0 * float((1 / worth**2).mean())
    assert abs(float(share.mean()) - 0.68) < allowed


# -- laws -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_they_are_those_of_numpy(count):
    draws, levels = normal(count, 4, seed=count), [0.0, 0.03, 0.16, 0.5, 0.84, 1.0]
    for method, worth in (("weibull", None), ("hazen", math.inf)):
        # Infinitely many draws would need no correction; no draw is worth more than one.
        found = quantiles(draws, levels, worth)
        if method == "weibull":
            expected = np.quantile(draws.numpy(), levels, axis=0, method=method)
            np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
        else:
            assert torch.equal(found, quantiles(draws, levels))


def test_many_draws_need_no_correction():
    draws = normal(200_000)
    levels = torch.tensor([0.16, 0.5, 0.84]).double()
    torch.testing.assert_close(
        quantiles(draws, levels.tolist()), torch.quantile(draws, levels), rtol=0, atol=1e-4
    )


def test_they_rise_with_the_level_and_stay_within_the_draws():
    draws = normal(23, 50).round(decimals=1)  # with ties
    worth = torch.linspace(0.1, 60.0, 50).double()
    found = quantiles(draws, torch.linspace(0, 1, 201).tolist(), worth)
    assert bool((found.diff(dim=0) >= 0).all())
    assert torch.equal(found[0], draws.amin(0))
    assert torch.equal(found[-1], draws.amax(0))


def test_fewer_effective_draws_make_wider_intervals_around_the_same_median():
    draws = normal(64, 1).expand(64, 40)
    low, middle, high = quantiles(draws, [0.16, 0.5, 0.84], torch.arange(64.0, 24.0, -1.0))
    assert bool(((high - low).diff() > 0).all())
    assert bool((middle == middle[0]).all())


def test_they_move_with_the_draws():
    draws, levels = normal(31), [0.1, 0.5, 0.9]
    found = quantiles(draws, levels, 12.0)
    torch.testing.assert_close(quantiles(3.0 * draws - 1.0, levels, 12.0), 3.0 * found - 1.0)
    torch.testing.assert_close(quantiles(-draws, levels, 12.0), -found.flip(0))
    assert torch.equal(quantiles(draws.flip(0), levels, 12.0), found)


def test_missing_draws_are_left_out():
    draws = normal(20, 3)
    draws[:5, 0], draws[:, 1] = torch.nan, torch.nan
    found = quantiles(draws, [0.16, 0.84], 10.0)
    # Three quarters of the draws are worth three quarters of what all are.
    torch.testing.assert_close(found[:, 0], quantiles(draws[5:, 0], [0.16, 0.84], 7.5))
    assert bool(found[:, 1].isnan().all())
    torch.testing.assert_close(found[:, 2], quantiles(draws[:, 2], [0.16, 0.84], 10.0))


def test_what_is_certain_stays_exactly_what_it_is():
    value = torch.full((50, 2), 0.1, dtype=torch.float32)
    assert bool((quantiles(value, [0.16, 0.5, 0.84], 7.0) == value[0]).all())
    assert quantiles(torch.tensor([1, 2, 3]), [0.5]).tolist() == [2.0]
    assert quantiles(torch.tensor([-math.inf, 0.0, 0.0, 1.0]), [0.01, 0.5]).tolist() == [
        -math.inf, 0.0,
    ]  # fmt: skip


def test_equal_weights_are_no_weights_and_zero_ones_no_draws():
    draws, levels = normal(40), [0.0, 0.16, 0.5, 0.84, 1.0]
    weights = torch.cat([torch.full((30,), 2.0), torch.zeros(10)]).double()
    for worth in (None, 12.0):
        torch.testing.assert_close(
            weighted_quantiles(draws, levels, weights, worth), quantiles(draws[:30], levels, worth)
        )
    assert weighted_quantiles(draws[:1], levels, weights[:1]).tolist() == [draws[0]] * 5


def test_effective_draws_count_repeats():
    draws = torch.tensor([[1.0, 1.0], [2.0, 1.0], [3.0, 2.0], [4.0, 2.0]])
    assert effective_draws(draws).tolist() == [4.0, 2.0]
    # A discrete variable ties without a repeat; a constant has one draw.
    state = {"x": draws, "quenched": torch.ones(4, 2), "redshift": torch.ones(1, 2)}
    assert effective_draws(state).tolist() == [4.0, 2.0]


def test_effective_draws_are_at_most_the_distinct_ones():
    index = torch.randint(9, (30, 200), generator=seeded(), dtype=torch.long)
    worth = effective_draws(index.double())
    distinct = torch.tensor([len(column.unique()) for column in index.T]).double()
    assert bool((worth <= distinct + 1e-9).all())
    assert bool((worth >= 1.0).all())


@pytest.mark.parametrize(
    ("draws", "levels"), [(torch.zeros(0), [0.5]), (torch.tensor(1.0), [0.5]),
                          (torch.zeros(3), [1.5]), (torch.zeros(3), [math.nan])],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(draws, levels):
    with pytest.raises(ConfigurationError):
        quantiles(draws, levels)
    with pytest.raises(ConfigurationError, match="draws"):
        weighted_quantiles(torch.ones(3), [0.5], torch.zeros(3))
