"""What is learned, measured against known truth."""

import math

import numpy as np
import pytest

from acie.io import Catalogue
from acie.tabular import FitConfig, GraphSpec, fit


def test_held_out_likelihood_is_nearly_that_of_the_truth(bundle):
    # lg_mass is normal around its cause's mean with 0.4 dex.
    truth = -0.5 - math.log(0.4 * math.sqrt(2 * math.pi))
    facts = bundle.report["lg_mass"]
    # The mean of 150 test rows scatters by sqrt(1/2) / sqrt(150); learning costs half a nat for
    # every parameter over the training rows, some 40 of them with the law of the noise.
    assert abs(facts["held_out"] - truth) < 4 * math.sqrt(0.5 / 150) + 0.5 * 40 / 1200
    assert facts["held_out_error"] == pytest.approx(math.sqrt(0.5 / 150), rel=0.5)


def test_rows_are_counted(bundle, columns):
    gaps = int(np.isnan(columns["size"]).sum())
    for name, facts in bundle.report.items():
        used = facts["rows_train"] + facts["rows_validation"] + facts["rows_test"]
        assert facts["rows_incomplete"] == (gaps if name == "size" else 0)
        assert used + facts["rows_incomplete"] == 1500


def test_kinds_come_from_the_data(bundle):
    kinds = {name: v.kind for name, v in bundle.scm.variables.items()}
    assert kinds == {
        "z": "continuous", "lg_mass": "continuous", "quenched": "binary", "shape": "categorical",
        "companions": "ordinal", "size": "continuous",
    }  # fmt: skip
    assert bundle.scm.variables["shape"].categories == ("disc", "irregular", "spheroid")
    assert bundle.scm.variables["companions"].levels == (0.0, 1.0, 2.0, 3.0)


def test_probabilities_are_nearly_those_of_the_truth(bundle, columns):
    # Mean held-out log likelihood of the true logistic law, against the learned one.
    mass, quenched = columns["lg_mass"], columns["quenched"]
    p = 1.0 / (1.0 + np.exp(-3.0 * (mass - 10.5)))
    truth = np.where(quenched == 1, np.log(p), np.log1p(-p))
    scatter = truth.std() / math.sqrt(150)
    assert abs(bundle.report["quenched"]["held_out"] - truth.mean()) < 4 * scatter


@pytest.mark.slow
def test_the_wider_class_is_chosen_where_it_is_needed_and_only_there():
    rng = np.random.default_rng(7)
    x = rng.normal(size=1500)
    scatter = np.exp(0.8 * x)
    columns = {"x": x, "y": x + scatter * rng.normal(size=1500), "w": x + rng.normal(size=1500)}
    spec = GraphSpec.parse({"variables": {"x": [], "y": ["x"], "w": ["x"]}})
    report = fit(spec, Catalogue(columns), FitConfig(steps=400)).report
    # Scatter that depends on the cause is no additive noise; constant scatter is.
    assert report["y"]["mechanism"] == "spline"
    assert report["w"]["mechanism"] == "additive"
    assert set(report["y"]["candidates"]) == {"additive", "spline"}
    # Noise that does not depend on the causes leaves a spline nothing to gain: none is fitted.
    assert set(report["w"]["candidates"]) == {"additive"}


def test_the_same_seed_gives_the_same_model(columns):
    facts = {"parents": ["z"], "mechanism": "spline"}
    spec = GraphSpec.parse({"variables": {"z": [], "lg_mass": facts}})
    table = Catalogue({name: columns[name] for name in ("z", "lg_mass")})
    found = [fit(spec, table, FitConfig(seed=4, steps=200)) for _ in range(2)]
    one, two = (bundle.scm.state_dict() for bundle in found)
    assert all((one[name] == two[name]).all() for name in one)
    assert found[0].report["lg_mass"]["held_out"] == found[1].report["lg_mass"]["held_out"]
