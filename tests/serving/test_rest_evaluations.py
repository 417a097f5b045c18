"""How a model was made and what was measured of it, over REST."""

import json
import shutil

import pytest
from examples import run

from acie.errors import UnknownModel
from acie.manifest import bundled_models
from acie.serving.evaluations import Evaluations
from acie.serving.registry import LoadedModel

URL = "/api/v2/models/galaxy-v1/versions/1"


def test_a_model_says_how_it_was_made(rest):
    found = rest.get(URL).raise_for_status().json()
    assert found["latest"] and found["default"]  # noqa: PT018
    assert found["aliases"] == []
    assert found["training"]["simulations"] == 160000
    assert found["parameters"] > 1e6
    assert "How good it is" in found["card"]
    assert found["loaded"].endswith("+00:00")
    assert rest.get("/api/v2/models/galaxy-v1/versions/99").status_code == 404


def test_the_evaluation_that_ships_with_the_model(rest):
    found = rest.get(f"{URL}/evaluation").raise_for_status().json()
    written = json.loads((bundled_models()["galaxy-v1"] / "evaluation.json").read_text("utf-8"))
    assert found["source"] == "bundle"
    assert found["verdicts"] == written["verdicts"]
    assert found["coverage"] == written["coverage"]
    assert found["sbc"]["counts"] == written["sbc"]["counts"]
    # 2000 p values would be most of the answer: they come as a histogram.
    predictive = found["predictive"]["p_chi2"]
    assert "values" not in predictive
    assert sum(predictive["counts"]) == found["count"] == 2000
    below = sum(value < 0.1 for value in written["predictive"]["p_chi2"]["values"])
    assert sum(predictive["counts"][:2]) == below


class Elsewhere:
    """A registry's side of a model: what it says, and how often it was asked."""

    def __init__(self, report):
        self.report, self.asked = report, 0

    def evaluation(self, model):
        self.asked += 1
        return self.report


@pytest.fixture
def copy(rest_app, tmp_path):
    """The loaded model, as if it came from a folder without an evaluation."""
    engine = rest_app.state.resources.service.registry.find().engine
    folder = tmp_path / "model"
    shutil.copytree(bundled_models()["galaxy-v1"], folder)
    report = json.loads((folder / "evaluation.json").read_text("utf-8"))
    (folder / "evaluation.json").unlink()
    return LoadedModel(engine, str(folder)), report, folder / "evaluation.json"


def test_without_an_evaluation_it_says_so(copy):
    model, _, _ = copy
    with pytest.raises(UnknownModel, match="acie evaluate"):
        run(Evaluations().find(model))


def test_an_evaluation_of_another_model_is_none(copy):
    model, report, path = copy
    report["model"]["digest"] = "0" * 64
    path.write_text(json.dumps(report), "utf-8")
    with pytest.raises(UnknownModel):
        run(Evaluations().find(model))
    path.write_text("{", "utf-8")
    with pytest.raises(UnknownModel):
        run(Evaluations().find(model))


def test_the_registry_is_asked_once_a_minute(copy):
    model, report, _ = copy
    elsewhere = Elsewhere(report)
    evaluations = Evaluations(elsewhere)
    for _ in range(3):
        assert run(evaluations.find(model))["source"] == "registry"
    assert elsewhere.asked == 1
