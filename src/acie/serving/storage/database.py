"""The database: one engine, from a URL as people write it."""

__all__ = ["Database", "async_url"]

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import URL, event, make_url, text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util import await_only

from acie.errors import ConfigurationError

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
#: Milliseconds that SQLite waits for another writer.
_BUSY_MS = 5000


def async_url(url: str) -> URL:
    """The URL with the asynchronous driver that ACIE uses.

    Arguments:
        url: ``sqlite:///file.db``, ``postgresql://user:password@host/name``, or with a driver.

    Raises:
        ConfigurationError: Another database or driver, or no URL at all. The message does not
            hold the URL, which may hold a password.
    """
    try:
        parsed = make_url(url)
        driver = _DRIVERS[parsed.drivername]
    except (ArgumentError, ValueError, KeyError):
        raise ConfigurationError(
            "database url",
            expected="sqlite:///file.db or postgresql://user:password@host:port/name",
            found=f"another form, which begins with {url.partition(':')[0][:30]!r}",
            remedy="Set ACIE_DATABASE__URL.",
        ) from None
    if driver.startswith("sqlite") and parsed.database in (None, "", ":memory:"):
        raise ConfigurationError(
            "database url",
            expected="a file",
            found="SQLite in memory, which transactions cannot share",
            remedy="Name a file: sqlite:///acie.db.",
        )
    return parsed.set(drivername=driver)


class Database:
    """A pool of connections, opened when first needed.

    Arguments:
        url: As :func:`async_url` takes it.
        patience_s: Seconds that connecting, or waiting for a free connection, may take.
        pool_size: Most connections.
    """

    def __init__(self, url: str, patience_s: float = 5.0, pool_size: int = 4) -> None:
        self.url = async_url(url)
        self._patience_s = patience_s
        self._engine = _engine(self.url, patience_s, pool_size)

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._engine.dialect.name

    @property
    def engine(self) -> AsyncEngine:
        """The engine of SQLAlchemy."""
        return self._engine

    @asynccontextmanager
    async def transaction(self, **options: Any) -> AsyncIterator[AsyncConnection]:
        """A connection whose work is committed at the end, or undone by an error."""
        async with self._engine.connect() as connection:
            if options:
                connection = await connection.execution_options(**options)
            async with connection.begin():
                yield connection

    async def ping(self) -> bool:
        """Whether the database answers in time."""
        try:
            async with asyncio.timeout(self._patience_s), self._engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
        except Exception:
            return False
        return True

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


def _engine(url: URL, patience_s: float, pool_size: int) -> AsyncEngine:
    if url.drivername.startswith("sqlite"):
        engine = create_async_engine(url)
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        return engine
    return create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=patience_s,
        # A connection that died with its server is replaced before it is used.
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": max(2, round(patience_s)),
            "application_name": "acie",
            # Poolers that lend a connection per transaction know no prepared statements.
            "prepare_threshold": None,
            "options": f"-c statement_timeout={round(patience_s * 6000)}",
        },
    )


def _prepare_sqlite(connection: Any, record: object) -> None:
    # The driver would commit before DDL and begin late; transactions are begun here instead.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
    _write_ahead(cursor)
    # What is committed survives a power cut.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _write_ahead(cursor: Any) -> None:
    """Let readers not stop the writer.

    Only the first connection to a file changes anything, and for that it must be alone: unlike
    all else it does not wait for the others by itself.
    """
    end = time.monotonic() + _BUSY_MS / 1e3
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
            # The others may need this thread's event loop to come to their end.
            await_only(asyncio.sleep(0.02))


def _begin_sqlite(connection: Any) -> None:
    # A transaction that reads and then writes must take its lock at once, or it can fail midway.
    options = connection.get_execution_options()
    connection.exec_driver_sql(options.get("sqlite_begin", "BEGIN"))
