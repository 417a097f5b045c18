"""``/api/v2/graph``: the causal graph as data."""

__all__ = ["router"]

import math
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from acie.serving.rest.dependencies import ServiceOf
from acie.serving.rest.documents import problems
from acie.serving.rest.wire import Wanted, reply
from acie.serving.schemas import ModelBody

router = APIRouter(prefix="/api/v2", tags=["models"])


class VariableBody(BaseModel):
    """A variable of the causal model."""

    name: str
    symbol: str = Field(description="LaTeX, without dollars.")
    unit: str
    support: list[float | None] = Field(description="Smallest and largest value; null if open.")
    transform: str = Field(description="Scale on which it is additive: identity or log10.")
    kind: str
    description: str
    intervenable: bool = Field(description="Whether it may be acted on.")
    aliases: list[str]


class EdgeBody(BaseModel):
    """A direct cause and its effect."""

    cause: str
    effect: str


class MechanismBody(BaseModel):
    """How a variable follows from its causes and from noise."""

    variable: str
    kind: str
    causes: list[str]
    source: str = Field(description="Paper that it is taken from; empty where derived.")


class GraphBody(BaseModel):
    """A causal model; variables are in causal order."""

    model: ModelBody
    variables: list[VariableBody]
    edges: list[EdgeBody]
    mechanisms: list[MechanismBody]


@router.get(
    "/graph", response_model=GraphBody, responses=problems(404, 406, 422, 503),
    operation_id="graph",
)  # fmt: skip
async def graph(
    kind: Wanted,
    service: ServiceOf,
    model_version: Annotated[str, Query(max_length=200)] = "latest",
) -> Response:
    """The causal graph of a model, with the declaration of every variable."""
    model = service.registry.find(model_version)
    scm = model.engine.scm
    variables = [
        {
            "name": v.name,
            "symbol": v.symbol,
            "unit": v.unit,
            "support": [bound if math.isfinite(bound) else None for bound in v.support],
            "transform": v.transform,
            "kind": v.kind,
            "description": v.description,
            "intervenable": v.intervenable,
            "aliases": [alias for alias, name in scm.aliases.items() if name == v.name],
        }
        for v in scm.variables.values()
    ]
    edges = [
        {"cause": cause, "effect": name}
        for name in scm.variables
        for cause in scm.graph.parents(name)
    ]
    mechanisms = [
        {
            "variable": name,
            "kind": type(mechanism).__name__.removesuffix("Mechanism"),
            "causes": list(scm.graph.parents(name)),
            "source": scm.variables[name].source,
        }
        for name, mechanism in scm.mechanisms.items()
    ]
    content = {"model": model.identity, "variables": variables, "edges": edges}
    return reply(content | {"mechanisms": mechanisms}, kind)
