"""The journal never blocks, and what it counts as written is in the database, once."""

import asyncio
import contextlib
import datetime
import logging

import pytest
from examples import a_record, run
from sqlalchemy.exc import OperationalError

from acie.errors import ConfigurationError
from acie.serving.settings import DatabaseSettings
from acie.serving.storage import (
    Database,
    InferenceFilter,
    InferenceJournal,
    InferenceRepository,
    Retention,
    open_log,
    upgrade,
)


class Unclear(InferenceRepository):
    """The connection breaks after a commit, before anybody hears of it: every second time."""

    calls = 0

    async def write(self, records):
        self.calls += 1
        await super().write(records)
        if self.calls % 2:
            raise OperationalError("INSERT", None, Exception("server closed the connection"))


@contextlib.asynccontextmanager
async def a_journal(url, kind=InferenceRepository, buffer=1000, flush_s=0.01, **options):
    """A journal on a migrated database, and the ids that it called durable."""
    database, durable = Database(url, patience_s=2.0), []
    await upgrade(database)
    repository = kind(database)
    journal = InferenceJournal(
        repository, buffer, flush_s, committed=lambda batch: durable.extend(r.id for r in batch),
        **options,
    )  # fmt: skip
    try:
        yield journal, repository, durable
    finally:
        await journal.close(1.0)
        await database.close()


async def until(condition, patience_s=20.0):
    async with asyncio.timeout(patience_s):
        while not condition():
            await asyncio.sleep(0.01)


async def ids_in(repository):
    rows = await repository.page(InferenceFilter(), None, 100_000)
    return {row["id"] for row in rows}


def test_records_are_written_soon_and_the_rest_at_the_end(database_url):
    async def check():
        async with a_journal(database_url, flush_s=0.05) as (journal, repository, durable):
            records = [a_record() for _ in range(450)]
            for one in records[:400]:
                assert journal.record(one)
            assert (journal.depth, journal.written) == (400, 0)  # nothing blocks, nothing is done
            journal.open()
            await until(lambda: journal.written == 400)
            for one in records[400:]:
                journal.record(one)
            assert await journal.close() == 0
            assert journal.written == 450
            assert durable == [one.id for one in records]
            assert await ids_in(repository) == set(durable)
            assert (journal.dropped, journal.refused, journal.failures) == (0, 0, 0)

    run(check())


def test_an_unclear_commit_doubles_and_loses_nothing(database_url):
    async def check():
        async with a_journal(database_url, kind=Unclear) as (journal, repository, durable):
            journal.open()
            records = [a_record() for _ in range(40)]
            for one in records:
                journal.record(one)
            await until(lambda: journal.written == 40)
            assert journal.failures > 0
            assert durable == [one.id for one in records]
            assert await repository.count() == 40

    run(check())


def test_a_full_buffer_drops_the_newest_counts_and_says_so_once(database_url, caplog):
    async def check():
        async with a_journal(database_url, buffer=5) as (journal, repository, durable):
            records = [a_record() for _ in range(9)]
            with caplog.at_level(logging.WARNING):
                accepted = [journal.record(one) for one in records]
            assert accepted == [True] * 5 + [False] * 4
            assert journal.dropped == 4
            assert len([r for r in caplog.records if "full" in r.message]) == 1
            journal.open()
            await until(lambda: journal.written == 5)
            assert await ids_in(repository) == {one.id for one in records[:5]}
            assert journal.record(a_record())  # there is room again

    run(check())


def test_a_record_that_the_database_refuses_keeps_no_other_from_it(database_url):
    async def check():
        async with a_journal(database_url) as (journal, repository, durable):
            records = [a_record() for _ in range(7)]
            # Larger than any integer of either database.
            records[3] = a_record(seed=2**70)
            for one in records:
                journal.record(one)
            journal.open()
            await until(lambda: journal.depth == 0)
            assert (journal.written, journal.refused) == (6, 1)
            assert await ids_in(repository) == {r.id for r in records} - {records[3].id}

    run(check())


def test_missing_tables_are_waited_for(postgres_url):
    async def check():
        database = Database(postgres_url)
        journal = InferenceJournal(InferenceRepository(database), 100, 0.01)
        journal.open()
        journal.record(a_record())
        await until(lambda: journal.failures >= 2)
        assert not journal.healthy
        await upgrade(database)
        await until(lambda: journal.written == 1)
        assert journal.healthy
        await journal.close()
        await database.close()

    run(check())


def test_an_outage_is_survived_in_the_buffer(postgres_server, postgres_url):
    async def check():
        async with a_journal(postgres_url, buffer=500) as (journal, repository, durable):
            journal.open()
            accepted = []

            async def load():
                for _ in range(300):
                    one = a_record()
                    if journal.record(one):
                        accepted.append(one.id)
                    await asyncio.sleep(0.005)

            loading = asyncio.create_task(load())
            await until(lambda: journal.written > 20)
            await asyncio.to_thread(postgres_server.kill)
            before = set(durable)
            await until(lambda: journal.failures >= 2)
            await asyncio.to_thread(postgres_server.start)
            # What was called durable before the server died is there after.
            assert before <= await ids_in(repository)
            await loading
            await until(lambda: journal.depth == 0)
            assert journal.dropped == 0
            assert durable == accepted
            assert await ids_in(repository) == set(accepted)
            assert await repository.count() == len(accepted) == 300

    run(check())


def test_closing_does_not_wait_for_a_database_that_is_away(postgres_server, postgres_url, caplog):
    async def check():
        async with a_journal(postgres_url, patience_s=1.0) as (journal, _, durable):
            journal.open()
            await asyncio.to_thread(postgres_server.kill)
            try:
                for _ in range(3):
                    journal.record(a_record())
                async with asyncio.timeout(5.0):
                    assert await journal.close(0.5) == 3
                assert durable == []
                assert "loses 3 records" in caplog.text
            finally:
                await asyncio.to_thread(postgres_server.start)

    run(check())


def test_retention_sweeps_in_chunks_and_goes_on_in_the_background(database_url):
    now = datetime.datetime.now(datetime.UTC)
    ages = [datetime.timedelta(days=0.5 * k) for k in range(20)]

    async def check():
        database = Database(database_url)
        await upgrade(database)
        repository = InferenceRepository(database)
        await repository.write([a_record(time=now - age) for age in ages])
        retention = Retention(repository, days=5.25, every_s=0.05)
        assert await retention.sweep(chunk=2) == 9
        assert await repository.count() == 11
        await repository.write([a_record(time=now - datetime.timedelta(days=9))])
        retention.open()
        async with asyncio.timeout(10.0):
            while await repository.count() != 11:
                await asyncio.sleep(0.02)
        await retention.close()
        await database.close()

    run(check())


def test_the_log_opens_migrates_and_flushes(tmp_path):
    url = f"sqlite:///{tmp_path / 'own.db'}"

    async def check():
        database = Database(url)
        async with open_log(database, DatabaseSettings(flush_s=30.0)) as log:
            log.journal.record(a_record())
        assert await log.repository.count() == 1
        await database.close()

    run(check())


def test_a_file_that_cannot_be_written_is_refused_at_the_start(tmp_path):
    async def check():
        database = Database(f"sqlite:///{tmp_path / 'missing' / 'acie.db'}")
        with pytest.raises(ConfigurationError, match="ACIE_DATABASE__URL"):
            async with open_log(database, DatabaseSettings()):
                pass
        await database.close()

    run(check())
