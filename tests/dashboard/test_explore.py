"""Explore in a real Chromium against the real service with the shipped model, by mouse alone."""

import json
from pathlib import Path

import pytest
from astropy.table import Table
from dashboards import ARTIFACTS, ROOT

#: A real spectrum, where the checkout lies beside the shared data.
SDSS = ROOT.parent / "shared" / "data" / "sdss" / "spec-0266-51602-0166.fits"


def sdss() -> Path | None:
    """The real spectrum, beside the checkout or one folder further up."""
    found = [SDSS, ROOT.parents[1] / "shared" / "data" / "sdss" / SDSS.name]
    return next((path for path in found if path.exists()), None)


@pytest.fixture(scope="module")
def seen(browse):
    path = sdss()
    return browse("explore", *([str(path)] if path else []))


def test_nothing_is_said_in_the_console(seen):
    assert seen["errors"] == []
    assert seen["expected_errors"] == []


def test_the_first_load_is_small(seen):
    assert 50_000 < seen["javascript_bytes"] < 300_000


def test_a_question_is_answered_by_mouse(seen):
    assert "0.0828" in seen["facts"]
    (text,) = seen["interventions"]
    name, factor = text.split("*=")
    assert name == "stellar_mass"
    assert 1.5 < float(factor) < 3.0
    assert f"×{float(factor):.3g}" in seen["mass"]
    assert "unchanged" not in seen["dispersion"]
    assert seen["statuses"] == [200]


def test_earlier_questions_are_cancelled(seen):
    assert set(seen["aborted"]) <= {"net::ERR_ABORTED"}
    # Three drags of twelve steps each: most places were never asked about, or not to the end.
    assert 3 <= seen["answers"] < 36


def test_a_descendant_is_held_by_a_click_and_a_link_asks_again(seen):
    assert seen["held_dispersion"] != seen["dispersion"]
    assert seen["linked"] == seen["held_dispersion"]


def test_the_figure_tells_what_is_under_the_mouse(seen):
    assert "observed" in seen["readout"]
    assert "counterfactual" in seen["readout"]


def test_answers_can_be_saved(seen):
    files, folder = seen["files"], ARTIFACTS / "explore"
    assert files["png"]["head"][1:4] == "PNG"
    assert Table.read(folder / "answer.fits", hdu="SPECTRA").colnames[0] == "wavelength"
    content = json.loads((folder / "answer.json").read_text())
    assert len(content["observation"]["flux"]) == 6000
    assert content["answer"]["interventions"] == content["question"]["intervention"]
    assert len(content["answer"]["draws"]["latents"]["sfr"]) == content["question"]["samples"]


def test_the_same_question_as_code(seen):
    text = seen["interventions"][0]
    assert f"--do '{text}' --hold size" in seen["code"]["Command line"]
    assert text in seen["code"]["Python"]
    assert text in seen["code"]["curl"]
    compile(seen["code"]["Python"], "python of the page", "exec")


def test_the_keyboard_is_enough(seen):
    assert seen["keyboard"] == ["dust_av=0"]


def test_a_file_that_is_no_spectrum_is_refused_in_words(seen):
    assert "notes.txt" in seen["refused"]
    assert "no reader recognises" in seen["refused"]


def test_every_size_fits(seen):
    assert set(seen["overflow"]) == {"phone", "dark", "4k"}
    assert max(seen["overflow"].values()) <= 0


@pytest.mark.skipif(sdss() is None, reason="no real spectrum beside the checkout")
def test_a_real_spectrum_is_dropped_and_answered(seen):
    assert "0.0216" in seen["real"]["facts"]
    assert "onfidence" in seen["real"]["verdict"]
