"""The laws of counterfactuals, on a model with every kind of mechanism."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acie.errors import (
    CausalError,
    ConfigurationError,
    ConflictingInterventions,
    NotInvertible,
    OutsideSupport,
    UnknownVariable,
)
from acie.scm import (
    AbstractMechanism,
    AdditiveNoiseMechanism,
    DeterministicMechanism,
    Do,
    ExogenousMechanism,
    Policy,
    Replace,
    Scale,
    Shift,
    StructuralCausalModel,
    ThresholdMechanism,
    TruncatedNormalMechanism,
    UniformMechanism,
)
from acie.scm.noise import NormalNoise
from acie.variables import Variable

DOUBLE = torch.float64


def build():
    variables = [
        Variable("z", intervenable=False),
        Variable("m", transform="log10", support=(1e6, 1e14)),
        Variable("q", kind="binary", support=(0.0, 1.0), parents=("m", "z")),
        Variable("s", transform="log10", support=(0.0, 1e6), parents=("m", "q")),
        Variable("a", support=(0.0, 20.0), parents=("m", "s", "z")),
        Variable("t", parents=("a", "s")),
        Variable("d", parents=("t", "q")),
        Variable("w", parents=("m",)),
    ]
    lg = torch.log10
    mechanisms = {
        "z": ExogenousMechanism(),
        "m": UniformMechanism(1e9, 1e12, "log10"),
        "q": ThresholdMechanism(lambda p: torch.sigmoid(2.0 * (lg(p["m"]) - 10.5 - p["z"]))),
        "s": AdditiveNoiseMechanism(lambda p: lg(p["m"]) - 10 - 1.5 * p["q"], 0.3, "log10"),
        "a": TruncatedNormalMechanism(
            lambda p: lg(p["m"]) - 7 - lg(p["s"]), 2.0, 0.1, lambda p: 13.0 - 8.0 * p["z"]
        ),
        "t": DeterministicMechanism(lambda p: p["a"] * (1.0 + p["s"])),
        "d": AdditiveNoiseMechanism(lambda p: torch.log(p["t"]) - p["q"], 0.5),
        "w": AdditiveNoiseMechanism(lambda p: lg(p["m"]), 1.0),
    }
    return StructuralCausalModel(variables, mechanisms, {"mass": "m"})


MODEL = build()


@pytest.fixture(scope="module")
def factual():
    generator = torch.Generator().manual_seed(5)
    z = torch.linspace(0.0, 0.6, 200, dtype=DOUBLE)
    values, _ = MODEL.sample((3, 200), given={"z": z}, generator=generator)
    return values


@pytest.fixture(scope="module")
def noise(factual):
    return MODEL.abduct(factual, torch.Generator().manual_seed(6))


ACTIONS = {
    "m": Scale(1.5),
    "q": Do(1.0),
    "s": Shift(0.2, dex=True),
    "a": Policy(lambda state: 0.5 * state["a"] + 0.1),
    "t": Do(2.0),
    "d": Shift(-1.0),
    "w": Replace(AdditiveNoiseMechanism(lambda p: -torch.log10(p["m"]), 2.0)),
}


def test_an_empty_action_returns_the_very_same_tensors(factual, noise):
    predicted = MODEL.predict(noise, factual, {})
    assert all(predicted[name] is factual[name] for name in factual)
    worlds = MODEL.counterfactual(factual, {})
    assert all(torch.equal(worlds[name][1], worlds[name][0]) for name in worlds)


def test_recomputing_everything_returns_the_observation(factual, noise):
    again, _ = MODEL.sample((3, 200), given={"z": factual["z"]}, noise=noise)
    for name in factual:
        torch.testing.assert_close(again[name], factual[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["m", "q", "s", "a", "t", "d"])
def test_effectiveness(factual, noise, name):
    action = ACTIONS[name]
    value = MODEL.predict(noise, factual, {name: action})[name]
    assert torch.equal(value, action.apply(factual[name], factual))


def test_the_asked_value_is_there_in_every_sample(factual, noise):
    assert bool((MODEL.predict(noise, factual, {"t": Do(2.0)})["t"] == 2.0).all())


@pytest.mark.parametrize("name", ACTIONS)
def test_only_descendants_move(factual, noise, name):
    predicted = MODEL.predict(noise, factual, {name: ACTIONS[name]})
    for other in set(factual) - {name}:
        if other in MODEL.graph.descendants(name):
            assert not torch.equal(predicted[other], factual[other])
        else:
            assert predicted[other] is factual[other]


@pytest.mark.parametrize("name", ACTIONS)
def test_the_effect_of_the_unreachable_is_exactly_zero(factual, name):
    worlds = MODEL.counterfactual(factual, {name: ACTIONS[name]})
    for other in set(factual) - {name} - MODEL.graph.descendants(name):
        assert bool((worlds.effect(other) == 0.0).all())


def test_an_action_cuts_the_incoming_arrows(factual, noise):
    both = MODEL.predict(noise, factual, {"m": Scale(1.5), "a": Do(3.0)})
    assert bool((both["a"] == 3.0).all())
    # The set value no longer depends on anything upstream.
    assert MODEL.graph.mutilate("a").parents("a") == ()


@settings(max_examples=30, deadline=None)
@given(st.permutations(sorted(ACTIONS)), st.integers(1, 7))
def test_actions_on_disjoint_variables_commute(order, count):
    values, noise = MODEL.sample(
        (50,),
        given={"z": torch.tensor(0.1, dtype=DOUBLE)},
        generator=torch.Generator().manual_seed(0),
    )
    chosen = order[:count]
    one = MODEL.predict(noise, values, {name: ACTIONS[name] for name in chosen})
    two = MODEL.predict(noise, values, {name: ACTIONS[name] for name in reversed(chosen)})
    assert all(torch.equal(one[name], two[name]) for name in values)


@pytest.mark.parametrize("name", ["m", "q", "s", "a"])
def test_doing_and_undoing_returns_the_observation(factual, noise, name):
    done = MODEL.predict(noise, factual, {name: ACTIONS[name]})
    undone = MODEL.predict(noise, done, {name: Do(factual[name])})
    for other in factual:
        torch.testing.assert_close(undone[other], factual[other], rtol=1e-12, atol=1e-12)


def test_undoing_with_abducted_noise_returns_the_observation(factual):
    # The noise is abducted anew in the other world, as a user would: only continuous mechanisms
    # below the action, since a threshold is redrawn in its interval.
    done = MODEL.counterfactual(factual, {"s": Scale(3.0)}).counterfactual()
    undone = MODEL.counterfactual(done, {"s": Scale(1.0 / 3.0)}).counterfactual()
    for other in factual:
        torch.testing.assert_close(undone[other], factual[other], rtol=1e-12, atol=1e-12)


def test_held_variables_keep_their_value_and_block_the_path(factual, noise):
    predicted = MODEL.predict(noise, factual, {"m": Scale(1.5)}, hold=("q", "s", "a"))
    for name in ("q", "s", "a", "t", "d"):
        assert predicted[name] is factual[name]
    assert not torch.equal(predicted["w"], factual["w"])
    with pytest.raises(ConflictingInterventions, match="Drop the action or the hold"):
        MODEL.predict(noise, factual, {"m": Scale(1.5)}, hold=["m"])
    with pytest.raises(UnknownVariable):
        MODEL.predict(noise, factual, {}, hold="x")


def test_worlds_share_their_noise(factual):
    worlds = MODEL.counterfactual(factual, [{"mass": Scale(2.0)}, {"a": Do(1.0)}, {}])
    assert worlds.num_worlds == 4
    assert worlds["m"].shape == (4, 3, 200)
    assert torch.equal(worlds.counterfactual(1)["m"], 2.0 * factual["m"])
    assert torch.equal(worlds["d"][3], worlds.factual["d"])
    assert torch.equal(worlds.effect("m", 2), torch.zeros_like(factual["m"]))
    # A variable that never moves is a view, not a copy.
    assert worlds["z"].data_ptr() == factual["z"].data_ptr()
    assert "1: m*=2" in repr(worlds)
    with pytest.raises(ConfigurationError, match="0 to 3"):
        worlds.counterfactual(4)


def test_actions_may_differ_from_sample_to_sample(factual, noise):
    ages = torch.linspace(1.0, 5.0, 200, dtype=DOUBLE)
    predicted = MODEL.predict(noise, factual, {"a": Do(ages)})
    assert torch.equal(predicted["a"], ages.expand(3, 200))
    sweep = torch.tensor([1.0, 2.0], dtype=DOUBLE).reshape(2, 1, 1)
    assert MODEL.predict(noise, factual, {"a": Do(sweep)})["d"].shape == (2, 3, 200)


def test_supports_are_checked_after_the_action(factual, noise):
    with pytest.raises(OutsideSupport, match=r"a\*=100"):
        MODEL.predict(noise, factual, {"a": Scale(100.0)})
    with pytest.raises(OutsideSupport, match="0 or 1"):
        MODEL.predict(noise, factual, {"q": Do(0.5)})


def test_an_impossible_world_is_refused(factual, noise):
    empty = TruncatedNormalMechanism(0.0, 1.0, 1.0, 0.5)
    with pytest.raises(OutsideSupport, match="600 of 600"):
        MODEL.predict(noise, factual, {"a": Replace(empty)})


def test_values_that_no_noise_explains_are_refused(factual):
    with pytest.raises(OutsideSupport, match="600 of 600"):
        MODEL.abduct({**factual, "a": torch.full_like(factual["a"], 19.0)})


def test_derived_variables_may_be_left_out(factual):
    values = {name: value for name, value in factual.items() if name != "t"}
    assert torch.equal(MODEL.complete(values)["t"], factual["t"])
    assert torch.equal(MODEL.log_prob(values), MODEL.log_prob(factual))
    with pytest.raises(CausalError, match="Give the value of 'm'"):
        MODEL.complete({"z": factual["z"]})


def test_log_density_is_a_sum_over_random_variables(factual):
    total = sum(MODEL.log_prob(factual, [name]) for name in ("m", "q", "s", "a", "d", "w"))
    torch.testing.assert_close(MODEL.log_prob(factual), total)
    assert bool((MODEL.log_prob(factual, ["z", "t"]) == 0.0).all())


def test_a_binary_variable_is_enumerated(factual):
    both = MODEL.enumerate_binary(factual, "q")
    assert both.shape == (2, 3, 200)
    chosen = torch.where(factual["q"] > 0.5, both[1], both[0])
    torch.testing.assert_close(chosen, MODEL.log_prob(factual))
    with pytest.raises(CausalError, match="binary"):
        MODEL.enumerate_binary(factual, "m")


def test_given_values_are_imposed_with_the_noise_that_explains_them():
    given = {"z": torch.tensor(0.1), "m": torch.tensor(1e10, dtype=DOUBLE)}
    values, noise = MODEL.sample((10,), given=given, generator=torch.Generator().manual_seed(0))
    assert bool((values["m"] == 1e10).all())
    torch.testing.assert_close(MODEL.abduct(values)["m"], noise["m"])
    assert "z" not in noise
    with pytest.raises(CausalError, match="Give the value of 'z'"):
        MODEL.sample((10,))


def test_types_and_seeds_are_kept():
    draws = [
        MODEL.sample(
            (5,),
            given={"z": torch.tensor(0.1)},
            generator=torch.Generator().manual_seed(1),
            dtype=torch.float32,
        )[0]
        for _ in range(2)
    ]
    assert all(value.dtype == torch.float32 for value in draws[0].values())
    assert all(torch.equal(draws[0][name], draws[1][name]) for name in draws[0])
    predicted = MODEL.counterfactual(draws[0], "mass*=1.5").counterfactual()
    assert all(value.dtype == torch.float32 for value in predicted.values())


def test_a_mechanism_sees_only_its_declared_parents():
    model = StructuralCausalModel(
        [Variable("x"), Variable("y")],
        {"x": AdditiveNoiseMechanism(0.0), "y": AdditiveNoiseMechanism(lambda p: p["x"])},
    )
    with pytest.raises(CausalError, match="Declare 'x' as a parent of 'y'"):
        model.sample((2,))


class _Absolute(AbstractMechanism):
    noise_law = NormalNoise()

    def assign(self, noise, parents):
        return noise.abs()


def test_a_mechanism_without_an_inverse_cannot_be_abducted():
    model = StructuralCausalModel([Variable("x")], {"x": _Absolute()})
    values, _ = model.sample((2,))
    with pytest.raises(NotInvertible, match="_Absolute"):
        model.abduct(values)


def test_variables_and_mechanisms_must_match():
    with pytest.raises(ConfigurationError, match="x, y"):
        StructuralCausalModel([Variable("x"), Variable("y")], {"x": ExogenousMechanism()})


def test_names_that_modules_use_are_free_for_variables():
    model = StructuralCausalModel([Variable("type")], {"type": AdditiveNoiseMechanism(0.0)})
    assert model.sample((2,))[0]["type"].shape == (2,)


def test_repr_shows_the_composition():
    text = repr(MODEL)
    assert "q = ThresholdMechanism(m, z)" in text
    assert "a = TruncatedNormalMechanism(m, s, z) identity, 0.1 to f(parents)" in text
