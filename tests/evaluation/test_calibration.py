"""Tables and verdicts of galaxies whose posteriors are right or wrong by construction."""

import pytest
import torch

from acie.errors import ConfigurationError
from acie.evaluation import EvaluationConfig, Measured
from acie.evaluation.binning import binned
from acie.evaluation.calibration import coverage, expected_maximum, recovery, sbc, tarp
from acie.evaluation.causal import mean_and_error
from acie.evaluation.population import Population
from acie.evaluation.summary import (
    FAIL,
    OPEN,
    PASS,
    _answer_row,
    _coverage_row,
    _predictive_row,
    _sbc_row,
    _tarp_row,
    plain,
)
from acie.quantiles import quantiles
from acie.variables import Variable

BATCH, SAMPLES = 800, 100


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def measured(width=1.0, bias=0.0):
    """Two continuous variables of different scale and a binary one, with exact posteriors."""
    g = seeded(1)
    scale = torch.tensor([1.0, 1e-3], dtype=torch.float64)

    def normal(*shape):
        return torch.randn(shape, generator=g, dtype=torch.float64)

    def binary(share):
        uniform = torch.rand(share.shape, generator=g, dtype=torch.float64)
        return (uniform < share).double()[..., None]

    truth = normal(BATCH, 2)
    data = truth + normal(BATCH, 2)
    draws = data / 2.0 + width * 0.5**0.5 * normal(SAMPLES, BATCH, 2) + bias
    share = torch.rand(BATCH, generator=g, dtype=torch.float64)
    found = {
        "truth": torch.cat([truth * scale, binary(share)], -1),
        "draws": torch.cat([draws * scale, binary(share.expand(SAMPLES, -1))], -1),
    }
    variables = {
        "stellar_mass": Variable("stellar_mass"),
        "small": Variable("small"),
        "quenched": Variable("quenched", kind="binary"),
    }
    theta = torch.cat([normal(4000, 2) * scale, binary(torch.full((4000,), 0.5))], -1)
    return Measured.of(Population(variables, theta), found, 15, seeded(2))


@pytest.fixture(scope="module")
def right():
    return measured()


@pytest.mark.parametrize("wrong", [{"width": 0.6}, {"width": 1.7}, {"bias": 0.4}])
def test_wrong_posteriors_fail_every_criterion(wrong):
    tables = measured(**wrong)
    ranks, cover = sbc(tables, seeded()), coverage(tables, seeded())
    assert _sbc_row(ranks, BATCH)["verdict"] == FAIL
    assert _tarp_row(tarp(tables, seeded()))["verdict"] == FAIL
    assert ranks["p_bonferroni"]["quenched"] > 0.01
    if "width" in wrong:
        assert _coverage_row(cover)["verdict"] == FAIL


def test_right_posteriors_fail_no_criterion(right):
    assert _sbc_row(sbc(right, seeded()), BATCH)["verdict"] == PASS
    assert _tarp_row(tarp(right, seeded()))["verdict"] == PASS
    # 800 galaxies leave about as much to chance as the tolerance allows.
    assert _coverage_row(coverage(right, seeded()))["verdict"] in (PASS, OPEN)


def test_recovery_is_that_of_the_toy(right):
    table = recovery(right, seeded())
    assert set(table) == {"stellar_mass", "small"}
    for name, scale in (("stellar_mass", 1.0), ("small", 1e-3)):
        # Median minus truth is normal with the posterior's 0.5 ** 0.5; half the 16-84 % range of a
        # normal is 0.994 of it, with a relative error of 1.3 / sqrt(2 * 800) or so.
        assert table[name]["scatter"] / scale == pytest.approx(0.5**0.5, rel=0.13)
        assert abs(table[name]["bias"]) < 4.0 * table[name]["bias_error"]
        error = table[name]["scatter_error"] / table[name]["scatter"]
        assert 0.02 < error < 0.06


def test_the_expected_maximum_is_that_of_kolmogorov():
    # One variable, 400 galaxies: sup |F_n - F| has median 0.828 / sqrt(n) and 99 % quantile
    # 1.628 / sqrt(n); 99 levels see slightly less of it. 400 sets: 5 % and 8 % of error.
    typical, limit = expected_maximum(400, 1, seeded(3))
    assert typical == pytest.approx(0.828 / 20, rel=0.12)
    assert limit == pytest.approx(1.628 / 20, rel=0.2)


