"""The laws of counterfactuals, and missing values, for rows of a table."""

import math

import numpy as np
import pytest
import torch

import acie
from acie.errors import (
    ConfigurationError,
    ConflictingInterventions,
    MalformedCatalogue,
    OutsideSupport,
    UnknownVariable,
)
from acie.scm import AdditiveNoiseMechanism, StructuralCausalModel
from acie.tabular.missing import complete_rows
from acie.variables import Variable


@pytest.fixture(scope="module")
def rows(columns):
    keep = np.isfinite(columns["size"])
    return {name: values[keep][:300] for name, values in columns.items()}


def test_an_empty_action_returns_the_rows(engine, rows):
    result = engine.counterfactual(rows, {}, num_samples=4)
    for name, value in result.values.items():
        assert value is result.abduction.posterior.values[name]
        assert bool((result.effect(name) == 0).all())
    assert result.confidence.tolist() == [1.0] * 300


def test_the_noise_reproduces_the_rows(engine, rows):
    abduction = engine.abduct(rows, num_samples=8)
    values, _ = engine.scm.sample((8, 300), noise=abduction.noise)
    for name, value in abduction.posterior.values.items():
        found = values[name].expand(8, 300)
        torch.testing.assert_close(found, value.expand(8, 300), rtol=1e-9, atol=1e-9)


def test_the_asked_value_holds_and_causes_do_not_move(engine, rows):
    result = engine.counterfactual(rows, "mass+=0.2", num_samples=8)
    factual = result.abduction.posterior.values
    assert torch.equal(result.values["lg_mass"], factual["lg_mass"] + 0.2)
    assert result.values["z"] is factual["z"]
    assert bool((result.effect("size") != 0).any())


def test_doing_and_undoing_returns_the_rows(engine, rows):
    abduction = engine.abduct(rows, num_samples=8)
    there = engine.predict(abduction, engine.act("lg_mass+=0.5"))
    back = engine.scm.predict(abduction.noise, there.values, engine.act("lg_mass-=0.5"))
    for name, value in abduction.posterior.values.items():
        torch.testing.assert_close(
            back[name], value.expand_as(back[name]), rtol=1e-9, atol=1e-9
        )


def test_hold_keeps_a_descendant(engine, rows):
    result = engine.counterfactual(rows, "mass+=0.5", hold=["shape"], num_samples=8)
    assert bool((result.effect("shape") == 0).all())
    # With the category held, the size of a row is known exactly: one draw says it all.
    assert result.values["size"].shape[0] == 1


def test_categories_by_label(engine, rows):
    result = engine.counterfactual(rows, "shape=spheroid", num_samples=4)
    assert result.actions == ("shape=spheroid",)
    assert bool((result.values["shape"] == 2.0).all())
    assert engine.act({"shape": "disc"}).keys() == engine.act('{"shape": "disc"}').keys()
    discs = torch.from_numpy(rows["shape"] == "disc")
    # A disc made a spheroid shrinks; a spheroid keeps its size.
    assert bool((result.effect("size")[:, discs] < 0).all())
    already = torch.from_numpy(rows["shape"] == "spheroid")
    assert float(result.effect("size")[:, already].abs().max()) < 1e-9


def test_effects_have_the_size_of_the_truth(engine, rows):
    # dlog10 size = 0.4 dlog10 mass with the shape held; the slope is known to about
    # 0.1 / (0.4 sqrt(1080)) = 0.008 from 1080 rows, asked here within five of these.
    result = engine.counterfactual(rows, "mass+=0.5", hold=["shape"])
    change = (result.values["size"] / result.abduction.posterior.values["size"]).log10()
    assert abs(float(change.mean()) - 0.2) < 5 * 0.5 * 0.008


@pytest.mark.parametrize(
    ("do", "error", "word"),
    [
        ("shape=barred", OutsideSupport, "spheroid"),
        ("shape+=1", ConfigurationError, "categories"),
        ("quenched=2", OutsideSupport, "0 or 1"),
        ("companions=7", OutsideSupport, "0, 1, 2 or 3"),
        ("size=-1", OutsideSupport, "size"),
        ("siez=1", UnknownVariable, "size"),
    ],
)
def test_questions_that_cannot_be_asked(engine, do, error, word):
    with pytest.raises(error, match=word):
        engine.act(do)


