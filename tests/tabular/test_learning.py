"""What is learned, measured against known truth."""

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from acie.io import Catalogue
from acie.tabular import FitConfig, GraphSpec, fit


@pytest.fixture(scope="module")
def benchmark():
    """The benchmark script, imported from its file."""
    folder = Path(__file__).parents[2] / "benchmarks"
    sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location("learned_scms", folder / "learned_scms.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(folder))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["collider-lin", "chain3-nlin"])
def test_counterfactual_error_of_benchmark_models(benchmark, name):
    # Published with 20,000 training rows; the error of an estimate falls with their square root,
    # so with 2,400 training rows it may be larger by sqrt(20,000 / 2,400).
    found = benchmark.measure(name, seed=5, rows=3000, mechanism="additive")
    assert found["rmse_cf"] < benchmark.PUBLISHED[name][0] * math.sqrt(20_000 / 2_400)


def test_the_equations_of_the_benchmark_are_those_of_the_tests(benchmark):
    noise = benchmark.draw_noise("triangle-nlin", 5, np.random.default_rng(0))
    x1 = noise[0]
    x2 = 2 * x1**2 + noise[1]
    x3 = 20 / (1 + np.exp(x1 - x2**2)) + noise[2]
    np.testing.assert_allclose(benchmark.solve("triangle-nlin", noise), [x1, x2, x3], rtol=1e-12)
    acted = benchmark.solve("triangle-nlin", noise, 2, 0.5)
    np.testing.assert_allclose(acted[2], 20 / (1 + np.exp(x1 - 0.25)) + noise[2], rtol=1e-12)


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
    assert set(report["w"]["candidates"]) == {"additive", "spline"}


def test_the_same_seed_gives_the_same_model(columns):
    facts = {"parents": ["z"], "mechanism": "spline"}
    spec = GraphSpec.parse({"variables": {"z": [], "lg_mass": facts}})
    table = Catalogue({name: columns[name] for name in ("z", "lg_mass")})
    found = [fit(spec, table, FitConfig(seed=4, steps=200)) for _ in range(2)]
    one, two = (bundle.scm.state_dict() for bundle in found)
    assert all((one[name] == two[name]).all() for name in one)
    assert found[0].report["lg_mass"]["held_out"] == found[1].report["lg_mass"]["held_out"]
