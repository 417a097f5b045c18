"""API keys: only their hashes are stored."""

__all__ = ["ApiKey", "ApiKeyRepository"]

import datetime
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Row, bindparam, insert, select, update

from acie.serving.storage.database import Database
from acie.serving.storage.tables import api_keys


@dataclass(frozen=True)
class ApiKey:
    """What is known of a key.

    Arguments:
        id: Its name for revoking it; not secret.
        hash: Hash of the key.
        name: Who or what it is for.
        scopes: What it allows.
        created: When it was made.
        revoked: When it was revoked, or None.
        last_used: When it was last used, to within the interval at which that is written.
    """

    id: uuid.UUID
    hash: str
    name: str
    scopes: tuple[str, ...]
    created: datetime.datetime
    revoked: datetime.datetime | None = None
    last_used: datetime.datetime | None = None


class ApiKeyRepository:
    """Keys in the database.

    Arguments:
        database: Where.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create_key(self, hash: str, name: str, scopes: Iterable[str]) -> ApiKey:
        """Store a new key.

        Raises:
            sqlalchemy.exc.IntegrityError: There is a key of that hash.
        """
        key = ApiKey(uuid.uuid4(), hash, name, tuple(scopes), datetime.datetime.now(datetime.UTC))
        values = {**vars(key), "scopes": " ".join(key.scopes)}
        async with self._database.transaction() as connection:
            await connection.execute(insert(api_keys), values)
        return key

    async def find_key(self, hash: str) -> ApiKey | None:
        """The key of a hash, revoked or not; the caller must look at ``revoked``."""
        async with self._database.transaction() as connection:
            found = await connection.execute(select(api_keys).where(api_keys.c.hash == hash))
            row = found.one_or_none()
        return None if row is None else _key(row)

    async def revoke_key(self, id: uuid.UUID) -> bool:
        """Revoke a key; whether there was one that was not revoked before."""
        now = datetime.datetime.now(datetime.UTC)
        statement = update(api_keys).where(api_keys.c.id == id, api_keys.c.revoked.is_(None))
        async with self._database.transaction() as connection:
            done = await connection.execute(statement.values(revoked=now))
        return done.rowcount == 1

    async def list_keys(self) -> list[ApiKey]:
        """All keys, the oldest first."""
        order = api_keys.c.created, api_keys.c.id
        async with self._database.transaction() as connection:
            rows = (await connection.execute(select(api_keys).order_by(*order))).all()
        return [_key(row) for row in rows]

    async def touch_keys(self, moments: Mapping[uuid.UUID, datetime.datetime]) -> None:
        """Note when keys were last used; several at once, off the path of requests."""
        if not moments:
            return
        statement = (
            update(api_keys)
            .where(api_keys.c.id == bindparam("key"))
            .values(last_used=bindparam("moment"))
        )
        # Always in one order, so that two replicas cannot wait for each other's rows.
        rows = [{"key": id, "moment": moments[id]} for id in sorted(moments)]
        async with self._database.transaction() as connection:
            await connection.execute(statement, rows)


def _key(row: Row) -> ApiKey:
    values = dict(row._mapping)
    return ApiKey(**(values | {"scopes": tuple(values["scopes"].split())}))
