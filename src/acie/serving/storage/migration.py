"""Bringing a database to the tables of this version."""

__all__ = ["downgrade", "is_current", "upgrade"]

from collections.abc import Callable

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from acie.serving.storage.database import Database

#: Names the lock that one migrating replica holds while the others wait; any fixed number does.
_LOCK = 0x41434945


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", "acie.serving.storage:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


async def upgrade(database: Database, revision: str = "head") -> None:
    """Create or change the tables; several replicas may call this at the same time.

    Everything happens in one transaction: an upgrade that fails leaves the database as it was.
    """
    await _alone(database, lambda c: command.upgrade(_config(c), revision))


async def downgrade(database: Database, revision: str = "base") -> None:
    """Undo migrations, and lose what their tables held."""
    await _alone(database, lambda c: command.downgrade(_config(c), revision))


async def is_current(database: Database) -> bool:
    """Whether the tables are those of this version."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    async with database.transaction() as connection:
        found = await connection.run_sync(
            lambda c: MigrationContext.configure(c).get_current_revision()
        )
    return found == head


async def _alone(database: Database, work: Callable[[Connection], None]) -> None:
    """Run ``work`` while no other replica migrates."""
    async with database.transaction(sqlite_begin="BEGIN IMMEDIATE") as connection:
        if database.dialect == "postgresql":
            # The wait for the others, and a long migration, may exceed the usual limit.
            await connection.execute(text("SET LOCAL statement_timeout = 0"))
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        await connection.run_sync(work)
