"""Is the service alive, and does it want requests?"""

__all__ = ["router"]

from fastapi import APIRouter, Response
from pydantic import BaseModel

from acie.serving.rest.dependencies import ResourcesOf
from acie.serving.rest.wire import JSON, reply
from acie.serving.schemas import ModelBody

router = APIRouter(tags=["health"])


class HealthBody(BaseModel):
    """State of the process."""

    status: str
    models: list[ModelBody] = []


_NOT_READY = {503: {"model": HealthBody, "description": "Starting, or about to stop."}}


@router.get("/health/live", response_model=HealthBody, operation_id="live")
async def live() -> Response:
    """The process answers."""
    return reply({"status": "live", "models": []}, JSON)


@router.get("/health/ready", response_model=HealthBody, responses=_NOT_READY, operation_id="ready")
@router.get("/health", response_model=HealthBody, responses=_NOT_READY, operation_id="health")
async def ready(resources: ResourcesOf) -> Response:
    """New requests are welcome."""
    if not resources.ready:
        return reply({"status": "not ready", "models": []}, JSON, 503)
    models = [model.identity for model in resources.service.registry.models]
    return reply({"status": "ready", "models": models}, JSON)
