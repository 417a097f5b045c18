"""``/metrics`` for Prometheus, ``/api/metrics`` for the dashboard."""

__all__ = ["router"]

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from acie.serving.metrics import dashboard
from acie.serving.rest.dependencies import ResourcesOf
from acie.serving.rest.documents import problems
from acie.serving.rest.wire import JSON, reply
from acie.serving.schemas import ModelBody

router = APIRouter(tags=["metrics"])


class ConfidenceBody(BaseModel):
    """Distribution of the confidence of the answers of the last hour."""

    edges: list[float] = Field(description="Upper edges of the bins; the first begins at 0.")
    counts: list[int]


class RequestsBody(BaseModel):
    """Questions since the start, and of the last minute."""

    total: int
    per_second: float
    outcomes: dict[str, int] = Field(description="ok, or the kind of the problem.")
    in_flight: int


class DatabaseBody(BaseModel):
    """The log of inferences."""

    waiting: int
    written: int
    dropped: int
    healthy: bool


class MonitoredModelBody(ModelBody):
    """A loaded model, and how its questions look."""

    metrics: dict[str, Any]
    drift: dict[str, float] = Field(description="By variable; empty for too few galaxies.")
    aliases: list[str]


class MetricsBody(BaseModel):
    """State of the service."""

    version: str
    uptime_s: float
    requests: RequestsBody
    latency_ms: dict[str, float | None]
    stages_ms: dict[str, float]
    queue: dict[str, int]
    batches: dict[str, float | None]
    cache: dict[str, float | None]
    database: DatabaseBody
    dependencies: dict[str, bool]
    answers: dict[str, float | None]
    confidence: ConfidenceBody
    quality_flags: dict[str, int]
    gpu_utilization_percent: dict[str, float] | None
    models: list[MonitoredModelBody]


@router.get("/metrics", operation_id="prometheus", response_class=Response)
async def prometheus(request: Request, resources: ResourcesOf) -> Response:
    """All metrics, as Prometheus reads them."""
    body, kind = resources.meters.text(request.headers.get("accept", ""))
    return Response(body, headers={"Content-Type": kind})


@router.get(
    "/api/metrics", response_model=MetricsBody, operation_id="metrics",
    responses=problems(401, 403),
)  # fmt: skip
async def metrics(resources: ResourcesOf) -> Response:
    """Requests, latency, queue, cache, models: what the dashboard shows."""
    own = resources
    shown = dashboard(own.meters, own.service, own.cache, own.log, own.watch.up, own.aliases)
    return reply(shown, JSON)


class LatencyBody(BaseModel):
    """Quantiles of the time from question to answer, ms."""

    p50: float | None
    p90: float | None
    p99: float | None


class SpreadBody(BaseModel):
    """Median and central 68 % of the confidence."""

    p16: float | None
    median: float | None
    p84: float | None


class StepBody(BaseModel):
    """One step of the past; null where nothing was asked, or nobody looked."""

    time: float = Field(description="When it began, seconds since 1970.")
    requests: int
    per_second: float
    errors: dict[str, int] = Field(description="Questions without an answer by kind of problem.")
    latency_ms: LatencyBody
    queue: float | None = Field(description="Most galaxies that waited.")
    in_flight: float | None = Field(description="Most calls being answered.")
    drift: float | None = Field(description="Largest index of any variable and model.")
    reused: float | None = Field(description="Share of answers that were there already.")
    flagged: float | None = Field(description="Share of answers with a quality flag.")
    confidence: SpreadBody


class HistoryBody(BaseModel):
    """The past of this process, the oldest step first; the last one has only begun."""

    step_s: float
    points: list[StepBody]


class Past(BaseModel):
    """How far to look back, and how closely."""

    model_config = ConfigDict(extra="forbid")

    window_s: float = Field(900.0, ge=60.0, le=3600.0, description="Seconds to look back.")
    points: int = Field(120, ge=2, le=720, description="Most steps.")


@router.get(
    "/api/metrics/history", response_model=HistoryBody, operation_id="metrics_history",
    responses=problems(401, 403, 422),
)  # fmt: skip
async def history(past: Annotated[Past, Query()], resources: ResourcesOf) -> Response:
    """Latency, throughput, errors, load, confidence and drift of the last hour, of this process.

    Longer, and over several replicas: Prometheus reads ``/metrics`` of each.
    """
    return reply(resources.meters.history.series(past.window_s, past.points), JSON)
