"""Whole answers as a graph: those of the engine, for any question and shape, without torch."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import acie
from acie.errors import IncompatibleBundle, ParityError
from acie.export import ExportedModel, export_model, read_export
from acie.export.answer.parity import (
    QUESTIONS,
    AnswerTolerance,
    compare_answers,
    engine_answer,
)
from acie.export.network.parity import check
from acie.simulation import Simulator

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def engine():
    return acie.load()


@pytest.fixture(scope="module")
def exported(engine, tmp_path_factory):
    folder = tmp_path_factory.mktemp("answer") / "exported"
    return folder, export_model(engine, folder, galaxies=8)


@pytest.fixture(scope="module")
def model(exported):
    return ExportedModel(exported[0])


@pytest.fixture(scope="module")
def observation(engine):
    drawn = Simulator(engine.scm, engine.physics).draw(3, torch.Generator().manual_seed(11))
    return drawn.observation


def arrays_of(observation):
    return {n: getattr(observation, n).numpy() for n in ("flux", "ivar", "lsf", "redshift")}


@pytest.mark.parametrize(("samples", "batch", "question"), [
    (1, 1, QUESTIONS[0]), (70, 1, QUESTIONS[1]), (33, 3, QUESTIONS[3]),
])  # fmt: skip
def test_answers_of_any_shape_are_those_of_the_engine(
    engine, model, observation, samples, batch, question
):
    own = observation[:batch]
    rng = np.random.default_rng(samples)
    noise = rng.standard_normal((samples, batch, 11)).astype(np.float32)
    uniform = rng.random((samples, batch, 2))
    expected = engine_answer(engine, own, noise, uniform, question.text)
    found = model.answer(**arrays_of(own), do=question.do, noise=noise, uniform=uniform)
    for name in expected:
        assert found[name].shape == expected[name].shape
    error = np.abs(found["counterfactual"] - expected["counterfactual"])
    error *= np.sqrt(own.ivar.numpy())
    assert np.nanmax(error) < 0.5
    assert np.nanquantile(error, 0.999) < 0.02
    np.testing.assert_allclose(found["log_q"], expected["log_q"], atol=0.01)


def test_no_action_returns_the_observation(model, observation):
    found = model.answer(**arrays_of(observation), do={}, draws=8)
    np.testing.assert_array_equal(found["counterfactual_state"], found["factual_state"])
    flux = observation.flux.float().numpy()
    np.testing.assert_array_equal(found["counterfactual"], np.broadcast_to(flux, (8, 3, 6000)))


def test_one_galaxy_needs_no_batch_axis(model, observation):
    arrays = arrays_of(observation[:1])
    expected = model.answer(**arrays, do=QUESTIONS[0].do, draws=3)
    found = model.answer(**{n: part[0] for n, part in arrays.items()}, do=QUESTIONS[0].do, draws=3)
    np.testing.assert_array_equal(found["counterfactual"], expected["counterfactual"])


def test_galaxies_may_be_asked_different_things(model, observation):
    found = model.answer(
        **arrays_of(observation), do={"stellar_mass": ("scale", np.array([1.0, 2.0, 4.0]))},
        draws=4,
    )  # fmt: skip
    mass = model.manifest["variables"].index("stellar_mass")
    ratio = found["counterfactual_state"][..., mass] / found["factual_state"][..., mass]
    np.testing.assert_allclose(ratio, np.broadcast_to([1.0, 2.0, 4.0], (4, 3)))


def test_an_impossible_action_has_no_number(model, observation):
    found = model.answer(**arrays_of(observation), do={"age": ("set", 40.0)}, draws=4)
    assert np.isnan(found["counterfactual"]).all()
    assert np.isnan(found["counterfactual_state"]).all()
    assert np.isfinite(found["factual_state"]).all()


@pytest.mark.parametrize(("do", "redshift"), [({"tau": ("set", 1.0)}, 0.1),
                                              ({"age": ("double", 2.0)}, 0.1),
                                              ({}, 3.0)])  # fmt: skip
def test_questions_that_the_graph_cannot_answer_are_refused(model, observation, do, redshift):
    arrays = {**arrays_of(observation), "redshift": np.full(3, redshift)}
    with pytest.raises(ValueError, match="expected"):
        model.answer(**arrays, do=do, draws=2)


def test_an_answer_needs_no_torch(exported, model, observation, tmp_path):
    arrays = arrays_of(observation)
    expected = model.answer(**arrays, do={"halo_mass": ("shift_dex", 0.2)}, draws=5)
    np.savez(tmp_path / "given.npz", **arrays)
    code = """
import sys
sys.modules["torch"] = sys.modules["acie"] = None
sys.path.insert(0, sys.argv[1])
import numpy as np
from acie_onnx import ExportedModel
answer = ExportedModel(sys.argv[1]).answer(
    **np.load(sys.argv[2]), do={"halo_mass": ("shift_dex", 0.2)}, draws=5)
np.savez(sys.argv[3], **answer)
"""
    places = [str(exported[0]), str(tmp_path / "given.npz"), str(tmp_path / "found.npz")]
    done = subprocess.run([sys.executable, "-c", code, *places], capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    with np.load(places[2]) as found:
        for name, part in expected.items():
            np.testing.assert_array_equal(found[name], part)


@pytest.mark.parametrize(("name", "factor", "figure"), [
    ("counterfactual", 1.02, "flux"), ("counterfactual_state", 1.01, "state"),
    ("log_q", 1.01, "log_q"),
])  # fmt: skip
def test_an_answer_that_differs_is_refused(engine, model, monkeypatch, name, factor, figure):
    def other(*arguments, true=engine_answer):
        answer = true(*arguments)
        return {**answer, name: factor * answer[name]}

    monkeypatch.setattr("acie.export.answer.parity.QUESTIONS", QUESTIONS[:1])
    monkeypatch.setattr("acie.export.answer.parity.engine_answer", other)
    with pytest.raises(ParityError, match=f"{figure} at most"):
        check(compare_answers(engine, model, 2, 1, 8), AnswerTolerance(), "the exported answer")


def test_the_manifest_has_both_and_old_ones_are_read(exported, tmp_path):
    folder, manifest = exported
    assert manifest["format"] == 2
    assert {"answer.onnx", "spectral.onnx", "latent.onnx"} <= set(manifest["files"])
    assert manifest["parity"]["answer"]["flux"] <= AnswerTolerance().flux
    for name in manifest["files"]:
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    for number, known in ((1, True), (3, False)):
        (tmp_path / "export.json").write_text(json.dumps({**manifest, "format": number}))
        if known:
            assert read_export(tmp_path)["format"] == 1
        else:
            with pytest.raises(IncompatibleBundle, match="format 3"):
                read_export(tmp_path)
