"""Batch, Monitor and Models in a real Chromium, against the service with the shipped model."""

import csv
import json
from importlib import resources

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from dashboards import ARTIFACTS

import acie.io

COUNT, DEAD, FAR = 12, 4, 7


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    """The example at twelve brightnesses: one row is dead, one beyond the model's redshifts."""
    galaxy = acie.io.read(resources.files("acie") / "examples" / "example.fits").batched()[0]
    scale = 0.5 * 1.2 ** np.arange(COUNT)
    flux = [galaxy.flux.numpy().astype("f4") * k for k in scale]
    ivar = [galaxy.ivar.numpy().astype("f4") / k**2 for k in scale]
    ivar[DEAD] = np.zeros_like(ivar[DEAD])
    redshift = np.full(COUNT, float(galaxy.redshift))
    redshift[FAR] = 2.0
    path = tmp_path_factory.mktemp("catalogue") / "galaxies.parquet"
    ids = [f"sim-{row}" for row in range(COUNT)]
    table = {"flux": flux, "ivar": ivar, "redshift": redshift, "id": ids}
    pyarrow.parquet.write_table(pyarrow.table(table), path)
    return path


@pytest.fixture(scope="module")
def seen(browse, catalogue):
    return browse("pages", str(catalogue))


def test_nothing_is_said_in_the_console_and_nothing_is_too_wide(seen):
    assert seen["console"] == []
    assert seen["overflow"] == []


def test_every_control_has_a_name(seen):
    assert seen["nameless"] == []


def test_a_catalogue_is_answered_and_bad_rows_say_why(seen):
    assert seen["done"] == f"Done: {COUNT} of {COUNT} galaxies, 2 refused"
    found = {line.partition("\t")[0]: line for line in seen["refused"]}
    assert set(found) == {f"sim-{DEAD}", f"sim-{FAR}"}
    assert "good pixel" in found[f"sim-{DEAD}"]
    assert "0.005 to 0.6" in found[f"sim-{FAR}"]


def test_the_table_is_sorted_and_filtered(seen):
    assert len(seen["confidences"]) == COUNT - 2
    assert seen["confidences"] == sorted(seen["confidences"], reverse=True)
    assert sorted(seen["filtered"]) == ["sim-1", "sim-10", "sim-11"]


def test_the_table_is_downloaded_as_csv_and_as_parquet(seen):
    folder = ARTIFACTS / "pages"
    with (folder / "acie-answers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = pyarrow.parquet.read_table(folder / "acie-answers.parquet").to_pylist()
    assert [row["id"] for row in rows] == [f"sim-{row}" for row in range(COUNT)]
    assert [row["id"] for row in table] == [row["id"] for row in rows]
    assert {row["flags"] for row in rows if row["id"] in (f"sim-{DEAD}", f"sim-{FAR}")} == {
        "REFUSED"
    }
    good = [row for row in table if row["reason"] is None]
    assert len(good) == COUNT - 2
    before = np.array([row["stellar_mass_median"] for row in good])
    after = np.array([row["counterfactual_stellar_mass_median"] for row in good])
    assert after == pytest.approx(1.5 * before, rel=1e-6)
    # The brightness of a galaxy at one distance is its mass.
    bright = 1.2 ** np.array([row["row"] for row in good])
    assert np.polyfit(np.log10(bright), np.log10(before), 1)[0] == pytest.approx(1.0, abs=0.3)
    text = [row for row in rows if row["reason"] == ""]
    assert [float(row["stellar_mass_median"]) for row in text] == before.tolist()


def test_a_run_is_cancelled_and_a_question_that_cannot_be_asked_is_refused(seen):
    assert seen["cancelled"].startswith("Cancelled: ")
    assert "age" in seen["problem"]
    assert "0.05 to 13.5 Gyr" in seen["problem"]


def test_monitor_shows_what_happened_and_follows_it(seen):
    assert seen["log"] >= COUNT - 2
    assert seen["curves"] >= 6
    assert seen["captions"][0].startswith("Last: median")
    assert seen["errors"]
    assert "answered" not in seen["errors"]
    # Two questions every five seconds while it is live, and none when it is not.
    assert seen["polled"] >= 2
    assert seen["paused"] == 0


def test_models_shows_the_evaluation_that_ships_with_the_model(seen):
    report = json.loads(
        (resources.files("acie") / "models" / "galaxy-v1" / "evaluation.json").read_text()
    )
    passed = sum(row["verdict"] == "pass" for row in report["verdicts"])
    assert seen["passed"].startswith(f"{passed} of {len(report['verdicts'])} criteria passed")
    assert seen["verdicts"] == len(report["verdicts"])
    counts = report["sbc"]["counts"]["dust_av"]
    assert seen["chosen"] == (
        f"dust av: ranks from {min(counts)} to {max(counts)} galaxies each; 125 expected."
    )


def test_screenshots_are_kept(seen):
    views = ["phone", "dark", "4k"]
    names = [f"{page}-{view}" for page in ("batch", "monitor", "models") for view in views]
    for name in ["batch", "monitor", "models", *names]:
        assert (ARTIFACTS / "pages" / f"{name}.png").stat().st_size > 10_000
