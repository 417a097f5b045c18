"""``/api/v2/inferences``: what was asked and answered, from the database."""

__all__ = ["router"]

import base64
import binascii
import datetime
import enum
import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from acie.errors import ConfigurationError
from acie.results import QualityFlag
from acie.serving.request import Principal, current_request
from acie.serving.rest.dependencies import ResourcesOf
from acie.serving.rest.documents import problems
from acie.serving.rest.wire import Wanted, reply
from acie.serving.schemas import ModelBody
from acie.serving.security.refusals import forbidden
from acie.serving.storage import InferenceFilter

router = APIRouter(prefix="/api/v2/inferences", tags=["log"])

def _written_out(value: object) -> object:
    """Refuse seconds since 1970, which pydantic would take: the contract says RFC 3339."""
    if isinstance(value, str) and "-" not in value.strip()[1:]:
        raise ValueError("expected a moment such as 2026-01-31T12:00:00Z")
    return value


#: Text without the one character that PostgreSQL has none of.
_Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]
# Moments outside these have no UTC, or none that a database takes.
_Moment = Annotated[
    AwareDatetime,
    BeforeValidator(_written_out),
    Field(
        ge=datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC),
        le=datetime.datetime(9000, 1, 1, tzinfo=datetime.UTC),
    ),
]
Flag = enum.StrEnum("Flag", {flag.name: flag.name for flag in QualityFlag if flag.name})


class Wish(BaseModel):
    """Filters of the listing, all of which must hold."""

    model_config = ConfigDict(extra="forbid")

    since: _Moment | None = Field(None, description="Not older than this; with a time zone.")
    until: _Moment | None = Field(None, description="Older than this; with a time zone.")
    model: _Name | None = Field(None, description="Name of the model.")
    principal: _Name | None = Field(
        None, description="Who asked, as kind:name; others than oneself need the scope admin."
    )
    min_confidence: float | None = Field(None, ge=0.0, le=1.0)
    quality: list[Flag] = Field([], max_length=32, description="Any of these flags is set.")
    status: Literal["ok", "error"] | None = None
    request_id: _Name | None = None
    limit: int = Field(50, ge=1, le=500, description="Most records of a page.")
    cursor: str | None = Field(None, max_length=100, description="next of the page before.")


class InferenceBody(BaseModel):
    """One question, and what came of it."""

    id: uuid.UUID
    time: datetime.datetime
    request_id: str
    principal: str
    transport: str
    model: ModelBody
    observation_digest: str
    intervention: str
    hold: str
    samples: int | None
    seed: int | None
    redshift: float | None
    summary: dict[str, dict[str, float | None]] | None = Field(
        description="Medians of the latent state in both worlds."
    )
    latency_ms: float
    confidence: float | None
    quality: list[str]
    status: Literal["ok", "error"]
    error: str | None
    cached: bool
    gpu_memory_bytes: int | None


class InferencesBody(BaseModel):
    """A page of the log, the newest first."""

    inferences: list[InferenceBody]
    next: str | None = Field(description="Cursor of the next page; null on the last.")


@router.get(
    "",
    response_model=InferencesBody,
    responses=problems(401, 403, 406, 422, 503),
    operation_id="list_inferences",
)
async def inferences(
    kind: Wanted, wish: Annotated[Wish, Query()], resources: ResourcesOf
) -> Response:
    """What was asked and answered, the newest first; without the scope admin, one's own.

    Records appear within about a second. Pages do not shift when new records come: ``next`` leads
    on from where the page ended.
    """
    wanted = InferenceFilter(
        since=wish.since,
        until=wish.until,
        model=wish.model,
        principal=_visible(wish.principal, current_request().principal),
        min_confidence=wish.min_confidence,
        quality=sum({int(QualityFlag[flag.value]) for flag in wish.quality}) or None,
        status=wish.status,
        request_id=wish.request_id,
    )
    after = None if wish.cursor is None else _place(wish.cursor)
    # One more than asked for tells whether there is another page.
    rows = await resources.log.repository.page(wanted, after, wish.limit + 1)
    shown = rows[: wish.limit]
    more = _cursor(shown[-1]) if len(rows) > len(shown) else None
    return reply({"inferences": [_body(row) for row in shown], "next": more}, kind)


def _visible(asked: str | None, caller: Principal) -> str | None:
    """Whose records are listed."""
    own = f"{caller.kind}:{caller.name}"[:200]
    if "admin" in caller.scopes:
        return asked
    if asked not in (None, own):
        raise forbidden("admin")
    return own


def _cursor(row: dict[str, Any]) -> str:
    moment = row["time"].astimezone(datetime.UTC).isoformat(timespec="microseconds")
    return base64.urlsafe_b64encode(f"{moment} {row['id'].hex}".encode()).decode()


def _place(cursor: str) -> tuple[datetime.datetime, uuid.UUID]:
    """Where a page ended."""
    try:
        text = base64.b64decode(cursor, altchars=b"-_", validate=True).decode("ascii")
        moment, _, name = text.partition(" ")
        time = datetime.datetime.fromisoformat(moment)
        if time.tzinfo is None or not 1970 <= time.year <= 9000:
            raise ValueError
        return time, uuid.UUID(hex=name)
    except (ValueError, binascii.Error):
        raise ConfigurationError(
            "cursor",
            expected="next of another page",
            found="something else",
            remedy="Begin without a cursor.",
        ) from None


def _body(row: dict[str, Any]) -> dict[str, Any]:
    parts = ("name", "version", "digest")
    model = {part: row[f"model_{part}"] for part in parts}
    kept = {k: v for k, v in row.items() if not k.startswith("model_")}
    return kept | {
        "id": str(row["id"]),
        "time": row["time"].isoformat(),
        "model": model,
        "quality": list(QualityFlag(row["quality"]).names),
    }
