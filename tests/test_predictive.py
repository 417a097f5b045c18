"""The posterior predictive check: calibrated where the model is right, sharp where it is wrong."""

from dataclasses import replace

import pytest
import torch

import acie
from acie import predictive
from acie.observation import WAVELENGTH
from acie.predictive import WIDTHS, predictive_check
from acie.seeds import SeedStream
from acie.simulation import Simulator, SurveyConfig

WAVE = torch.as_tensor(WAVELENGTH.copy())
COUNT = 120


@pytest.fixture(scope="module")
def drawn():
    engine = acie.load()
    survey = replace(SurveyConfig(), snr=(15.0, 25.0))
    simulator = Simulator(engine.scm, engine.physics, engine.noise_model, survey)
    return simulator.draw(COUNT, SeedStream(21).generator("predictive"))


def ceiling(level, count=COUNT):
    """Four standard errors above the nominal rate of a calibrated p value."""
    return level + 4.0 * (level * (1.0 - level) / count) ** 0.5


@pytest.mark.parametrize("common", [0.0, predictive.COHERENT_ERROR])
def test_the_truth_seldom_fails(drawn, monkeypatch, common):
    """With the true spectrum as only draw every p value is at least as large as uniform ones."""
    monkeypatch.setattr(predictive, "COHERENT_ERROR", common)
    check = predictive_check(drawn.observation, drawn.clean[None])
    assert check.p_values.shape == (len(WIDTHS) + 2, COUNT)
    for values in (*check.p_values, check.p_value):
        for level in (0.01, 0.05, 0.2):
            assert float((values < level).double().mean()) <= ceiling(level)


def test_the_check_is_not_merely_blind(drawn, monkeypatch):
    """Without the common error of the templates the p values of the widths spread over (0, 1)."""
    monkeypatch.setattr(predictive, "COHERENT_ERROR", 0.0)
    check = predictive_check(drawn.observation, drawn.clean[None])
    for values in check.p_values:
        assert 0.3 < float(values.median()) < 0.7


def test_the_scale_of_the_noise_is_measured(drawn):
    scale = predictive_check(drawn.observation, drawn.clean[None]).noise_scale
    # dof / scale^2 ~ chi2(20): mean 1 and variance 2/20 of its twentieth.
    precision = scale.double() ** -2
    assert float(precision.mean()) == pytest.approx(1.0, abs=4.0 * (0.1 / COUNT) ** 0.5 + 0.02)
    tripled = replace(drawn.observation, ivar=drawn.observation.ivar * 9.0)
    again = predictive_check(tripled, drawn.clean[None])
    assert float((again.noise_scale / scale).median()) > 1.3  # template errors stay as they are
    quieter = replace(drawn.observation, ivar=drawn.observation.ivar / 9.0)
    again = predictive_check(quieter, drawn.clean[None])
    assert float((again.p_values[-1] < 1e-3).double().mean()) > 0.9


DISTORTIONS = {
    # which check must notice, and the light added to the spectrum in units of its median
    "a line of 60 angstrom": (0, 0.8 * torch.exp(-0.5 * ((WAVE - 6800.0) / 30.0) ** 2)),
    "narrow lines": (0, (torch.arange(6000) % 300 < 5) * 0.6),
    "a bump": (2, 0.25 * torch.exp(-0.5 * ((WAVE - 5500.0) / 200.0) ** 2)),
    "a ramp": (3, 0.8 * ((WAVE - 6500.0) / 3100.0).clamp(min=0.0)),
}


@pytest.mark.parametrize("name", DISTORTIONS)
def test_light_that_the_model_lacks_is_noticed(drawn, name):
    which, added = DISTORTIONS[name]
    seen = drawn.observation
    level = drawn.clean.median(-1, keepdim=True).values
    flux = torch.where(seen.ivar > 0, seen.flux + level * added, 0.0).to(seen.flux.dtype)
    check = predictive_check(replace(seen, flux=flux), drawn.clean[None])
    assert float((check.p_values[which] < 1e-3).double().mean()) > 0.9
    assert float((check.p_value < 1e-3).double().mean()) > 0.9


def test_units_and_masked_pixels_do_not_matter(drawn):
    seen = drawn.observation[:8]
    model = drawn.clean[None, :8]
    check = predictive_check(seen, model)
    scaled = replace(seen, flux=seen.flux * 100.0, ivar=seen.ivar / 1e4)
    again = predictive_check(scaled, model * 100.0)
    torch.testing.assert_close(again.p_values, check.p_values, rtol=1e-2, atol=1e-4)
    rubbish = torch.where(seen.ivar > 0, seen.flux, 1e4)
    again = predictive_check(replace(seen, flux=rubbish), model)
    torch.testing.assert_close(again.p_values, check.p_values, rtol=0, atol=0)


def test_a_handful_of_pixels_gives_a_p_value(drawn):
    seen = drawn.observation[:2]
    few = (WAVE > 5000.0) & (WAVE < 5012.0)
    check = predictive_check(replace(seen, ivar=seen.ivar * few), drawn.clean[None, :2])
    assert bool(((check.p_value >= 0.0) & (check.p_value <= 1.0)).all())


def test_draws_of_another_galaxy_fail(drawn):
    seen = drawn.observation
    others = drawn.clean.roll(1, 0)
    level = (drawn.clean.median(-1).values / others.median(-1).values)[:, None]
    check = predictive_check(seen, torch.stack([others * level] * 3))
    assert float((check.p_value < 1e-3).double().mean()) > 0.9
