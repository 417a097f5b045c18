"""Models over REST: listed, loaded by version, swapped under load, unloaded; the graph as data."""

import json
import shutil
import threading

import httpx
import pytest

from acie.manifest import bundled_models
from acie.scm import CausalGraph
from acie.serving.registry import find_source

URL = "/api/v2/inference/counterfactual"


def bundle(folder, version, name="galaxy-v1"):
    """A copy of the shipped model that calls itself another version."""
    shutil.copytree(bundled_models()["galaxy-v1"], folder)
    manifest = folder / "manifest.json"
    facts = json.loads(manifest.read_text()) | {"version": version, "name": name}
    manifest.write_text(json.dumps(facts))
    return folder


@pytest.fixture
def models_folder(rest_app):
    folder = rest_app.state.resources.settings.inference.models_folder
    yield folder
    for place in folder.iterdir():
        shutil.rmtree(place)


def test_a_model_is_swapped_while_it_answers(rest_url, rest, models_folder, galaxy):
    bundle(models_folder / "galaxy-v1@2", "2")
    stop, seen, failed = threading.Event(), [], []

    def ask():
        with httpx.Client(base_url=rest_url, timeout=60) as client:
            while not stop.is_set():
                response = client.post(URL, json={**galaxy, "samples": 2})
                if response.status_code == 200:
                    seen.append(response.json()["model"]["version"])
                else:
                    failed.append(response.text)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        loaded = rest.post("/api/v2/models", json={"name": "galaxy-v1", "version": "2"})
        assert loaded.status_code == 201, loaded.text
        assert loaded.headers["Location"] == "/api/v2/models/galaxy-v1/versions/2"
        before = len(seen)
        after = rest.post(URL, json={**galaxy, "samples": 2}).json()["model"]["version"]
        listed = {
            one["version"]: one["latest"] for one in rest.get("/api/v2/models").json()["models"]
        }
        pinned = rest.post(URL, json={**galaxy, "samples": 2, "model_version": "1"}).json()
        # Back again, and the successor away, under the same load.
        back = rest.post("/api/v2/models", json={"name": "galaxy-v1", "version": "1"})
        gone = rest.delete("/api/v2/models/galaxy-v1/versions/2")
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert failed == []
    assert before > 0
    assert set(seen) == {"1", "2"}
    assert after == "2"
    assert listed == {"1": False, "2": True}
    assert pinned["model"]["version"] == "1"
    assert (back.status_code, gone.status_code) == (201, 204)
    assert [one["version"] for one in rest.get("/api/v2/models").json()["models"]] == ["1"]
    assert rest.post(URL, json={**galaxy, "model_version": "2"}).status_code == 404


def test_what_answers_cannot_be_unloaded(rest):
    response = rest.delete("/api/v2/models/galaxy-v1/versions/1")
    assert (response.status_code, response.json()["type"]) == (
        409,
        "urn:acie:problem:model-in-use",
    )
    assert rest.delete("/api/v2/models/galaxy-v1/versions/7").status_code == 404


def test_a_damaged_bundle_changes_nothing(rest, models_folder):
    folder = bundle(models_folder / "galaxy-v1@3", "3")
    weights = folder / "estimator.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    response = rest.post("/api/v2/models", json={"name": "galaxy-v1", "version": "3"})
    assert response.status_code == 409
    assert [one["version"] for one in rest.get("/api/v2/models").json()["models"]] == ["1"]
    assert (
        rest.post("/api/v2/models", json={"name": "galaxy-v1", "version": "4"}).status_code == 404
    )


def test_the_newest_version_is_found_by_its_number(tmp_path):
    for version in ("2", "10", "9"):
        (tmp_path / f"m@{version}").mkdir()
        facts = json.dumps({"name": "m", "version": version})
        (tmp_path / f"m@{version}" / "manifest.json").write_text(facts)
    assert find_source("m", folder=tmp_path).endswith("m@10")
    assert find_source("m", "9", tmp_path).endswith("m@9")


def test_the_graph_is_that_of_the_model(rest, rest_app):
    found = rest.get("/api/v2/graph").json()
    scm = rest_app.state.resources.service.registry.find().engine.scm
    names = [variable["name"] for variable in found["variables"]]
    assert names == list(scm.variables)
    parents = {name: [] for name in names}
    for edge in found["edges"]:
        parents[edge["effect"]].append(edge["cause"])
    assert CausalGraph(parents).order == scm.graph.order
    for variable in found["variables"]:
        declared = scm.variables[variable["name"]]
        assert (variable["unit"], variable["symbol"]) == (declared.unit, declared.symbol)
        assert tuple(variable["support"]) == declared.support
    sources = {one["variable"]: one["source"] for one in found["mechanisms"]}
    assert "Moster" in sources["stellar_mass"]
    assert next(v for v in found["variables"] if v["name"] == "stellar_mass")["aliases"] == [
        "mass"
    ]
    assert rest.get("/api/v2/graph", params={"model_version": "9"}).status_code == 404


def test_health_follows_readiness(rest, rest_app):
    assert rest.get("/health").json()["status"] == "ready"
    rest_app.state.resources.ready = False
    try:
        for path in ("/health", "/health/ready", "/v2/health/ready"):
            assert rest.get(path).status_code == 503
        assert rest.get("/health/live").json()["status"] == "live"
        assert rest.get("/v2/health/live").json() == {"live": True}
    finally:
        rest_app.state.resources.ready = True
