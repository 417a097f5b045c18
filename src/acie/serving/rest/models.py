"""``/api/v2/models`` and ``/api/v2/graph``."""

__all__ = ["router"]

from typing import Any

from fastapi import APIRouter

from acie.serving.rest.dependencies import ServiceOf

router = APIRouter(prefix="/api/v2", tags=["models"])


@router.get("/models")
async def models(service: ServiceOf) -> dict[str, Any]:
    """Loaded models; ``latest`` answers where a request names none."""
    latest = service.registry.find("latest")
    return {
        "models": [model.identity | {"latest": model is latest}
                   for model in service.registry.models]
    }  # fmt: skip


@router.get("/graph")
async def graph(service: ServiceOf, model_version: str = "latest") -> dict[str, Any]:
    """The causal graph as data."""
    scm = service.registry.find(model_version).engine.scm
    return {
        "variables": [
            {"name": v.name, "unit": v.unit, "kind": v.kind, "description": v.description}
            for v in scm.variables.values()
        ],
        "edges": [
            {"cause": parent, "effect": name}
            for name in scm.variables
            for parent in scm.graph.parents(name)
        ],
    }
