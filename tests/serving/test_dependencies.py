"""Whether the cache and the database are looked after."""

import asyncio
import time

import httpx
from examples import run
from processes import Served
from prometheus_client.parser import text_string_to_metric_families

from acie.serving.dependencies import DependencyWatch


def test_what_fails_or_hangs_is_down_and_the_others_are_not(monkeypatch):
    monkeypatch.setattr("acie.serving.dependencies._PATIENCE_S", 0.2)

    async def well() -> bool:
        return True

    async def broken() -> bool:
        raise OSError("gone")

    async def hangs() -> bool:
        await asyncio.Event().wait()
        return True

    watch = DependencyWatch({"well": well, "broken": broken, "hangs": hangs}, 1.0)
    assert watch.up == {}
    start = time.monotonic()
    run(watch.look())
    assert watch.up == {"well": True, "broken": False, "hangs": False}
    assert time.monotonic() - start < 2.0


def metrics(one: Served) -> dict[tuple, float]:
    text = httpx.get(f"{one.url}/metrics").text
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def until(condition, patience_s: float = 60.0) -> None:
    end = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def test_a_redis_that_dies_is_seen_without_a_request(tmp_path, redis_server):
    environment = {"ACIE_CACHE__URL": redis_server.url, "ACIE_TELEMETRY__CHECK_S": "0.2"}
    cache = ("acie_dependency_up", ("dependency", "cache"))
    database = ("acie_dependency_up", ("dependency", "database"))
    with Served(tmp_path, **environment) as one:
        until(lambda: metrics(one).get(cache) == 1)
        redis_server.kill()
        try:
            until(lambda: metrics(one).get(cache) == 0)
            found = metrics(one)
            assert found[database] == 1
            shown = httpx.get(f"{one.url}/api/metrics").json()
            assert shown["dependencies"] == {"database": True, "cache": False}
        finally:
            redis_server.start()
        until(lambda: metrics(one).get(cache) == 1)
        assert found[("acie_queue_capacity",)] == 128
        assert found[("acie_in_flight_limit",)] == 512
        probes = [value for key, value in found.items()
                  if key[0] == "acie_calls_total" and ("kind", "probe") in key]  # fmt: skip
        assert sum(probes) >= 2
        assert not any(("kind", "call") in key for key in found)