def test_bins_need_answers_of_every_galaxy(right):
    found = right.found | {
        "snr": torch.linspace(1, 60, BATCH).double(),
        "redshift": torch.full((BATCH,), 0.2, dtype=torch.float64),
        "confidence": torch.linspace(0, 0.5, BATCH).double(),
        "ppc/p_chi2": torch.linspace(0.02, 1, BATCH).double(),
        "ppc/spread": torch.ones(BATCH, dtype=torch.float64),
    }
    for name in ("spectrum_inside", "effect_inside", "effect", "effect_error"):
        found[f"answer/{name}"] = torch.full((2, BATCH), 0.68, dtype=torch.float64)
    found["answer/ranks"] = torch.full((2, BATCH, 3), 0.5, dtype=torch.float64)
    fields = {name: getattr(right, name) for name in right.__dataclass_fields__}
    table = binned(Measured(**(fields | {"found": found})), seeded())
    bins = [row["bin"] for row in table["snr"]["rows"]]
    assert bins == ["< 5", "5–10", "10–20", "20–40", "≥ 40"]
    assert sum(row["count"] for row in table["snr"]["rows"]) == BATCH
    assert len(table["redshift"]["rows"]) == 1
    for row in table["snr"]["rows"]:
        # Two variables of independent galaxies: five standard errors.
        assert abs(row["coverage_68"] - 0.68) < 5.0 * row["coverage_68_error"]
        assert row["answer_coverage_state"] == 1.0


def test_means_leave_out_what_was_not_asked():
    values = torch.tensor([1.0, float("nan"), 3.0], dtype=torch.float64)
    mean, error, count = mean_and_error(values)
    assert (mean, count) == (2.0, 2)
    assert error == pytest.approx(1.0)


def test_json_has_no_word_for_nan():
    assert plain({"a": [float("nan"), 1.0], "b": (float("inf"), "x")}) == {
        "a": [None, 1.0], "b": [None, "x"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [{"count": 1}, {"snr": -1.0}, {"samples": 2}, {"ranked": 0}, {"sizes": (0.0,)},
     {"action_samples": 1000}, {"replicates": 1}, {"chunk": 0}, {"objects": 0}],
    ids=lambda wrong: next(iter(wrong)),
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        EvaluationConfig(**wrong)


# -- verdicts -------------------------------------------------------------------------------------


def answered(*rows):
    """A report with coverage, error and number of galaxies of each question."""
    keys = ("coverage_state", "coverage_state_error", "count")
    table = [dict(zip(keys, row, strict=True), label=f"q{i}") for i, row in enumerate(rows)]
    return {"counterfactuals": table, "counterfactual_state_coverage_68": 0.68}


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([(0.70, 0.01, 900), (0.67, 0.01, 900)], PASS),
        ([(0.70, 0.04, 100), (0.67, 0.04, 100)], OPEN),
        ([(0.64, 0.03, 100), (0.67, 0.01, 900)], OPEN),
        ([(0.60, 0.01, 900), (0.67, 0.01, 900)], FAIL),
        # The furthest is off by chance; another one is not.
        ([(0.50, 0.10, 9), (0.62, 0.01, 900)], FAIL),
    ],
)
def test_answers_pass_where_they_are_near_and_fail_where_chance_cannot_explain(rows, verdict):
    row = _answer_row(answered(*rows), "state")
    assert row["verdict"] == verdict
    if verdict == FAIL:
        assert f"q{len(rows) - 1 if rows[0][2] == 9 else 0}" in row["measured"]


@pytest.mark.parametrize(("share", "verdict"), [(0.10, PASS), (0.11, OPEN), (0.14, FAIL)])
def test_predictive_checks_are_open_where_chance_explains_the_excess(share, verdict):
    # Standard error 0.0134 of 500 galaxies: one in a hundred right models exceeds 0.131.
    table = {"p_chi2": {"share_below_0.1": share, "error": (0.09 / 500) ** 0.5}}
    assert _predictive_row(table, 500)["verdict"] == verdict


@pytest.mark.parametrize(("worst", "verdict"), [(0.03, PASS), (0.04, OPEN), (0.06, FAIL)])
def test_coverage_is_open_where_a_perfect_model_is_as_far_off(worst, verdict):
    table = {
        "largest_deviation": {"x": worst, "y": 0.01}, "at_level": {"x": 0.5, "y": 0.5},
        "expected": 0.035, "limit": 0.05,
    }  # fmt: skip
    assert _coverage_row(table)["verdict"] == verdict


def test_intervals_of_repeated_draws_cover_what_they_say():
    """The same galaxies with a third of the draws, each three times."""
    whole = measured()
    third = whole.found["draws"][:33].repeat_interleave(3, 0)
    found = whole.found | {"draws": third}
    tripled = Measured.of(whole.population, found, 15, seeded(2))
    assert set(tripled.effective.tolist()) == {33.0}
    single = quantiles(third[::3], (0.16, 0.5, 0.84))
    # Two more places of interpolation per draw, and flat between them.
    steps = third[::3].sort(0).values.diff(dim=0).amax(0)
    assert bool(((tripled.bands() - single).abs() <= steps).all())
    # Two independent variables of 800 galaxies, four standard errors.
    inside = recovery(tripled, seeded())
    mean = sum(row["coverage_68"] for row in inside.values()) / 2.0
    assert abs(mean - 0.68) < 4.0 * (0.68 * 0.32 / 1600) ** 0.5
