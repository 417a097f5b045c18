"""Files that are read over REST, examples, answers as files, draws."""

import gzip
import io
from importlib import resources

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import acie

EXAMPLE = resources.files("acie") / "examples" / "example.fits"
READ = "/api/v2/inference/observation"
FILE = {"Content-Type": "application/octet-stream"}


def post(rest, body, **query):
    return rest.post(READ, content=body, headers=FILE, params=query)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_file_becomes_the_observation_that_the_library_reads(rest, pack):
    found = post(rest, pack(EXAMPLE.read_bytes()), name="../../a b.fits").json()
    told = acie.io.read(EXAMPLE)
    for name in ("flux", "ivar", "lsf"):
        np.testing.assert_allclose(found[name], getattr(told, name).numpy(), rtol=1e-6)
    assert found["mask"] == (told.ivar <= 0).tolist()
    assert found["redshift"] == float(told.redshift)
    assert found["signal_to_noise"] == pytest.approx(float(told.signal_to_noise))
    assert (found["wavelength_start"], found["wavelength_step"]) == (3600.0, 1.0)
    assert (found["file"], found["row"], found["rows"]) == ("a_b.fits", 0, 1)


def test_the_example_is_the_same_and_can_be_asked_about(rest):
    (listed,) = rest.get("/api/v2/examples").json()["examples"]
    one = rest.get(f"/api/v2/examples/{listed['name']}").json()
    assert one["flux"] == post(rest, EXAMPLE.read_bytes()).json()["flux"]
    names = ("flux", "ivar", "mask", "lsf", "redshift")
    body = {"observation": {n: one[n] for n in names}, "intervention": "dust_av=0", "seed": 1}
    answer = rest.post("/api/v2/inference", json=body | {"draws": True}).json()
    for world in ("latents", "counterfactual_latents"):
        assert list(answer["draws"][world]) == answer["latent_names"]
        for name, draws in answer["draws"][world].items():
            assert len(draws) == answer["samples"]
            state = answer[world][name]
            low, high = min(draws), max(draws)
            assert low * (1 - 1e-6) <= state["median"] <= high * (1 + 1e-6) or low < 0
    assert set(answer["draws"]["counterfactual_latents"]["dust_av"]) == {0.0}
    # The same question without draws, from the cache.
    assert rest.post("/api/v2/inference", json=body).json()["draws"] is None


def test_a_file_of_several_spectra_has_rows(rest, tmp_path):
    one = acie.io.read(EXAMPLE)
    acie.io.write_observation(acie.observation.Observation.stack([one, one]), tmp_path / "a.fits")
    body = (tmp_path / "a.fits").read_bytes()
    found = post(rest, body, row=1, redshift=0.2).json()
    assert (found["row"], found["rows"], found["redshift"]) == (1, 2, 0.2)
    problem = post(rest, body, row=2)
    assert problem.status_code == 422
    assert problem.json()["argument"] == "row"


@pytest.mark.parametrize(
    ("body", "kind", "status", "problem"),
    [
        (b"no spectrum", "application/octet-stream", 422, "reader-not-found"),
        (b"", "application/octet-stream", 422, "malformed-spectrum"),
        (b"\x00\x01\x02\x03" * 50, "application/octet-stream", 422, "reader-not-found"),
        (EXAMPLE.read_bytes()[:9000], "application/octet-stream", 422, "malformed-spectrum"),
        (b"\x1f\x8b" + b"x" * 99, "application/octet-stream", 422, "malformed-spectrum"),
        (gzip.compress(bytes(4 * 2**20)), "application/octet-stream", 413, "body-too-large"),
        (bytes(3 * 2**20), "application/octet-stream", 413, "body-too-large"),
        (EXAMPLE.read_bytes(), "text/plain", 415, "unsupported-content"),
    ],
    ids=["text", "empty", "binary", "cut", "bad gzip", "bomb", "long", "type"],
)
def test_what_is_no_spectrum_is_refused_in_words(rest, body, kind, status, problem):
    response = rest.post(READ, content=body, headers={"Content-Type": kind})
    found = response.json()
    assert (response.status_code, found["type"]) == (status, f"urn:acie:problem:{problem}")
    assert "/tmp" not in response.text
    assert "acie-upload-" not in response.text


def test_an_answer_is_the_file_of_acie_infer(rest, galaxy):
    path = "/api/v2/inference/counterfactual"
    galaxy = galaxy | {"seed": 5}
    response = rest.post(path, json=galaxy, headers={"Accept": "application/fits"})
    assert response.headers["content-type"] == "application/fits"
    assert 'filename="galaxy.fits"' in response.headers["content-disposition"]
    told = rest.post(path, json=galaxy).json()
    with fits.open(io.BytesIO(response.content)) as hdus:
        assert hdus[0].header["DO1"] == "stellar_mass*=1.5"
        spectra, state = Table.read(hdus["SPECTRA"]), Table.read(hdus["STATE"])
    good = np.array(galaxy["observation"]["ivar"]) > 0
    flux = spectra["counterfactual"].filled(np.nan).quantity.to_value("1e-17 erg/(s cm2 AA)")
    np.testing.assert_allclose(flux[good], np.array(told["counterfactual"])[good], rtol=1e-6)
    assert np.isnan(flux[~good]).all()
    assert list(state["variable"]) == told["latent_names"]
    assert rest.post(path, json=galaxy, headers={"Accept": "image/png"}).status_code == 406
