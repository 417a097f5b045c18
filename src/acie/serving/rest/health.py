"""Is the service alive, and does it want requests?"""

__all__ = ["router"]

from typing import Any

from fastapi import APIRouter, Response

from acie.serving.rest.dependencies import ResourcesOf

router = APIRouter(tags=["health"])


@router.get("/health/live")
async def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "live"}


@router.get("/health/ready")
@router.get("/health")
async def ready(resources: ResourcesOf, response: Response) -> dict[str, Any]:
    """New requests are welcome."""
    if not resources.ready:
        response.status_code = 503
        return {"status": "not ready"}
    return {"status": "ready", "models": [m.identity for m in resources.service.registry.models]}
