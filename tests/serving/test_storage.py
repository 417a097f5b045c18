"""Tables, migrations, keys and records on both databases."""

import asyncio
import datetime
import sqlite3
import threading
import uuid

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from examples import a_record, run
from sqlalchemy import inspect
from sqlalchemy.exc import IntegrityError

from acie.errors import ConfigurationError
from acie.serving.storage import (
    ApiKeyRepository,
    Database,
    InferenceFilter,
    InferenceRepository,
    StorageUnavailable,
    downgrade,
    is_current,
    upgrade,
)
from acie.serving.storage.database import async_url
from acie.serving.storage.tables import metadata

NOW = datetime.datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=datetime.UTC)


def on(url, check, migrate=True):
    """Run a check on a database."""

    async def whole():
        database = Database(url)
        try:
            if migrate:
                await upgrade(database)
            return await check(database)
        finally:
            await database.close()

    return run(whole())


def names_in(database):
    async def look():
        async with database.transaction() as connection:
            return set(await connection.run_sync(lambda c: inspect(c).get_table_names()))

    return look()


# -- URLs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "driver"),
    [("sqlite:///a.db", "sqlite+aiosqlite"), ("sqlite+aiosqlite:///a.db", "sqlite+aiosqlite"),
     ("postgres://u:p@h/d", "postgresql+psycopg"), ("postgresql://u@h:1/d", "postgresql+psycopg"),
     ("postgresql+psycopg://h/d", "postgresql+psycopg")],
)  # fmt: skip
def test_urls_as_people_write_them(given, driver):
    url = async_url(given)
    assert url.drivername == driver
    assert given.partition("://")[2] == url.render_as_string(hide_password=False).partition("://")[2]


@pytest.mark.parametrize(
    "given",
    ["mysql://u:hunter22@h/d", "u:hunter22@h", "", "postgresql+asyncpg://u:hunter22@h/d"],
)
def test_other_urls_are_refused_without_being_shown(given):
    with pytest.raises(ConfigurationError, match="postgresql://") as refusal:
        Database(given)
    assert "hunter22" not in str(refusal.value)


