"""Average, conditional and individual effects against closed forms, and what intervals cover."""

import math

import numpy as np
import pytest
import torch

from acie.errors import (
    CausalError,
    ConfigurationError,
    NothingSeen,
    OutsideSupport,
    UnknownVariable,
)
from acie.quantiles import effective_draws
from acie.scm import AdditiveNoiseMechanism, StructuralCausalModel, ThresholdMechanism
from acie.scm.effects import association, contrast
from acie.scm.intervals import mean_estimate, spread_estimate
from acie.scm.outcomes import ReadOut
from acie.variables import Variable

ADD = AdditiveNoiseMechanism
#: c -> x -> y <- c, with unit noises: the effect of x on y is 2, the slope seen is 2 + 3 / 2.
CONFOUNDED = StructuralCausalModel(
    [Variable("c"), Variable("x", parents=("c",)), Variable("y", parents=("c", "x")),
     Variable("w", parents=("c",))],
    {
        "c": ADD(0.0),
        "x": ADD(lambda p: p["c"]),
        "y": ADD(lambda p: 2.0 * p["x"] + 3.0 * p["c"]),
        "w": ADD(lambda p: p["c"]),
    },
)  # fmt: skip


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_average_effect_is_the_path_coefficient():
    found = contrast(CONFOUNDED, "x+=0.5", "y", generator=seeded())
    # The same for every individual, so there is no Monte Carlo error.
    assert found.average().value == pytest.approx(1.0, abs=1e-12)
    assert found.average().high - found.average().low < 1e-12
    assert found.possible == 1.0


def test_an_action_that_cannot_reach_the_outcome_has_exactly_no_effect():
    found = contrast(CONFOUNDED, "x+=0.5", "w", generator=seeded())
    assert torch.equal(found.before, found.after)
    square = ReadOut("square", ("w", "c"), lambda state: state["w"] ** 2 + state["c"])
    assert contrast(CONFOUNDED, "x+=0.5", square).average().value == 0.0


def test_seeing_is_doing_without_common_causes_and_not_with_them():
    values, _ = CONFOUNDED.sample((20_000,), generator=seeded())
    seen = association(CONFOUNDED, "x+=1", "y", values, generator=seeded(1))
    # Cov(x, c) / Var(x) = 1/2, so what is seen is 2 + 3/2.
    assert seen.low < 3.5 < seen.high
    assert seen.value == pytest.approx(3.5, abs=5 * (seen.high - seen.low) / 3.92)
    root = association(CONFOUNDED, "c+=1", "y", values, generator=seeded(1))
    done = contrast(CONFOUNDED, "c+=1", "y", values=values).average()
    assert root.low < done.value < root.high


def test_setting_a_value_far_from_everybody_shows_nothing():
    values, _ = CONFOUNDED.sample((100,), generator=seeded())
    with pytest.raises(NothingSeen, match="values seen"):
        association(CONFOUNDED, "x=1000", "y", values)
    with pytest.raises(ConfigurationError, match="one action"):
        association(CONFOUNDED, "x=1,c=1", "y", values)


def test_conditional_effects_follow_the_interaction():
    # y = x * z + noise: the effect of x+=1 given z is z.
    model = StructuralCausalModel(
        [Variable("z"), Variable("x"), Variable("y", parents=("x", "z"))],
        {"z": ADD(0.0), "x": ADD(0.0), "y": ADD(lambda p: p["x"] * p["z"])},
    )
    found = contrast(model, "x+=1", "y", num_samples=4000, generator=seeded())
    z = found.state["z"]
    torch.testing.assert_close(found.difference, z)
    groups = found.conditional(z, groups=4)
    assert [group.effect.count for group in groups] == [1000] * 4
    for group in groups:
        inside = (z >= group.low) & (z <= group.high)
        assert group.effect.value == pytest.approx(float(z[inside].mean()), abs=1e-9)
    # Equal groups: their mean is the average effect.
    mean = np.mean([group.effect.value for group in groups])
    assert mean == pytest.approx(found.average().value, abs=1e-9)


def test_a_binary_covariate_has_one_group_for_each_value():
    model = StructuralCausalModel(
        [Variable("q", support=(0, 1), kind="binary"), Variable("x"),
         Variable("y", parents=("q", "x"))],
        {"q": ThresholdMechanism(0.3), "x": ADD(0.0),
         "y": ADD(lambda p: p["x"] * (1.0 + 4.0 * p["q"]))},
    )  # fmt: skip
    found = contrast(model, "x+=1", "y", generator=seeded())
    zero, one = found.conditional(found.state["q"], model.variables["q"])
    assert (zero.low, zero.high, one.low, one.high) == (0.0, 0.0, 1.0, 1.0)
    assert zero.effect.value == pytest.approx(1.0, abs=1e-12)
    assert one.effect.value == pytest.approx(5.0, abs=1e-12)


