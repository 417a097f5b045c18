"""The tables, declared once; the migrations must lead to the same (a test compares them)."""

__all__ = ["api_keys", "inferences", "metadata"]

import datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB


class Moment(TypeDecorator):
    """A moment in UTC; SQLite, which knows no time zones, holds the digits of UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(
        self, value: datetime.datetime | None, dialect: Dialect
    ) -> datetime.datetime | None:
        """Aware moments only: a naive one would be read in the zone of whoever reads it."""
        if value is None:
            return None
        value = value.astimezone(datetime.UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(
        self, value: datetime.datetime | None, dialect: Dialect
    ) -> datetime.datetime | None:
        """In UTC, whatever zone the session of the database has."""
        if value is None:
            return None
        if value.tzinfo is None:
            return value.replace(tzinfo=datetime.UTC)
        return value.astimezone(datetime.UTC)


#: Queryable in PostgreSQL, text in SQLite.
_Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

inferences = Table(
    "inferences",
    metadata,
    Column("id", Uuid, primary_key=True, comment="Made by the service: writing again is harmless"),
    Column("time", Moment, nullable=False),
    Column("request_id", String(128), nullable=False),
    Column("principal", String(200), nullable=False),
    Column("transport", String(16), nullable=False),
    Column("model_name", String(200), nullable=False),
    Column("model_version", String(64), nullable=False),
    Column("model_digest", String(64), nullable=False),
    Column("observation_digest", String(64), nullable=False),
    Column("observation", LargeBinary, comment="msgpack, only where settings ask for it"),
    Column("intervention", Text, nullable=False),
    Column("hold", Text, nullable=False),
    Column("samples", Integer),
    Column("seed", BigInteger),
    Column("redshift", Double),
    Column("summary", _Json, comment="Medians of the latent state in both worlds"),
    Column("latency_ms", Double, nullable=False),
    Column("confidence", Double),
    Column("quality", BigInteger, nullable=False, comment="Bits of acie.QualityFlag"),
    Column("status", String(8), nullable=False, comment="ok or error"),
    Column("error", String(64), comment="Kind of the error"),
    Column("cached", Boolean, nullable=False),
    Column("gpu_memory_bytes", BigInteger),
)
# The order of the listing is (time, id), newest first; retention deletes from its other end.
Index(None, inferences.c.time, inferences.c.id)
Index(None, inferences.c.principal, inferences.c.time, inferences.c.id)
Index(None, inferences.c.model_name, inferences.c.time, inferences.c.id)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("hash", String(128), nullable=False, comment="Of the key, which is stored nowhere"),
    Column("name", String(200), nullable=False),
    Column("scopes", String(200), nullable=False, comment="Separated by spaces, as in OAuth"),
    Column("created", Moment, nullable=False),
    Column("revoked", Moment),
    Column("last_used", Moment),
)
Index(None, api_keys.c.hash, unique=True)
