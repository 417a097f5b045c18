"""From a bundle to production and back, while a service follows and answers all the time."""

import asyncio
import contextlib
import json
import logging
import os
import re
import threading
import time

import httpx
import pytest
from bundles import evaluation_of, variant
from processes import Served, question

from acie.cli import main
from acie.errors import PromotionRefused
from acie.serving.following import AliasFollower
from acie.serving.registry import ModelRegistry
from acie.serving.service import InferenceService
from acie.serving.settings import InferenceSettings, MlflowSettings
from acie.tracking import promote, resolve, rollback


class Following(Served):
    """``acie serve`` with the registry of these tests, and its metrics."""

    def __init__(self, folder, *flags, **environment):
        own = {k: v for k, v in os.environ.items() if k.startswith("ACIE_MLFLOW__")}
        own.pop("ACIE_MLFLOW__OFFLINE", None)
        super().__init__(folder, *flags, **own | environment)

    def metric(self, name):
        found = re.search(rf"^{re.escape(name)} (\S+)$", httpx.get(f"{self.url}/metrics").text,
                          re.MULTILINE)  # fmt: skip
        return float(found[1])

    def until(self, name, least, seconds=180.0):
        """Until a metric is at least so much."""
        end = time.monotonic() + seconds
        while self.metric(name) < least:
            assert time.monotonic() < end, f"{name}: {self.text[-3000:]}"
            time.sleep(0.1)


@pytest.fixture
def served(server, tmp_path):
    """Starts services; what is still running at the end is stopped."""
    with contextlib.ExitStack() as stack:

        def start(*flags, **environment):
            one = Following(tmp_path, *flags, **environment)
            stack.callback(lambda: (one.process.kill(), one.process.wait()))
            return one

        yield start


class Callers:
    """Who ask without a pause, and note the version that answered and every failure."""

    def __init__(self, url, number=2):
        self.seen, self.failed, self._stop = [], [], threading.Event()
        self._url, self._body = url, question(samples=4)
        self._threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(number)]

    def _ask(self, which):
        with httpx.Client(base_url=self._url, timeout=60) as client:
            while not self._stop.is_set():
                # Answers of the cache would say nothing about the model.
                body = self._body | {"seed": len(self.seen) * 10 + which}
                try:
                    response = client.post("/api/v2/inference/counterfactual", json=body)
                    if response.status_code == 200:
                        self.seen.append(response.json()["model"]["version"])
                    else:
                        self.failed.append(response.text)
                except httpx.HTTPError as error:
                    self.failed.append(repr(error))

    def until(self, version, seconds=180.0):
        """Until a version answers."""
        end, start = time.monotonic() + seconds, len(self.seen)
        while version not in self.seen[start:]:
            assert time.monotonic() < end, f"{version} never answered: {self.failed[:1]}"
            time.sleep(0.05)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception):
        self._stop.set()
        for thread in self._threads:
            thread.join(60)


@pytest.mark.slow
def test_from_a_bundle_to_production_and_back(registry, server, served, name, report, tmp_path):
    first, second = (variant(tmp_path / v, v, scale=1.0 if v == "1" else 1.001) for v in "12")
    registry.register(first, name)
    with pytest.raises(PromotionRefused, match="evaluation: none"):
        promote(registry, name, "1", "production")
    promote(registry, name, "1", "production", evaluation_of(first, report, tmp_path / "1.json"))
    model, patience = f"models:/{name}@production", {"MLFLOW_HTTP_REQUEST_TIMEOUT": "3"}
    one = served("--model", model, ACIE_MLFLOW__POLL_S="0.5", **patience).wait(240.0)
    with Callers(one.url) as callers:
        callers.until("1")
        registry.register(second, name, evaluation_of(second, report, tmp_path / "2.json"))
        assert one.metric("acie_registry_behind") == 0.0
        promote(registry, name, "2", "production")
        callers.until("2")
        # Who asks for the predecessor by its version still gets it.
        pinned = question(samples=4) | {"model_version": "1"}
        again = httpx.post(f"{one.url}/api/v2/inference", json=pinned, timeout=60).json()
        assert again["model"]["version"] == "1"
        # The page shows what the registry knows of it: its alias, and its own evaluation.
        place = f"{one.url}/api/v2/models/galaxy-v1/versions/2"
        assert httpx.get(place, timeout=60).json()["aliases"] == [model]
        measured = httpx.get(f"{place}/evaluation", timeout=60).json()
        assert (measured["source"], measured["count"]) == ("registry", report["count"])
        # A bundle that was changed in the store does not come in.
        third = variant(tmp_path / "3", "3", scale=1.002)
        evaluated = evaluation_of(third, report, tmp_path / "3.json")
        version = registry.register(third, name, evaluated)
        weights = server.stored(version.source, "estimator.safetensors")
        weights.write_bytes(weights.read_bytes()[:-8] + b"tampered")
        promote(registry, name, "3", "production")
        one.until('acie_registry_polls_total{outcome="refused"}', 2)
        assert one.metric("acie_registry_behind") == 1.0
        assert set(callers.seen[-3:]) == {"2"}
        assert [v.version for v in rollback(registry, name)] == [3, 2]
        # A registry that hangs keeps nobody waiting.
        with server.frozen():
            one.until('acie_registry_polls_total{outcome="unreachable"}', 1)
            callers.until("2")
        rollback(registry, name)
        callers.until("1")
    assert callers.failed == []
    assert set(callers.seen) == {"1", "2"}
    assert one.metric("acie_registry_behind") == 0.0
    swaps = [json.loads(line) for line in one.text.splitlines() if "model swapped" in line]
    assert len(swaps) == 2
    assert one.stop(seconds=180.0) == 0


@pytest.fixture
def logs():
    """What serving does to the logs of the process is undone."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.mark.slow
def test_a_service_starts_with_what_it_knows_only_if_told(
    registry, server, impatient, name, tmp_path, capsys, logs, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    registry.register(variant(tmp_path / "1", "1"), name)
    text = f"models:/{name}@candidate"
    resolve(text)
    with server.frozen():
        assert main(["serve", "--port", "0", "--grpc-port", "0", "--model", text]) == 2
        said = capsys.readouterr().err
        assert "RegistryUnreachable" in said
        assert "Traceback" not in said

        async def start():
            service = InferenceService(ModelRegistry(), InferenceSettings())
            follower = AliasFollower(service, MlflowSettings(offline=True))
            await follower.load(text)
            assert not follower.behind
            await follower.poll()
            await service.close()
            return service.registry.find().version, follower.behind, follower.counts

        version, behind, counts = asyncio.run(start())
    assert (version, behind, counts["unreachable"]) == ("1", True, 1)
