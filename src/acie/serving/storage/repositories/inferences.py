"""The log of inferences in the database."""

__all__ = ["InferenceFilter", "InferenceRepository"]

import asyncio
import datetime
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError
from sqlalchemy.exc import TimeoutError as SQLAlchemyTimeout

from acie.serving.storage.database import Database
from acie.serving.storage.failures import unavailable
from acie.serving.storage.records import InferenceRecord
from acie.serving.storage.tables import inferences

#: Seconds that a listing may take.
_PATIENCE_S = 10.0
#: Columns of a listing: all but the pixels.
_LISTED = [column for column in inferences.c if column.name != "observation"]
#: Where a page ends: moment and id of its last record.
Place = tuple[datetime.datetime, uuid.UUID]


@dataclass(frozen=True)
class InferenceFilter:
    """Which records; None means all.

    Arguments:
        since: Not older than this.
        until: Older than this.
        model: Name of the model.
        principal: Who asked.
        min_confidence: Smallest confidence.
        quality: Bits of which at least one is set.
        status: ``ok`` or ``error``.
        request_id: Of the request.
    """

    since: datetime.datetime | None = None
    until: datetime.datetime | None = None
    model: str | None = None
    principal: str | None = None
    min_confidence: float | None = None
    quality: int | None = None
    status: str | None = None
    request_id: str | None = None

    @property
    def conditions(self) -> list[ColumnElement[bool]]:
        """In SQL, with every value bound."""
        return [
            make(inferences.c, value)
            for name, make in _CONDITIONS.items()
            if (value := getattr(self, name)) is not None
        ]


_CONDITIONS: dict[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "since": lambda c, value: c.time >= value,
    "until": lambda c, value: c.time < value,
    "model": lambda c, value: c.model_name == value,
    "principal": lambda c, value: c.principal == value,
    "min_confidence": lambda c, value: c.confidence >= value,
    "quality": lambda c, value: c.quality.bitwise_and(value) != 0,
    "status": lambda c, value: c.status == value,
    "request_id": lambda c, value: c.request_id == value,
}


class InferenceRepository:
    """Records in the database.

    Arguments:
        database: Where.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, records: Sequence[InferenceRecord]) -> None:
        """Write records in one transaction; those that are there already stay as they are.

        When this returns, they are committed.
        """
        if not records:
            return
        dialect = sqlite if self._database.dialect == "sqlite" else postgresql
        statement = dialect.insert(inferences).on_conflict_do_nothing(index_elements=["id"])
        # In one order everywhere: two replicas that write the same records do not deadlock.
        rows = [one.values for one in sorted(records, key=lambda one: one.id)]
        async with self._database.transaction() as connection:
            await connection.execute(statement, rows)

    async def page(
        self, wanted: InferenceFilter, after: Place | None, limit: int
    ) -> list[dict[str, Any]]:
        """Records, the newest first.

        Arguments:
            wanted: Which.
            after: The last record of the page before.
            limit: Most records.

        Raises:
            StorageUnavailable: The database does not answer.
        """
        key = inferences.c.time, inferences.c.id
        query = select(*_LISTED).where(*wanted.conditions)
        if after is not None:
            query = query.where(tuple_(*key) < tuple_(*after, types=[c.type for c in key]))
        query = query.order_by(*(column.desc() for column in key)).limit(limit)
        try:
            async with asyncio.timeout(_PATIENCE_S), self._database.transaction() as connection:
                rows = (await connection.execute(query)).mappings().all()
        except (DBAPIError, SQLAlchemyTimeout, TimeoutError, OSError) as error:
            raise unavailable(error) from None
        # The keys are a kind of text that not every encoder takes for text.
        return [{str(name): value for name, value in row.items()} for row in rows]

    async def count(self, wanted: InferenceFilter | None = None) -> int:
        """How many records there are."""
        conditions = wanted.conditions if wanted is not None else []
        query = select(func.count()).select_from(inferences).where(*conditions)
        async with self._database.transaction() as connection:
            return (await connection.execute(query)).scalar_one()

    async def delete_before(self, moment: datetime.datetime, limit: int) -> int:
        """Delete up to ``limit`` of the oldest records before a moment; how many there were."""
        old = (
            select(inferences.c.id)
            .where(inferences.c.time < moment)
            .order_by(inferences.c.time)
            .limit(limit)
        )
        if self._database.dialect == "postgresql":
            old = old.with_for_update(skip_locked=True)  # replicas share the work
        async with self._database.transaction(sqlite_begin="BEGIN IMMEDIATE") as connection:
            done = await connection.execute(delete(inferences).where(inferences.c.id.in_(old)))
        return done.rowcount

    @staticmethod
    def refuses(error: Exception) -> bool:
        """Whether an error of :meth:`write` is about the records: trying again is no use."""
        if isinstance(error, DataError | IntegrityError | ValueError | TypeError | OverflowError):
            return True
        return isinstance(error, StatementError) and not isinstance(error, DBAPIError)
