"""``acie migrate``, and what other commands do in the database of the service."""

__all__ = ["migrate", "with_database"]

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import typer

from acie.cli.serve import read_settings
from acie.errors import ConfigurationError


def migrate(config: Path | None) -> None:
    """Bring the database to the tables of this version, and say whether they were.

    Raises:
        ConfigurationError: The database cannot be used, or a setting is wrong.
    """
    from acie.serving.storage import is_current, upgrade

    async def work(database: Any) -> bool:
        current = await is_current(database)
        await upgrade(database)
        return current

    current = with_database(read_settings(config), work)
    typer.echo("the database has the tables of this version" + (" already" if current else " now"))


def with_database(settings: Any, work: Callable[[Any], Awaitable[Any]]) -> Any:
    """What ``work`` returns for the database of the settings.

    Raises:
        ConfigurationError: The database cannot be used.
    """
    from acie.serving.storage import Database

    async def run() -> Any:
        database = Database(settings.database.url.get_secret_value())
        try:
            return await work(database)
        except (OSError, RuntimeError) as error:
            raise _unusable(error) from None
        except Exception as error:
            # Errors of the driver hold the statement and its parameters: only their kind is said.
            if type(error).__module__.startswith(("sqlalchemy", "psycopg", "sqlite3")):
                raise _unusable(error) from None
            raise
        finally:
            await database.close()

    return asyncio.run(run())


def _unusable(error: Exception) -> ConfigurationError:
    return ConfigurationError(
        "database.url",
        expected="a database that can be reached and written",
        found=type(error).__name__,
        remedy="Set ACIE_DATABASE__URL to the database of the service.",
    )
