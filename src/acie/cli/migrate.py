"""``acie migrate``: the database of the service, brought to this version."""

__all__ = ["run"]

import asyncio
import time
from pathlib import Path
from typing import Any

import typer

from acie.cli.database import database_trouble
from acie.cli.serve import read_settings
from acie.errors import ConfigurationError

_POLL_S = 1.0


def run(config: Path | None, wait_s: float, check: bool) -> int:
    """Migrate, or say whether that is needed.

    Arguments:
        config: YAML with settings.
        wait_s: Seconds that the database has to come up.
        check: Change nothing; 1 is returned where a migration is needed.

    Raises:
        ConfigurationError: The database cannot be used.
    """
    settings = read_settings(config)
    return asyncio.run(_run(settings.database.url.get_secret_value(), wait_s, check))


async def _run(url: str, wait_s: float, check: bool) -> int:
    from acie.serving.storage import Database, is_current, upgrade

    database = Database(url)
    try:
        await _wait_for(database, wait_s)
        with database_trouble():
            current = await is_current(database)
            if not (current or check):
                await upgrade(database)
    finally:
        await database.close()
    if current:
        typer.echo("the database is current")
    elif check:
        typer.echo("the database needs a migration: acie migrate")
    else:
        typer.echo("the database is migrated")
    return int(check and not current)


async def _wait_for(database: Any, wait_s: float) -> None:
    end = time.monotonic() + wait_s
    while not await database.ping():
        if time.monotonic() > end:
            raise ConfigurationError(
                "database.url",
                expected=f"a database that answers within {wait_s:.0f} s",
                found="none",
                remedy="Set ACIE_DATABASE__URL; --wait gives it time.",
            )
        await asyncio.sleep(_POLL_S)