def test_a_held_variable_is_not_acted_on(engine, rows):
    with pytest.raises(ConflictingInterventions):
        engine.counterfactual(rows, "mass+=0.1", hold=["mass"])


def test_rows_beyond_the_training_range_are_flagged(engine, rows):
    far = {**rows, "lg_mass": rows["lg_mass"] + 0.0}
    far["lg_mass"][0] = 15.0
    quality = engine.infer(far, num_samples=2).quality
    assert acie.QualityFlag(int(quality[0])) == acie.QualityFlag.OUT_OF_DISTRIBUTION
    result = engine.counterfactual(rows, "mass+=3", num_samples=2)
    assert acie.QualityFlag.EXTRAPOLATED in acie.QualityFlag(int(result.quality[1]))


def test_an_unseen_category_is_refused(engine, rows):
    wrong = {**rows, "shape": rows["shape"].copy()}
    wrong["shape"][0] = "ring"
    with pytest.raises(MalformedCatalogue, match="ring"):
        engine.infer(wrong)


def test_missing_values_are_drawn_given_their_causes_and_effects():
    # x ~ N(0, 1), y = x + 0.5 e: given y, x is normal with mean y / 1.25 and variance 0.2.
    scm = StructuralCausalModel(
        [Variable("x"), Variable("y", parents=("x",)), Variable("w", parents=("x",))],
        {
            "x": AdditiveNoiseMechanism(0.0, 1.0),
            "y": AdditiveNoiseMechanism(lambda p: p["x"], 0.5),
            "w": AdditiveNoiseMechanism(lambda p: 2.0 * p["x"], 1.0),
        },
    )
    nan = math.nan
    values = {
        "x": torch.tensor([nan, 0.3, nan], dtype=torch.float64),
        "y": torch.tensor([1.0, 1.0, nan], dtype=torch.float64),
        "w": torch.tensor([nan, 1.0, nan], dtype=torch.float64),
    }
    count = 20_000
    drawn, confidence = complete_rows(scm, values, count, torch.Generator().manual_seed(0))
    x, w = drawn["x"][:, 0], drawn["w"][:, 0]
    # Five standard errors of the effective number of draws.
    effective = float(confidence[0]) * count
    assert abs(float(x.mean()) - 0.8) < 5 * math.sqrt(0.2 / effective)
    assert abs(float(x.var()) - 0.2) < 5 * 0.2 * math.sqrt(2 / effective)
    assert abs(float(w.mean()) - 1.6) < 5 * math.sqrt(1.8 / effective)
    # The weight is a density of y: its effective share is (E w)^2 / E w^2, in closed form.
    first = math.exp(-0.5 / 1.25) / math.sqrt(2 * math.pi * 1.25)
    second = math.exp(-1 / 2.25) / (math.sqrt(2 * math.pi * 1.125) * 2 * math.sqrt(math.pi) * 0.5)
    assert abs(float(confidence[0]) - first**2 / second) < 0.02
    # A complete row is left alone; a row of gaps is the prior.
    assert bool((drawn["x"][:, 1] == 0.3).all())
    assert float(confidence[1]) == 1.0
    assert abs(float(drawn["y"][:, 2].var()) - 1.25) < 5 * 1.25 * math.sqrt(2 / count)


def test_rows_with_gaps_are_answered_with_intervals(engine, columns):
    gaps = np.isnan(columns["size"])
    some = {name: values[gaps][:50] for name, values in columns.items()}
    result = engine.counterfactual(some, "mass+=0.2", num_samples=400)
    spread = result.abduction.posterior.values["size"].log10().std(0)
    # Nothing descends from the size, so its law is that of its mechanism: 0.1 dex, known to
    # 4 % from 400 draws and to 2 % from 1080 training rows.
    assert abs(float(spread.mean()) - 0.1) < 0.01
    # The same noise before and after: the shift of a row is the same in draws of one shape.
    change = (result.values["size"] / result.abduction.posterior.values["size"]).log10()
    same = result.effect("shape") == 0
    one = change[:, 0][same[:, 0]]
    assert float(one.std()) < 1e-9
