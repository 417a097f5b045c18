"""Redis and PostgreSQL are killed and come back while questions are answered: nobody notices.

The truth is what the same engine answers, alone, to the same seeded questions.
"""

import asyncio
import contextlib
import itertools

import httpx
import pytest
from examples import an_observation, run

from acie.serving import Settings, create_app
from acie.serving.storage import InferenceFilter

URL = "/api/v2/inference/counterfactual"
#: Different questions; there is room for one answer in the process, so that Redis is asked.
QUESTIONS, CALLERS = 3, 4


def body(number: int) -> dict:
    spectrum = an_observation(number).flux[0].abs() + 5.0
    return {
        "observation": {"flux": spectrum.tolist(), "ivar": [4.0] * 6000, "redshift": 0.1},
        "intervention": {"dust_av": 0.1 * number},
        "seed": number,
        "samples": 8,
    }


def science(answer: dict) -> dict:
    """An answer without what may differ from call to call."""
    return {k: v for k, v in answer.items() if k not in ("timing_ms", "cached")}


@contextlib.asynccontextmanager
async def served(**settings):
    app = create_app(Settings(server={"grpc_port": None}, **settings))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://acie") as client:
            yield client, app.state.resources


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    """Answers of a service without any cache."""
    url = f"sqlite:///{tmp_path_factory.mktemp('truth') / 'acie.db'}"

    async def ask():
        async with served(database={"url": url}, cache={"entries": 0}) as (client, _):
            replies = [await client.post(URL, json=body(k)) for k in range(QUESTIONS)]
            return [science(reply.raise_for_status().json()) for reply in replies]

    return run(ask(), 400.0)


async def until(condition, patience_s=120.0):
    async with asyncio.timeout(patience_s):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.mark.slow
def test_redis_and_postgresql_die_and_return_under_load(
    truth, redis_server, redis_url, postgres_server, postgres_url
):
    answered, durable, over = [], [], asyncio.Event()

    async def caller(client, number):
        """Ask one question after the other, until the last fault is behind us."""
        for turn in itertools.count():
            if over.is_set():
                return
            which = (number + turn) % QUESTIONS
            name = f"caller-{number}-{turn}"
            reply = await client.post(URL, json=body(which), headers={"X-Request-ID": name})
            assert reply.status_code == 200, reply.text
            assert science(reply.json()) == truth[which]
            answered.append(name)

    async def more(condition=lambda: True):
        """Wait until every caller had answers in the present state, and for the condition."""
        enough = len(answered) + 2 * CALLERS
        await until(lambda: len(answered) >= enough and condition())

    async def faults(resources):
        """Kill each server when it has been of use, start it when its absence was felt, twice."""
        journal, counts = resources.log.journal, resources.cache.counts
        for _ in range(2):
            hits, written = counts["redis"], journal.written
            await more(lambda: counts["redis"] > hits and journal.written > written)  # noqa: B023
            failures = journal.failures
            await asyncio.to_thread(redis_server.kill)
            await asyncio.to_thread(postgres_server.kill)
            acknowledged = list(durable)
            await more(lambda: journal.failures > failures)  # noqa: B023
            await asyncio.to_thread(redis_server.start)
            await asyncio.to_thread(postgres_server.start)
            # What was acknowledged before the fall is there after it.
            assert set(acknowledged) <= {row["id"] for row in await rows(resources)}
        hits = counts["redis"]
        await more(lambda: journal.healthy and counts["redis"] > hits)
        over.set()

    async def rows(resources):
        return await resources.log.repository.page(InferenceFilter(), None, 10_000)

    async def check():
        async with served(
            database={"url": postgres_url, "migrate": True, "flush_s": 0.05},
            cache={"url": redis_url, "entries": 1, "rest_s": 0.2, "timeout_s": 0.2},
        ) as (client, resources):
            resources.log.journal.committed = lambda batch: durable.extend(r.id for r in batch)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(faults(resources))
                for number in range(CALLERS):
                    tasks.create_task(caller(client, number))
            journal = resources.log.journal
            await until(lambda: journal.depth == 0)
            found = await rows(resources)
            assert sorted(row["request_id"] for row in found) == sorted(answered)
            assert sorted(row["id"] for row in found) == sorted(durable)
            assert (journal.dropped, journal.refused) == (0, 0)
            assert {row["status"] for row in found} == {"ok"}

    run(check(), 400.0)


@pytest.mark.slow
def test_a_frozen_redis_makes_it_slower_and_nothing_else(truth, redis_server, redis_url, tmp_path):
    async def check():
        async with served(
            database={"url": f"sqlite:///{tmp_path / 'acie.db'}"},
            cache={"url": redis_url, "entries": 0, "timeout_s": 0.1},
        ) as (client, resources):
            redis_server.freeze()
            try:
                for which in (0, 1, 0):
                    reply = await client.post(URL, json=body(which))
                    assert reply.status_code == 200
                    assert science(reply.json()) == truth[which]
                    assert not reply.json()["cached"]
            finally:
                redis_server.thaw()
            assert resources.cache.counts["computed"] == 3

    run(check(), 400.0)