@pytest.mark.parametrize("given", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(given):
    with pytest.raises(ConfigurationError, match="Name a file"):
        Database(given)


# -- migrations -----------------------------------------------------------------------------------


def test_migrations_lead_to_the_tables_and_back(database_url):
    async def check(database):
        assert not await is_current(database)
        await upgrade(database)
        assert await is_current(database)
        assert set(metadata.tables) <= await names_in(database)
        await downgrade(database)
        assert not set(metadata.tables) & await names_in(database)
        await upgrade(database)  # the way down left nothing behind that is in the way
        assert await is_current(database)

    on(database_url, check, migrate=False)


def test_tables_and_migrations_agree(database_url):
    def difference(connection):
        options = {"compare_type": True, "compare_server_default": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

    async def check(database):
        async with database.transaction() as connection:
            assert await connection.run_sync(difference) == []
            # That the comparison can find something:
            await connection.exec_driver_sql("DROP INDEX ix_inferences_time_id")
            assert len(await connection.run_sync(difference)) == 1

    on(database_url, check)


def test_several_replicas_may_migrate_at_once(database_url):
    async def check(database):
        replicas = [Database(database_url) for _ in range(4)]
        await asyncio.gather(*(upgrade(one) for one in replicas))
        for one in replicas:
            assert await is_current(one)
            await one.close()

    on(database_url, check, migrate=False)


def test_a_new_file_that_is_in_use_is_waited_for(tmp_path):
    # As by another replica that has just begun to make its tables.
    other = sqlite3.connect(tmp_path / "acie.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.3, other.rollback).start()

    async def check(database):
        assert await is_current(database)

    on(f"sqlite:///{tmp_path / 'acie.db'}", check)
    other.close()


def test_a_migration_that_fails_leaves_nothing(database_url):
    async def check(database):
        async with database.transaction() as connection:
            await connection.exec_driver_sql("CREATE TABLE inferences (other integer)")
        with pytest.raises(Exception, match="inferences"):
            await upgrade(database)
        assert "api_keys" not in await names_in(database)

    on(database_url, check, migrate=False)


# -- keys -----------------------------------------------------------------------------------------


def test_keys_are_made_found_listed_and_revoked(database_url):
    async def check(database):
        keys = ApiKeyRepository(database)
        one = await keys.create_key("1" * 64, "survey", ["infer", "read"])
        two = await keys.create_key("2" * 64, "it's; DROP TABLE api_keys --", [])
        assert await keys.find_key("1" * 64) == one
        assert await keys.find_key("' OR 1=1 --") is None
        assert await keys.list_keys() == [one, two]
        assert one.created.utcoffset() == datetime.timedelta(0)
        with pytest.raises(IntegrityError):
            await keys.create_key("1" * 64, "again", [])
        assert await keys.revoke_key(one.id)
        first = (await keys.find_key("1" * 64)).revoked
        assert first is not None
        assert not await keys.revoke_key(one.id)
        assert (await keys.find_key("1" * 64)).revoked == first
        assert not await keys.revoke_key(uuid.uuid4())
        await keys.touch_keys({one.id: NOW, two.id: NOW})
        await keys.touch_keys({})
        assert [key.last_used for key in await keys.list_keys()] == [NOW, NOW]

    on(database_url, check)


# -- records --------------------------------------------------------------------------------------


def test_a_record_is_read_as_it_was_written(database_url):
    record = a_record(
        time=NOW, seed=2**63 - 1, summary={"latent": {"age": 1.5, "sfr": float("nan")}},
        observation=b"\x00\xff", confidence=0.1, redshift=float("nan"), gpu_memory_bytes=2**40,
        intervention="a\0b \ud800 ö", principal="p" * 500,
    )  # fmt: skip

    async def check(database):
        await InferenceRepository(database).write([record])
        (row,) = await InferenceRepository(database).page(InferenceFilter(), None, 10)
        assert "observation" not in row
        expected = {k: v for k, v in record.values.items() if k != "observation"}
        assert row == expected
        assert row["time"] == NOW
        assert row["time"].utcoffset() == datetime.timedelta(0)
        assert row["summary"] == {"latent": {"age": 1.5, "sfr": None}}
        assert row["redshift"] is None
        assert row["intervention"] == "a\N{REPLACEMENT CHARACTER}b ? ö"
        assert row["principal"] == "p" * 200

    on(database_url, check)


def test_writing_again_doubles_nothing(database_url):
    records = [a_record() for _ in range(30)]

    async def check(database):
        repository = InferenceRepository(database)
        await asyncio.gather(*(repository.write(records[k : k + 20]) for k in (0, 10, 0, 10)))
        assert await repository.count() == 30

    on(database_url, check)


def test_pages_show_everything_once_though_records_come_meanwhile(database_url):
    # Three moments only: the order among equal ones matters.
    records = [a_record(time=NOW + datetime.timedelta(seconds=k % 3)) for k in range(25)]

    async def check(database):
        repository = InferenceRepository(database)
        await repository.write(records)
        seen, after = [], None
        while page := await repository.page(InferenceFilter(), after, 4):
            seen += page
            after = page[-1]["time"], page[-1]["id"]
            await repository.write([a_record(time=NOW + datetime.timedelta(hours=1))])
        order = sorted(records, key=lambda one: (one.time, one.id), reverse=True)
        assert [row["id"] for row in seen] == [one.id for one in order]

    on(database_url, check)


def test_filters(database_url):
    hour = datetime.timedelta(hours=1)
    records = [
        a_record(time=NOW, model_name="a", principal="key:x", confidence=0.5, quality=1),
        a_record(time=NOW + hour, model_name="b", principal="key:y", confidence=0.1, quality=6),
        a_record(time=NOW + 2 * hour, status="error", error="E", confidence=None, quality=0),
    ]

    async def check(database):
        repository = InferenceRepository(database)
        await repository.write(records)

        async def found(**conditions):
            rows = await repository.page(InferenceFilter(**conditions), None, 10)
            assert len(rows) == await repository.count(InferenceFilter(**conditions))
            return {next(i for i, r in enumerate(records) if r.id == row["id"]) for row in rows}

        assert await found() == {0, 1, 2}
        assert await found(since=NOW + hour) == {1, 2}
        assert await found(until=NOW + hour) == {0}
        paris = datetime.timezone(2 * hour)
        assert await found(since=(NOW + hour).astimezone(paris)) == {1, 2}
        assert await found(model="a") == {0}
        assert await found(principal="key:y") == {1}
        assert await found(min_confidence=0.2) == {0}
        assert await found(quality=3) == {0, 1}
        assert await found(quality=4) == {1}
        assert await found(status="error") == {2}
        assert await found(request_id=records[1].request_id) == {1}
        assert await found(model="a", status="error") == set()

    on(database_url, check)


@pytest.mark.parametrize(
    "text",
    ["' OR '1'='1", "a'; DROP TABLE inferences; --", "%", "\\", 'a" OR 1=1 --', "$1", ":model"],
)
def test_sql_in_filters_is_text(database_url, text):
    async def check(database):
        repository = InferenceRepository(database)
        await repository.write([a_record(), a_record(model_name=text, principal=text)])
        for name in ("model", "principal"):
            rows = await repository.page(InferenceFilter(**{name: text}), None, 10)
            assert [row["model_name"] for row in rows] == [text]
        assert await repository.page(InferenceFilter(status=text), None, 10) == []
        assert await repository.count() == 2

    on(database_url, check)


def test_retention_deletes_the_oldest_in_chunks(database_url):
    day = datetime.timedelta(days=1)
    records = [a_record(time=NOW - k * day) for k in range(20)]

    async def check(database):
        repository = InferenceRepository(database)
        await repository.write(records)
        assert await repository.delete_before(NOW - 9.5 * day, 4) == 4
        rows = await repository.page(InferenceFilter(), None, 100)
        assert [row["time"] for row in rows] == [NOW - k * day for k in range(16)]
        # Two replicas share what is left.
        done = await asyncio.gather(
            *(repository.delete_before(NOW - 9.5 * day, 100) for _ in range(2))
        )
        assert sum(done) == 6
        assert await repository.count() == 10

    on(database_url, check)


def test_a_listing_without_a_database_says_so(postgres_server, postgres_url):
    async def check(database):
        with pytest.raises(StorageUnavailable) as refusal:  # no tables
            await InferenceRepository(database).page(InferenceFilter(), None, 1)
        assert "SELECT" not in str(refusal.value)
        assert await database.ping()
        postgres_server.kill()
        try:
            with pytest.raises(StorageUnavailable):
                await InferenceRepository(database).page(InferenceFilter(), None, 1)
            assert not await database.ping()
        finally:
            postgres_server.start()
        assert await database.ping()

    on(postgres_url, check, migrate=False)
