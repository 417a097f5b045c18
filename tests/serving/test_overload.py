"""A full queue and too many requests are refused at once, and say when to come back."""

import asyncio
import threading
import time

import httpx
import pytest
from processes import question

from acie.serving import create_app
from acie.serving.settings import Settings


async def until(condition) -> None:
    end = time.monotonic() + 30.0
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


@pytest.fixture
def app(tmp_path):
    return create_app(
        Settings(
            inference={"queue": 1, "max_batch": 1, "samples": 8},
            server={"grpc_port": None, "max_in_flight": 3},
            database={"url": f"sqlite:///{tmp_path}/acie.db"},
        )
    )


def test_what_there_is_no_room_for_is_refused_unread(app):
    url = "/api/v2/inference/counterfactual"

    async def calls() -> None:
        async with app.router.lifespan_context(app):
            service = app.state.resources.service
            busy = threading.Event()
            # The engine's only thread is held up, as by a long question.
            service._executor.submit(busy.wait)
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
                first = asyncio.create_task(client.post(url, json=question(seed=1)))
                await until(lambda: service._batcher._in_work == 1)
                second = asyncio.create_task(client.post(url, json=question(seed=2)))
                await until(lambda: service.queue_depth == 1)
                # No JSON at all: whoever read it would answer 400.
                full = await client.post(url, content=b"{" * 1000)
                assert full.status_code == 503
                assert int(full.headers["retry-after"]) >= 1
                assert full.json()["type"] == "urn:acie:problem:overloaded"
                # Looking is still possible, up to the limit of requests at a time.
                assert (await client.get("/api/v2/models")).status_code == 200
                busy.set()
                assert (await first).status_code == (await second).status_code == 200

    asyncio.run(calls())


def test_too_many_requests_at_a_time_are_refused(app):
    async def calls() -> None:
        async with app.router.lifespan_context(app):
            service = app.state.resources.service
            busy = threading.Event()
            service._executor.submit(busy.wait)
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
                # One body for all: three wait for the same answer, the fourth is too many.
                same = [asyncio.create_task(client.post("/api/v2/inference", json=question()))
                        for _ in range(3)]  # fmt: skip
                await until(lambda: app.state.resources.meters.value("acie_in_flight") == 3)
                over = await client.get("/api/v2/models")
                assert over.status_code == 503
                assert over.headers["retry-after"] == "1"
                assert (await client.get("/health/live")).status_code == 200
                busy.set()
                assert {(await one).status_code for one in same} == {200}

    asyncio.run(calls())
