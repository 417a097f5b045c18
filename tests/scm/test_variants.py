"""Other assumptions: weights between priors, hidden common causes against their closed forms."""

import math

import pytest
import torch

from acie.errors import ConfigurationError, UnknownVariable
from acie.scm import AdditiveNoiseMechanism, StructuralCausalModel, ThresholdMechanism
from acie.scm.effects import contrast
from acie.scm.variants import common_cause, correlated_noise, other_mechanisms
from acie.variables import Variable

ADD = AdditiveNoiseMechanism
DOUBLE = torch.float64
#: h -> x -> y, with slopes 1 and 0.8.
MODEL = StructuralCausalModel(
    [Variable("h"), Variable("x", parents=("h",)), Variable("y", parents=("x",))],
    {
        "h": ADD(0.0, 2.0),
        "x": ADD(lambda p: p["h"], 0.5),
        "y": ADD(lambda p: 0.8 * p["x"], 0.7),
    },
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_weights_turn_the_prior_of_one_model_into_that_of_another():
    variant = other_mechanisms(
        MODEL, "steep", "another slope", {"y": ADD(lambda p: 1.1 * p["x"] + 0.2, 0.6)}
    )
    values, _ = MODEL.sample((40_000,), generator=seeded())
    # Where x is near 1, the law of y must be that of the other model: N(1.3, 0.6).
    values = {name: value[(values["x"] - 1.0).abs() < 0.5] for name, value in values.items()}
    weights = variant.log_ratio(MODEL, values).exp()
    residual = values["y"] - 1.1 * values["x"] - 0.2
    size = float(weights.sum() ** 2 / weights.square().sum())
    mean = float((weights * residual).sum() / weights.sum())
    square = float((weights * residual**2).sum() / weights.sum())
    assert size > 1000
    assert abs(mean) < 5 * 0.6 / math.sqrt(size)
    assert square == pytest.approx(0.36, abs=5 * 0.36 * math.sqrt(2.0 / size))
    # A normalised density: the mean weight is one.
    assert float(weights.mean()) == pytest.approx(1.0, abs=0.05)


def test_an_unchanged_model_has_equal_weights():
    same = other_mechanisms(MODEL, "same", "nothing", {"y": MODEL.mechanisms["y"]})
    values, _ = MODEL.sample((10,), generator=seeded())
    assert float(same.log_ratio(MODEL, values).abs().max()) == 0.0


def test_edges_can_be_added_and_removed():
    added = other_mechanisms(
        MODEL, "added", "h > y", {"y": ADD(lambda p: p["x"] + p["h"], 0.7)}, {"y": ("x", "h")}
    )
    assert added.model.graph.parents("y") == ("x", "h")
    values, noise = MODEL.sample((5,), generator=seeded())
    noise = added.model.abduct(values)
    moved = contrast(added.model, "h+=1", "y", values=values, noise=noise).difference
    torch.testing.assert_close(moved, torch.full_like(moved, 2.0))
    removed = other_mechanisms(MODEL, "removed", "", {"y": ADD(0.0)}, {"y": ()})
    assert contrast(removed.model, "h+=1", "y").average().value == 0.0
    with pytest.raises(UnknownVariable):
        other_mechanisms(MODEL, "wrong", "", {"nothing": ADD(0.0)})


def test_correlated_noises_have_the_stated_correlation_in_draws_and_in_weights():
    rho = 0.6
    variant = correlated_noise(MODEL, "x", "y", rho)
    values, noise = MODEL.sample((60_000,), generator=seeded())
    _, drawn = variant.sample(noise)
    pair = torch.stack([drawn["x"], drawn["y"]])
    # Standard error of a correlation: (1 - rho^2) / sqrt(n) = 0.0026.
    assert float(torch.corrcoef(pair)[0, 1]) == pytest.approx(rho, abs=0.013)
    weights = variant.log_ratio(MODEL, values).exp()
    product = float((weights * noise["x"] * noise["y"]).sum() / weights.sum())
    size = float(weights.sum() ** 2 / weights.square().sum())
    assert product == pytest.approx(rho, abs=5 * math.sqrt((1 + rho**2) / size))
    assert float(weights.mean()) == pytest.approx(1.0, abs=0.05)
    # The same noise gives the same population without correlation.
    again, _ = correlated_noise(MODEL, "x", "y", 0.0).sample(noise)
    torch.testing.assert_close(again["y"], values["y"])


def test_a_common_cause_is_the_counterfactual_of_a_confounded_linear_model():
    # Truth: c is hidden, x = c + e, y = b x + g c + f. What is seen: slope b + g Var(c)/Var(x).
    b, g, var_c, var_e, var_f = 0.5, 0.9, 1.3, 0.8, 0.4
    slope = b + g * var_c / (var_c + var_e)
    share = 1.0 - b / slope
    scatter = math.sqrt(var_f + g**2 * var_c * var_e / (var_c + var_e))
    seen = StructuralCausalModel(
        [Variable("x"), Variable("y", parents=("x",))],
        {"x": ADD(0.0, math.sqrt(var_c + var_e)), "y": ADD(lambda p: slope * p["x"], scatter)},
    )
    variant = common_cause(seen, "x", "y", share)
    generator = seeded(2)
    c, e, f = (
        math.sqrt(v) * torch.randn(100, generator=generator, dtype=DOUBLE)
        for v in (var_c, var_e, var_f)
    )
    x = c + e
    y = b * x + g * c + f
    values = variant.complete({"x": x, "y": y})
    noise = variant.model.abduct(values)
    # The confounded model with all its noises known: only b x moves.
    moved = contrast(variant.model, "x+=1.7", "y", values=values, noise=noise)
    torch.testing.assert_close(moved.after, y + b * 1.7)
    # Nothing that is seen tells the two apart.
    assert float(variant.log_ratio(seen, {"x": x, "y": y}).abs().max()) == 0.0


def test_a_share_of_nothing_changes_nothing_and_of_everything_cuts_the_arrow():
    values, noise = MODEL.sample((20,), generator=seeded())
    usual = contrast(MODEL, "x+=1", "y", values=values, noise=noise).difference
    for share, factor in ((0.0, 1.0), (0.25, 0.75), (1.0, 0.0)):
        variant = common_cause(MODEL, "x", "y", share)
        found = contrast(
            variant.model, "x+=1", "y", values=variant.complete(values), noise=noise
        ).difference
        torch.testing.assert_close(found, factor * usual, atol=1e-12, rtol=1e-10)


def test_the_population_under_a_common_cause_is_the_same_population():
    values, noise = MODEL.sample((50,), generator=seeded())
    variant = common_cause(MODEL, "x", "y", 0.4)
    drawn, _ = variant.sample(noise)
    for name, value in values.items():
        torch.testing.assert_close(drawn[name], value)


def test_impossible_assumptions_are_refused():
    with pytest.raises(ConfigurationError, match="direct cause"):
        common_cause(MODEL, "h", "y", 0.5)
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        common_cause(MODEL, "x", "y", 1.5)
    with pytest.raises(ConfigurationError, match="between -1 and 1"):
        correlated_noise(MODEL, "x", "y", 1.0)
    binary = StructuralCausalModel(
        [Variable("x"), Variable("q", support=(0, 1), kind="binary", parents=("x",))],
        {"x": ADD(0.0), "q": ThresholdMechanism(0.5)},
    )
    with pytest.raises(ConfigurationError, match="normal noise"):
        correlated_noise(binary, "x", "q", 0.5)
    with pytest.raises(ConfigurationError, match="continuous effect"):
        common_cause(binary, "x", "q", 0.5)
