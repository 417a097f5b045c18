"""Shapley values: the axioms, brute force, sampling within its stated error, linear models."""

import itertools

import pytest
import torch

from acie.errors import ConfigurationError
from acie.scm import AdditiveNoiseMechanism, ExogenousMechanism, StructuralCausalModel
from acie.scm.attribution import attribute_difference, shapley
from acie.variables import Variable

ADD = AdditiveNoiseMechanism
PLAYERS = ("a", "b", "c", "d")


def random_game(seed, players=4, shape=(3,)):
    table = torch.randn(2**players, *shape, dtype=torch.float64,
                        generator=torch.Generator().manual_seed(seed))  # fmt: skip
    return lambda coalitions: table[(coalitions.long() << torch.arange(players)).sum(1)]


def test_exact_values_are_the_mean_over_all_orders():
    game = random_game(0)
    found = shapley(game, PLAYERS)
    expected = torch.zeros(4, 3, dtype=torch.float64)
    orders = list(itertools.permutations(range(4)))
    for order in orders:
        joined = torch.zeros(1, 4, dtype=torch.bool)
        before = game(joined)[0]
        for player in order:
            joined = joined.clone()
            joined[0, player] = True
            after = game(joined)[0]
            expected[player] += (after - before) / len(orders)
            before = after
    assert found.exact
    torch.testing.assert_close(found.shares, expected)


def test_efficiency_symmetry_null_player_and_linearity():
    one, two = random_game(1), random_game(2)
    first, second = shapley(one, PLAYERS), shapley(two, PLAYERS)
    torch.testing.assert_close(first.shares.sum(0), first.total)
    both = shapley(lambda c: 2.0 * one(c) - 3.0 * two(c), PLAYERS)
    torch.testing.assert_close(both.shares, 2.0 * first.shares - 3.0 * second.shares)

    def symmetric(coalitions):
        # b and c count the same; d counts nothing.
        pair = coalitions[:, 1].double() + coalitions[:, 2].double()
        return (coalitions[:, 0].double() * pair**2)[:, None]

    found = shapley(symmetric, PLAYERS)
    torch.testing.assert_close(found.shares[1], found.shares[2])
    assert float(found.shares[3].abs().max()) < 1e-15


def test_sampled_values_lie_within_their_stated_error():
    # Fourteen players: a product of pairs, whose Shapley values are known.
    weights = torch.linspace(0.5, 2.0, 14, dtype=torch.float64)

    def game(coalitions):
        value = coalitions.double() * weights
        return (value[:, :7] * value[:, 7:]).sum(1, keepdim=True)

    names = [f"p{i}" for i in range(14)]
    expected = 0.5 * (weights[:7] * weights[7:]).repeat(2)
    errors = []
    for seed in range(20):
        found = shapley(
            game, names, permutations=40, generator=torch.Generator().manual_seed(seed)
        )
        assert not found.exact
        torch.testing.assert_close(found.shares.sum(0), found.total)
        errors.append((found.shares[:, 0] - expected) / found.error[:, 0].clamp(min=1e-12))
    z = torch.cat(errors)
    # A permutation and its reverse give a pair its exact share: no error is left in this game.
    assert bool((z.abs() < 1e-2).all())

    def cubic(coalitions):
        value = coalitions.double() * weights
        return value.sum(1, keepdim=True) ** 3

    many = shapley(cubic, names, permutations=4000, generator=torch.Generator().manual_seed(99))
    scores = []
    for seed in range(40):
        found = shapley(
            cubic, names, permutations=100, generator=torch.Generator().manual_seed(seed)
        )
        spread = (found.error**2 + many.error**2).sqrt()
        scores.append(((found.shares - many.shares) / spread)[:, 0])
    spread = torch.cat(scores).square().mean().sqrt()
    # 560 correlated standard scores: as 40 independent sets, their rms is 1 within 3 / sqrt(80).
    assert 0.66 < float(spread) < 1.34


def chain():
    return StructuralCausalModel(
        [Variable("r"), Variable("x", parents=("r",)), Variable("m", parents=("x",)),
         Variable("y", parents=("x", "m")), Variable("aside", parents=("m",))],
        {
            "r": ExogenousMechanism(),
            "x": ADD(lambda p: 1.5 * p["r"]),
            "m": ADD(lambda p: 2.0 * p["x"]),
            "y": ADD(lambda p: p["x"] - 3.0 * p["m"], 0.5),
            "aside": ADD(lambda p: p["m"]),
        },
    )  # fmt: skip


def individuals(model, root, seed):
    generator = torch.Generator().manual_seed(seed)
    values, noise = model.sample(
        (6,), given={"r": torch.tensor(root, dtype=torch.float64)}, generator=generator
    )
    return values, {name: u for name, u in noise.items() if name != "r"}


def test_in_a_linear_model_every_noise_gets_its_own_difference():
    model = chain()
    first, second = individuals(model, 0.2, 0), individuals(model, 1.0, 1)
    found = attribute_difference(model, first, second, "y")
    assert set(found.players) == {"r", "x", "m", "y"}
    # Total effects on y: x counts 1 - 3 * 2 = -5, m counts -3, y its scale, r 1.5 times x.
    du = {name: second[1][name] - first[1][name] for name in ("x", "m", "y")}
    expected = {
        "r": torch.full((6,), 0.8 * 1.5 * -5.0, dtype=torch.float64),
        "x": -5.0 * du["x"], "m": -3.0 * du["m"], "y": 0.5 * du["y"],
    }  # fmt: skip
    for name, share in zip(found.players, found.shares, strict=True):
        torch.testing.assert_close(share, expected[name])
    torch.testing.assert_close(found.shares.sum(0), second[0]["y"] - first[0]["y"])


def test_a_group_gets_what_its_members_get_in_a_linear_model():
    model = chain()
    first, second = individuals(model, 0.2, 0), individuals(model, 1.0, 1)
    alone = attribute_difference(model, first, second, "y")
    shares = dict(zip(alone.players, alone.shares, strict=True))
    grouped = attribute_difference(model, first, second, "y", groups={"early": ["r", "x"]})
    together = dict(zip(grouped.players, grouped.shares, strict=True))
    assert set(together) == {"early", "m", "y"}
    torch.testing.assert_close(together["early"], shares["r"] + shares["x"])
    with pytest.raises(ConfigurationError, match="at most one group"):
        attribute_difference(model, first, second, "y", groups={"a": ["x"], "b": ["x"]})


def test_equal_individuals_have_nothing_to_attribute():
    model = chain()
    one = individuals(model, 0.4, 3)
    found = attribute_difference(model, one, one, "y")
    assert float(found.shares.abs().max()) < 1e-12
