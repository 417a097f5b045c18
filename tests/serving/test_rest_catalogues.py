"""``POST /api/v2/inference/catalogue``: a file in, a line per galaxy out."""

import gzip
import io
import json
import time
from importlib import resources

import h5py
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from astropy.io import fits

import acie
from acie.observation import Observation

URL = "/api/v2/inference/catalogue"
EXAMPLE = resources.files("acie") / "examples" / "example.fits"
BINARY = {"Content-Type": "application/octet-stream"}
WHAT = {"intervention": "stellar_mass*=1.5", "samples": 16}


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    """Five rows: three that can be answered, a dead one, and one beyond the model's redshifts."""
    galaxy = acie.io.read(EXAMPLE)
    stack = Observation.stack([galaxy.batched()] * 5)
    path = tmp_path_factory.mktemp("catalogue") / "five.parquet"
    acie.io.write_shard(stack, path)
    table = pyarrow.parquet.read_table(path).to_pydict()
    table["ivar"][1] = [0.0] * len(table["ivar"][1])
    table["redshift"][3] = 2.0
    table["id"] = [f"galaxy {row}" for row in range(5)]
    pyarrow.parquet.write_table(pyarrow.table(table), path)
    return path.read_bytes()


def lines_of(response):
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("application/x-ndjson")
    assert response.headers["x-accel-buffering"] == "no"
    return [json.loads(line) for line in response.text.splitlines()]


def test_every_row_has_its_line_and_bad_rows_lose_nobody(rest, catalogue):
    found = rest.post(URL, params=WHAT | {"name": "five.parquet"}, content=catalogue,
                      headers=BINARY)  # fmt: skip
    head, *rows, end = lines_of(found)
    assert (head["kind"], head["rows"], head["name"]) == ("catalogue", 5, "five.parquet")
    assert head["interventions"] == ["stellar_mass*=1.5"]
    by_row = {line["row"]: line for line in rows}
    assert sorted(by_row) == [0, 1, 2, 3, 4]
    kinds = [by_row[row]["kind"] for row in range(5)]
    assert kinds == ["row", "refused", "row", "refused", "row"]
    assert [by_row[row]["id"] for row in range(5)] == [f"galaxy {row}" for row in range(5)]
    assert by_row[1]["problem"]["type"] == "urn:acie:problem:malformed-spectrum"
    assert "redshift" in by_row[3]["problem"]["detail"]
    assert (end["kind"], end["answered"], end["refused"]) == ("end", 3, 2)

    p16, before, p84, _, after, _ = by_row[0]["state"]["stellar_mass"]
    assert p16 < before < p84
    assert after == pytest.approx(1.5 * before, rel=1e-6)
    variables = {one["name"]: one for one in head["variables"]}
    assert variables["size"]["moved"]
    assert not variables["halo_mass"]["moved"]
    assert by_row[0]["state"]["halo_mass"][1] == by_row[0]["state"]["halo_mass"][4]


def test_features_are_those_of_the_two_spectra(rest, galaxy):
    body = EXAMPLE.read_bytes()
    head, row, end = lines_of(rest.post(URL, params=WHAT, content=body, headers=BINARY))
    assert head["rows"] == end["answered"] == 1
    single = rest.post(
        "/api/v2/inference", json=galaxy | {"samples": 16}, headers={"Accept": "application/json"}
    ).json()
    # The same galaxy and question, so the answer is that of the cache, draws and all.
    z, wave = row["redshift"], acie.WAVELENGTH / (1 + row["redshift"])
    good = np.array(galaxy["observation"]["ivar"]) > 0
    blue = good & (wave > 3851.1) & (wave < 3951.1)
    red = good & (wave > 4001.1) & (wave < 4101.2)
    for place, flux in enumerate((galaxy["observation"]["flux"], single["counterfactual"])):
        light = np.array(flux) * wave**2
        assert row["features"]["dn4000"][place] == pytest.approx(
            light[red].mean() / light[blue].mean(), rel=0.01
        )
    assert z == pytest.approx(galaxy["observation"]["redshift"])


@pytest.mark.parametrize(
    ("params", "status", "argument"),
    [
        ({"intervention": "age=99"}, 422, "age"),
        ({"intervention": "stellar_mass*=1.5", "hold": "nothing"}, 422, "nothing"),
        ({"samples": 4000}, 422, "samples"),
        ({"model_version": "none"}, 404, "model_version"),
        ({"colour": "red"}, 422, "colour"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused_at_once(
    rest, catalogue, params, status, argument
):
    found = rest.post(URL, params=params, content=catalogue, headers=BINARY)
    assert found.status_code == status
    assert found.headers["content-type"] == "application/problem+json"
    assert argument in found.json()["argument"]


def test_files_that_are_none_are_refused_without_our_folders(rest):
    for body, what in ((b"", "empty"), (b"a,b\n1,2\n", "reader"), (b"PAR1 broken", "undamaged"),
                       (b"SIMPLE  =", "undamaged")):  # fmt: skip
        name = {"name": "../../etc/mine.fits"}
        found = rest.post(URL, params=name, content=body, headers=BINARY)
        assert found.status_code == 422
        detail = found.json()["detail"]
        assert what in detail
        assert "mine.fits" in detail
        assert not any(part in detail for part in ("/tmp", "../"))
    assert rest.post(URL, content=b"x", headers={"Content-Type": "text/plain"}).status_code == 415
    assert rest.post(URL, content=b"x").status_code == 415


def packed_parquet():
    made = io.BytesIO()
    column = pyarrow.array([[0.0] * 6000] * 500)
    pyarrow.parquet.write_table(pyarrow.table({"flux": column, "ivar": column}), made)
    return made.getvalue()


def packed_fits():
    made = io.BytesIO()
    fits.PrimaryHDU(np.zeros((400, 6000), np.float32)).writeto(made)
    return gzip.compress(made.getvalue())


def packed_hdf5():
    made = io.BytesIO()
    with h5py.File(made, "w") as file:
        for name in ("flux", "ivar"):
            file.create_dataset(name, (500, 6000), "f4", compression="gzip", chunks=(10, 6000))
    return made.getvalue()


@pytest.mark.parametrize("make", [packed_parquet, packed_fits, packed_hdf5])
def test_what_is_packed_well_is_counted_unpacked(rest, make):
    body = make()
    assert len(body) < 2 * 2**20
    found = rest.post(URL, content=body, headers=BINARY)
    assert found.status_code == 413
    assert "at most 2097152" in found.json()["expected"]


def test_going_away_ends_the_work(rest_app, rest, catalogue):
    with rest.stream("POST", URL, params={"intervention": "dust_av=0"}, content=catalogue,
                     headers=BINARY) as response:  # fmt: skip
        assert json.loads(next(response.iter_lines()))["kind"] == "catalogue"
    service = rest_app.state.resources.service
    for _ in range(100):
        if service.queue_depth == 0 and rest.get("/api/metrics").json()["requests"][
            "in_flight"] <= 1:  # fmt: skip
            return
        time.sleep(0.1)
    raise AssertionError("it goes on")
