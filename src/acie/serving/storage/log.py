"""The log of inferences as the service holds it: journal, listing, retention."""

__all__ = ["Log", "open_log"]

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass

from acie.errors import ConfigurationError
from acie.serving.settings import DatabaseSettings
from acie.serving.storage.database import Database
from acie.serving.storage.journal import InferenceJournal
from acie.serving.storage.migration import upgrade
from acie.serving.storage.repositories import InferenceRepository
from acie.serving.storage.retention import Retention


@dataclass(frozen=True)
class Log:
    """What the service uses of the log.

    Arguments:
        database: Its database.
        journal: Writes.
        repository: Reads.
    """

    database: Database
    journal: InferenceJournal
    repository: InferenceRepository


@contextlib.asynccontextmanager
async def open_log(database: Database, settings: DatabaseSettings) -> AsyncIterator[Log]:
    """Begin to log; write what waits at the end.

    SQLite, which is this process's own, is migrated here. PostgreSQL, which others use too, is
    migrated where the settings say so; it may be away, and the journal waits for it.

    Raises:
        ConfigurationError: The file of SQLite cannot be used.
    """
    if database.dialect == "sqlite":
        await _prepare_file(database)
    elif settings.migrate:
        await upgrade(database)
    repository = InferenceRepository(database)
    journal = InferenceJournal(repository, settings.buffer, settings.flush_s)
    retention = Retention(repository, settings.retention_days)
    journal.open()
    retention.open()
    try:
        yield Log(database, journal, repository)
    finally:
        await retention.close()
        await journal.close()


async def _prepare_file(database: Database) -> None:
    name = database.url.database or ""
    try:
        await asyncio.to_thread(_try_to_write, name)
    except sqlite3.OperationalError as error:
        raise ConfigurationError(
            "database url",
            expected="a file that can be written",
            found=f"{name} ({error})",
            remedy="Set ACIE_DATABASE__URL to a file in a folder of your own.",
        ) from None
    await upgrade(database)


def _try_to_write(name: str) -> None:
    with contextlib.closing(sqlite3.connect(name)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.rollback()
