"""``/api/v2/models/NAME/versions/VERSION``: how a model was made, and what was measured of it."""

__all__ = ["router"]

import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field

from acie.serving.evaluations import model_card
from acie.serving.rest.dependencies import ResourcesOf
from acie.serving.rest.documents import problems
from acie.serving.rest.models import LoadedModelBody, standing
from acie.serving.rest.wire import Wanted, reply
from acie.serving.schemas import ModelBody

router = APIRouter(prefix="/api/v2/models/{name}/versions/{version}", tags=["models"])

_Part = Annotated[str, Path(max_length=200)]


class ModelDetailBody(LoadedModelBody):
    """A loaded model, and how it was made."""

    loaded: datetime.datetime
    training: dict[str, Any] = Field(description="Settings of the training, from the manifest.")
    metrics: dict[str, Any] = Field(description="What was measured while it was made.")
    parameters: int = Field(description="Numbers in its networks.")
    variables: int
    card: str | None = Field(description="Its model card, Markdown.")


class VerdictBody(BaseModel):
    """A criterion, and whether the model meets it."""

    criterion: str
    measured: str
    sampling_error: str
    required: str
    verdict: Literal["pass", "fail", "open"]


class RecoveryBody(BaseModel):
    """How well a variable is recovered, on its natural scale."""

    unit: str
    scatter: float | None
    scatter_error: float | None
    bias: float | None
    bias_error: float | None
    coverage_68: float | None
    coverage_error: float | None
    gain: float | None = Field(description="Spread of the population over the scatter.")


class RanksBody(BaseModel):
    """Ranks of the truth among draws, which are uniform if the posterior is right."""

    ranked: int = Field(description="Draws that it is ranked among.")
    counts: dict[str, list[int]]
    p: dict[str, float | None]
    p_bonferroni: dict[str, float | None]


class CoverageBody(BaseModel):
    """How often intervals of every level hold the truth."""

    levels: list[float]
    curves: dict[str, list[float]]
    largest_deviation: dict[str, float]
    at_level: dict[str, float]
    expected: float = Field(description="Typical largest deviation of a perfect model.")
    limit: float = Field(description="Exceeded by a perfect model in 1 % of evaluations.")


class EvaluationBody(BaseModel):
    """The report of ``acie evaluate``, without drawn values; docs/evaluation.md explains it."""

    source: Literal["bundle", "registry"]
    acie: str
    model: ModelBody
    count: int = Field(description="Simulated galaxies that were measured.")
    seconds: float | None
    survey: dict[str, Any]
    verdicts: list[VerdictBody]
    recovery: dict[str, RecoveryBody]
    sbc: RanksBody
    coverage: CoverageBody
    tarp: dict[str, Any] | None
    predictive: dict[str, Any] | None
    efficiency: dict[str, Any] | None
    counterfactuals: list[dict[str, Any]] | None
    laws: dict[str, Any] | None
    binned: dict[str, Any] | None


@router.get(
    "",
    response_model=ModelDetailBody,
    responses=problems(404, 406, 422, 503),
    operation_id="get_model",
)
async def detail(name: _Part, version: _Part, kind: Wanted, resources: ResourcesOf) -> Response:
    """How a loaded model was made."""
    model = resources.service.registry.find(f"{name}@{version}")
    bundle = model.engine.bundle
    loaded = datetime.datetime.fromtimestamp(model.loaded, datetime.UTC)
    content = standing(resources, model) | {
        "loaded": loaded.isoformat(),
        "training": bundle.training,
        "metrics": bundle.metrics,
        "parameters": sum(tensor.numel() for tensor in bundle.estimator.state_dict().values()),
        "variables": len(model.engine.scm.variables),
        "card": model_card(model),
    }
    return reply(content, kind)


@router.get(
    "/evaluation",
    response_model=EvaluationBody,
    responses=problems(404, 406, 422, 503),
    operation_id="get_evaluation",
)
async def evaluation(
    name: _Part, version: _Part, kind: Wanted, resources: ResourcesOf
) -> Response:
    """What was measured of a loaded model; 404 where there is no evaluation of its digest."""
    model = resources.service.registry.find(f"{name}@{version}")
    return reply(await resources.evaluations.find(model), kind)
