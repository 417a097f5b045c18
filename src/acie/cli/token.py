"""``acie token``: API keys of the service."""

__all__ = ["create", "revoke", "show"]

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import typer

from acie.cli.database import database_trouble
from acie.cli.output import table
from acie.cli.serve import read_settings
from acie.errors import ConfigurationError


def create(name: str, scopes: tuple[str, ...], config: Path | None, json_output: bool) -> None:
    """Make a key and print it.

    Raises:
        ConfigurationError: A name or scope that cannot be.
    """
    settings = read_settings(config)
    from acie.serving.request import ALL_SCOPES
    from acie.serving.security import hash_of, make_key

    if not name.isprintable() or not 0 < len(name) <= 100:
        raise ConfigurationError(
            "name", expected="1 to 100 printable characters", found=repr(name[:100])
        )
    unknown = sorted(set(scopes) - set(ALL_SCOPES))
    if unknown:
        raise ConfigurationError(
            "--scope", expected=", ".join(ALL_SCOPES), found=", ".join(unknown)
        )
    key = make_key()
    record = _with_keys(settings, lambda keys: keys.create_key(hash_of(key), name, scopes))
    if json_output:
        typer.echo(json.dumps({"key": key, **_facts(record)}))
        return
    typer.echo(key)
    typer.echo(
        f"key {record.id} for {name}, may {' and '.join(scopes)}. "
        "It is not shown again; send it as X-API-Key.",
        err=True,
    )


def show(config: Path | None, json_output: bool) -> None:
    """Print all keys."""
    records = _with_keys(read_settings(config), lambda keys: keys.list_keys())
    if json_output:
        typer.echo(json.dumps([_facts(record) for record in records]))
        return
    rows = [
        (record.name, str(record.id)[:8], " ".join(record.scopes), _day(record.created),
         _day(record.last_used), _day(record.revoked))
        for record in records
    ]  # fmt: skip
    table("API keys", ("name", "id", "scopes", "created", "last used", "revoked"), rows)


def revoke(id: str, config: Path | None) -> None:
    """Revoke the key whose id begins so.

    Raises:
        ConfigurationError: There is none, or several.
    """

    async def work(keys: Any) -> Any:
        found = [one for one in await keys.list_keys() if str(one.id).startswith(id.lower())]
        alive = [one for one in found if one.revoked is None]
        if len(alive) != 1 or len(id) < 4:
            raise ConfigurationError(
                "id",
                expected="the beginning, 4 characters or more, of one key's id",
                found=f"{len(alive)} that work and {len(found) - len(alive)} revoked for {id!r}",
                remedy="acie token list shows them.",
            )
        await keys.revoke_key(alive[0].id)
        return alive[0]

    record = _with_keys(read_settings(config), work)
    typer.echo(f"revoked {record.id} of {record.name}")


def _with_keys(settings: Any, work: Callable[[Any], Awaitable[Any]]) -> Any:
    """What ``work`` returns for the repository of keys.

    Raises:
        ConfigurationError: The database cannot be used.
    """
    from acie.serving.storage import ApiKeyRepository, Database, upgrade

    async def run() -> Any:
        database = Database(settings.database.url.get_secret_value())
        try:
            with database_trouble():
                await upgrade(database)
                return await work(ApiKeyRepository(database))
        finally:
            await database.close()

    return asyncio.run(run())


def _facts(record: Any) -> dict[str, Any]:
    moments = ("created", "last_used", "revoked")
    return {
        "id": str(record.id),
        "name": record.name,
        "scopes": list(record.scopes),
        **{name: m.isoformat() if (m := getattr(record, name)) else None for name in moments},
    }


def _day(moment: Any) -> str:
    return f"{moment:%Y-%m-%d}" if moment else "-"
