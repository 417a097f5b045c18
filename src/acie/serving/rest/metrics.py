"""``/metrics`` for Prometheus, ``/api/metrics`` for the dashboard."""

__all__ = ["router"]

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from acie.serving.metrics import dashboard
from acie.serving.rest.dependencies import ResourcesOf
from acie.serving.rest.documents import problems
from acie.serving.rest.wire import JSON, reply

router = APIRouter(tags=["metrics"])


class MetricsBody(BaseModel):
    """State of the service."""

    version: str
    uptime_s: float
    requests: dict[str, Any]
    latency_ms: dict[str, float | None]
    stages_ms: dict[str, float]
    queue: dict[str, int]
    batches: dict[str, float | None]
    cache: dict[str, float | None]
    database: dict[str, Any]
    dependencies: dict[str, bool]
    answers: dict[str, float | None]
    quality_flags: dict[str, int]
    gpu_utilization_percent: dict[str, float] | None
    models: list[dict[str, Any]]


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
    return reply(dashboard(own.meters, own.service, own.cache, own.log, own.watch.up), JSON)
