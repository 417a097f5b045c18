"""The evaluation of the shipped model on a few galaxies, from simulation to report."""

import contextlib
import io
import json
import re
from dataclasses import replace

import pytest
import torch

import acie
from acie.cli import main
from acie.evaluation import EvaluationConfig, measure, measurement_key
from acie.evaluation.laws import LAWS, check_composition, check_laws
from acie.evaluation.population import Population
from acie.evaluation.predictive import check_spectra
from acie.evaluation.questions import make_questions, undo
from acie.quantiles import quantiles
from acie.questions import draws_of, galaxy_effect, galaxy_outcome
from acie.report import result_to_json
from acie.results import PosteriorSamples
from acie.simulation import Simulator, SurveyConfig

COUNT = 6


@pytest.fixture(scope="module")
def engine():
    return acie.load()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("evaluation")


@pytest.fixture(scope="module")
def report(folder):
    """What the command prints, having written its files to the folder."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = main(
            ["evaluate", "--n", str(COUNT), "--quick", "--do", "dust_av=0", "--json",
             "--out", str(folder)]
        )  # fmt: skip
    assert code == 0
    return json.loads(printed.getvalue(), parse_constant=refuse)


def refuse(word):
    raise AssertionError(f"{word} is not JSON")


@pytest.fixture(scope="module")
def drawn(engine):
    survey = SurveyConfig(redshift=(0.1, 0.3), snr=(20.0, 20.1))
    simulator = Simulator(engine.scm, engine.physics, engine.noise_model, survey)
    return simulator.draw(3, torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def abduction(engine, drawn):
    return engine.abduct(drawn.observation, 32)


# -- the whole ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_target_is_asked_about(engine, report):
    targets = {name for name, v in engine.scm.variables.items() if v.intervenable}
    assert {row["target"] for row in report["counterfactuals"]} == targets | {"dust_av=0"}
    # A question to a galaxy that cannot take it is left out, and most can.
    assert min(row["count"] for row in report["counterfactuals"]) >= 4
    for row in report["counterfactuals"]:
        assert row["effect"] > 0.0
        for name in ("spectrum", "effect"):
            assert 0.0 <= row[f"coverage_{name}"] <= 1.0


@pytest.mark.slow
def test_the_laws_hold_and_were_checked(report):
    laws = report["laws"]
    assert set(laws) == set(LAWS)
    for name, law in laws.items():
        assert law["holds"], (name, law)
        assert law["checks"] >= COUNT


@pytest.mark.slow
def test_the_report_is_json_with_the_keys_of_the_benchmark(report, folder):
    assert json.loads((folder / "evaluation.json").read_text("utf-8")) == report
    for key in ("scatter", "coverage_68", "efficiency_median", "counterfactual_coverage_68"):
        assert key in report
    for row in report["verdicts"]:
        assert row["verdict"] in ("pass", "fail", "open")
        assert all(row.values())


@pytest.mark.slow
def test_the_page_needs_nothing_else(report, folder):
    page = (folder / "report.html").read_text("utf-8")
    assert page.count("<svg") == page.count("</svg>") == 9
    # Names of XML dialects look like addresses and are none.
    links = set(re.findall(r'https?://[^"\s]+', page)) - set(
        re.findall(r'xmlns(?::\w+)?="([^"]+)"', page)
    )
    assert links == set()
    assert not re.search(r"<(script|link|img|iframe)\b", page)
    figures = "".join(re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL))
    # Colours are variables of the page, so that it can be dark.
    assert not re.search(r"(?:fill|stroke): #", figures)
    identifiers = re.findall(r'\bid="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', page)) <= set(identifiers)
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL).lower().split()


@pytest.mark.slow
def test_figures_are_written(report, folder):
    pictures = list(folder.glob("*.png"))
    assert len(pictures) == 9
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)


# -- chunks ---------------------------------------------------------------------------------------


SMALL = EvaluationConfig(count=4, chunk=2).quick()


@pytest.mark.slow
def test_a_stopped_run_goes_on_where_it_was(engine, tmp_path):
    before = measure(engine, SMALL, tmp_path)
    first, second = sorted((tmp_path / measurement_key(engine, SMALL)).iterdir())
    kept, whole = first.stat().st_mtime_ns, second.read_bytes()
    # Half a file under the final name is the worst that a killed run can leave.
    second.write_bytes(whole[: len(whole) // 2])
    after = measure(engine, SMALL, tmp_path)
    assert first.stat().st_mtime_ns == kept
    assert second.read_bytes() == whole
    assert set(after) == set(before)
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=0, equal_nan=True)


def test_the_key_covers_what_a_chunk_depends_on(engine):
    key = measurement_key(engine, SMALL)
    assert measurement_key(engine, replace(SMALL, count=9, null_trials=0)) == key
    for other in ({"seed": 2}, {"samples": 65}, {"sizes": (0.4,)}, {"snr": 10.0}, {"chunk": 5}):
        assert measurement_key(engine, replace(SMALL, **other)) != key


# -- parts ----------------------------------------------------------------------------------------


def test_the_direction_of_a_question_follows_the_draws(engine, abduction):
    population = Population.of(engine, torch.Generator().manual_seed(0))
    questions = make_questions(engine, population, EvaluationConfig())
    assert len(questions) == 11 * 3 + 1
    values = abduction.posterior.values
    for question in questions[:-1]:
        action = question.actions(values)[question.target]
        moved = action.apply(values[question.target], values)
        forward = engine.scm.variables[question.target].forward
        if question.variable.kind == "binary":
            likely = values[question.target].mean(0) >= 0.5
            assert torch.equal(moved[0] == 0.0, likely)
            continue
        step = forward(moved) - forward(values[question.target])
        torch.testing.assert_close(step.abs(), torch.full_like(step, question.size))
        # Towards the mean of the population.
        median = forward(values[question.target]).median(0).values
        assert torch.equal(step[0] > 0, median < question.middle)


def test_violated_laws_are_seen(engine, drawn, abduction):
    actions = engine.act("dust_av+=0.1")
    result = engine.predict(drawn.observation, abduction, actions)
    clean = check_laws(engine, result, actions)
    assert all(float(value.max()) < 1e-4 for value in clean.values())
    values = result.values
    wrong = {"dust_av": values["dust_av"] + 0.01, "stellar_mass": values["stellar_mass"] * 1.01}
    broken = check_laws(engine, replace(result, values=values | wrong), actions)
    assert float(broken["effectiveness"].max()) == pytest.approx(0.01)
    assert float(broken["minimality"].max()) > 1e6
    assert float(broken["reversibility"].max()) > 1e-3
    shifted = replace(abduction, flux=abduction.flux.clone())
    assert float(check_composition(engine, drawn, shifted).max()) == 0.0


@pytest.mark.parametrize("text", ["stellar_mass*=1.5", "age-=0.01", "metallicity+=0.1dex"])
def test_undoing_is_the_inverse(engine, abduction, text):
    actions = engine.act(text)
    values = abduction.posterior.values
    (name, action), back = next(iter(actions.items())), undo(actions, values)
    there = action.apply(values[name], values)
    torch.testing.assert_close(back[name].apply(there, values), values[name])


def test_a_spectrum_that_its_posterior_cannot_make_is_seen(engine, drawn):
    ripple = 1.0 + 0.3 * torch.sin(torch.arange(6000) / 20.0)
    ones = torch.ones(3)

    def check(spectra):
        posterior = PosteriorSamples({}, spectra.float().expand(40, -1, -1), ones, ones, ones)
        return check_spectra(
            engine, drawn.observation, posterior, 19, torch.Generator().manual_seed(1)
        )

    fine, wrong = check(drawn.clean), check(drawn.clean * ripple)
    # The truth has p = 1/20 in one of twenty galaxies, and three of three in one of 8000 seeds.
    assert float(fine["p_chi2"].max()) > 0.05
    assert wrong["p_correlation"].tolist() == [0.05, 0.05, 0.05]
    assert wrong["p_chi2"].tolist() == [0.05, 0.05, 0.05]


# -- what draws are worth -------------------------------------------------------------------------


def test_answers_know_what_their_draws_are_worth(abduction):
    posterior = abduction.posterior
    masses = posterior.values["stellar_mass"].T
    worth = posterior.effective_draws
    for one, column in zip(worth.tolist(), masses, strict=True):
        counts = column.unique(return_counts=True)[1].double()
        assert one == pytest.approx(32**2 / float(counts.square().sum()))
    # Draws that stand in for others are worth nothing more.
    again = abduction.take(torch.arange(32)[:, None].expand(-1, 3) // 2)
    half = abduction.take(torch.arange(16)[:, None].expand(-1, 3))
    torch.testing.assert_close(
        again.posterior.effective_draws, half.posterior.effective_draws, rtol=1e-12, atol=0
    )


def test_every_interval_allows_for_it(engine, drawn, abduction):
    result = engine.predict(drawn.observation, abduction, engine.act("stellar_mass*=1.5"))
    worth, levels = abduction.posterior.effective_draws, (0.16, 0.5, 0.84)
    galaxy = int(worth.argmin())
    variables = engine.scm.variables
    answer = result_to_json(
        result, engine.bundle, variables, source="", timing_ms=0.0, galaxy=galaxy
    )
    draws = draws_of(abduction, galaxy)
    assert draws.effective == float(worth[galaxy]) < 32
    outcome = galaxy_outcome(engine.scm, engine.physics, "metallicity")
    effect = galaxy_effect(engine.scm, draws, "stellar_mass*=1.5", outcome).spread()
    for found, values in (
        (tuple(answer["latent_state"]["age"][k] for k in ("p16", "median", "p84")),
         abduction.posterior.values["age"]),
        (tuple(answer["counterfactual_state"]["sfr"][k] for k in ("p16", "median", "p84")),
         result.values["sfr"]),
        ((effect.low, effect.value, effect.high), result.effect("metallicity")),
    ):  # fmt: skip
        wanted = quantiles(values[:, galaxy], levels, worth[galaxy]).tolist()
        assert found == pytest.approx(wanted, rel=1e-9)
        independent = quantiles(values[:, galaxy], levels).tolist()
        assert wanted[0] < independent[0] < independent[2] < wanted[2]


# -- the command ----------------------------------------------------------------------------------


def test_a_question_that_cannot_be_asked_is_refused_at_once(capsys, tmp_path):
    code = main(["evaluate", "--n", "4", "--do", "dust_av=-1", "--out", str(tmp_path / "none")])
    captured = capsys.readouterr()
    assert code == 2
    assert "OutsideSupport" in captured.err
    assert not (tmp_path / "none").exists()
