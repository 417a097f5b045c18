"""Explore in a real Chromium against the real service with the shipped model, by mouse alone."""

import json
import os
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from dashboards import ARTIFACTS, ROOT

import acie.io
from acie.figures import counterfactual_band

#: A real spectrum, where the checkout lies beside the shared data.
SDSS = ROOT.parent / "shared" / "data" / "sdss" / "spec-0266-51602-0166.fits"


def sdss() -> Path | None:
    """The real spectrum, beside the checkout or one folder further up."""
    found = [SDSS, ROOT.parents[1] / "shared" / "data" / "sdss" / SDSS.name]
    return next((path for path in found if path.exists()), None)


@pytest.fixture(scope="module")
def unknown(tmp_path_factory):
    """The example in a file that does not tell its redshift."""
    galaxy = acie.io.read(resources.files("acie") / "examples" / "example.fits", redshift=np.nan)
    return acie.io.write_observation(galaxy, tmp_path_factory.mktemp("unknown") / "unknown.fits")


@pytest.fixture(scope="module")
def seen(browse, unknown):
    path = sdss()
    return browse("explore", str(unknown), *([str(path)] if path else []))


def shell(text: str, folder: Path) -> None:
    """Runs commands of the page as somebody would who pastes them."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", text], cwd=folder, env={**os.environ, "PATH": path},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def test_nothing_is_said_in_the_console(seen):
    assert seen["errors"] == []
    assert seen["expected_errors"] == []


def test_the_first_load_is_small(seen):
    assert 50_000 < seen["javascript_bytes"] < 300_000


def test_a_question_is_answered_by_mouse(seen):
    assert "sim-0" in seen["facts"]
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


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq")
def test_curl_and_python_of_the_page_run_and_agree(seen, tmp_path, capsys):
    shell(seen["code"]["curl"], tmp_path)
    answer = json.loads((tmp_path / "answer.json").read_text())
    found = {}
    exec(compile(seen["code"]["Python"], "python of the page", "exec"), found)
    assert "[" in capsys.readouterr().out
    result = found["result"]
    low, middle, _ = counterfactual_band(result, 0)
    assert list(result.actions) == answer["interventions"] == seen["interventions"]
    assert result.quality[0].names == tuple(answer["quality"])
    assert np.allclose(answer["counterfactual"], middle, rtol=1e-3, atol=1e-3)
    assert np.allclose(answer["counterfactual_p16"], low, rtol=1e-3, atol=1e-3)


def test_the_command_of_the_page_runs_with_the_redshift_that_was_typed(seen, tmp_path):
    code = seen["redshift"]["code"]
    shell(code["Command line"], tmp_path)
    answer = json.loads((tmp_path / "results" / "example.json").read_text())
    assert answer["redshift"] == pytest.approx(0.1)
    assert "REDSHIFT_CONFLICT" in answer["quality"]
    assert "redshift=0.1)" in code["Python"]
    assert "redshift: 0.1," in code["curl"]


def test_a_redshift_is_typed_estimated_and_refused_where_it_stands(seen):
    found = seen["redshift"]
    assert "found 0,1" in found["typo"]
    assert "0.005 to 0.6" in found["outside"]
    assert "z = 0.1000" in found["typed"]
    assert found["link"] == "0.1"
    assert (found["estimated"], found["estimated_link"]) == ("0.0828", "estimate")
    assert found["again"] == [found["read"], None] == ["0.0828", None]


def test_a_file_without_a_redshift_has_it_estimated(seen):
    assert seen["unknown"]["redshift"] == "0.0828"
    assert "estimated" in seen["unknown"]["facts"]


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
    assert seen["real"]["redshift"] == "0.0216"
    assert "onfidence" in seen["real"]["verdict"]