def test_individual_effects_on_a_published_benchmark():
    # TRIANGLE-NLIN, do(x1 = 0.3), against the equations in numpy.
    model = StructuralCausalModel(
        [Variable("x1"), Variable("x2", parents=("x1",)), Variable("x3", parents=("x1", "x2"))],
        {
            "x1": ADD(0.0),
            "x2": ADD(lambda p: 2.0 * p["x1"] ** 2),
            "x3": ADD(lambda p: 20.0 * torch.sigmoid(p["x2"] ** 2 - p["x1"])),
        },
    )
    values, noise = model.sample((50,), generator=seeded())
    found = contrast(model, "x1=0.3", "x3", values=values, noise=noise)
    u2, u3 = noise["x2"].numpy(), noise["x3"].numpy()
    x2 = 2.0 * 0.3**2 + u2
    x3 = 20.0 / (1.0 + np.exp(-(x2**2) + 0.3)) + u3
    np.testing.assert_allclose(found.after.numpy(), x3, rtol=1e-12)
    np.testing.assert_allclose(found.difference.numpy(), x3 - values["x3"].numpy(), atol=1e-12)


def test_the_interval_of_a_mean_covers_as_often_as_it_says():
    # E exp(x) - E exp(x - 0.5) for standard normal x.
    model = StructuralCausalModel(
        [Variable("x"), Variable("y", parents=("x",))],
        {"x": ADD(0.0), "y": ADD(lambda p: torch.exp(0.5 * p["x"]), 0.1)},
    )
    truth = math.exp(0.125) * (math.exp(0.25) - 1.0)
    inside = 0
    for seed in range(300):
        found = contrast(model, "x+=0.5", "y", num_samples=400, generator=seeded(seed)).average()
        inside += found.low < truth < found.high
    # Binomial(300, 0.95): mean 285, standard deviation 3.8; four of them either way. (The law of
    # the differences is skewed, which costs the normal interval less than a percent at n = 400.)
    assert 270 <= inside <= 300


def test_individuals_without_an_allowed_value_are_left_out_and_counted():
    model = StructuralCausalModel(
        [Variable("x", support=(0.0, math.inf)), Variable("y", parents=("x",))],
        {"x": ADD(0.0, 1.0, transform="log10"), "y": ADD(lambda p: p["x"])},
    )
    values, _ = model.sample((1000,), generator=seeded())
    found = contrast(model, "x-=1", "y", values=values)
    allowed = values["x"] >= 1.0
    assert found.possible == pytest.approx(float(allowed.double().mean()))
    assert torch.equal(values["x"][found.index], values["x"][allowed])
    with pytest.raises(OutsideSupport):
        contrast(model, "x-=1e30", "y", values=values)


def test_a_control_action_makes_the_reference_world():
    found = contrast(CONFOUNDED, "x=2", "y", control="x=-1", generator=seeded())
    torch.testing.assert_close(found.difference, torch.full_like(found.before, 6.0))


def test_unknown_names_are_refused():
    with pytest.raises(UnknownVariable):
        contrast(CONFOUNDED, "x+=1", "nothing")
    with pytest.raises(CausalError):
        contrast(CONFOUNDED, "x+=1", ReadOut("r", ("nothing",), lambda state: state["x"]))
    with pytest.raises(ConfigurationError, match="level"):
        mean_estimate(torch.zeros(3), level=1.5)


def test_spreads_of_weighted_and_of_repeated_draws_agree():
    generator = seeded()
    x = torch.randn(200, generator=generator, dtype=torch.float64)
    count = torch.randint(1, 5, (200,), generator=generator)
    weighted = spread_estimate(x, weights=count.double())
    again = x.repeat_interleave(count)
    repeated = spread_estimate(again, effective=float(effective_draws(again)))
    # Steps of a repeated draw are flat where those of a weighted one rise.
    step = x.sort().values.diff()[20:-20].max()
    for end in ("low", "value", "high"):
        assert abs(getattr(weighted, end) - getattr(repeated, end)) <= step
    one = spread_estimate(x[:1], weights=torch.ones(1))
    assert {one.low, one.value, one.high} == {x[0].item()}


def test_repeated_draws_make_wider_intervals():
    x = torch.randn(64, generator=seeded(), dtype=torch.float64)
    as_many, fewer = spread_estimate(x), spread_estimate(x, effective=20.0)
    assert fewer.low < as_many.low < as_many.value == fewer.value < as_many.high < fewer.high
