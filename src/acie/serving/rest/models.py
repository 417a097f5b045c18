"""``/api/v2/models``: what is loaded, and its replacement while requests are answered."""

__all__ = ["LoadedModelBody", "router", "standing"]

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from acie.serving.registry import NAME, LoadedModel, find_source
from acie.serving.resources import Resources
from acie.serving.rest.dependencies import ResourcesOf, ServiceOf
from acie.serving.rest.documents import body_of, problems
from acie.serving.rest.idempotency import once
from acie.serving.rest.wire import Wanted, decoded, reply
from acie.serving.schemas import ModelBody

router = APIRouter(prefix="/api/v2/models", tags=["models"])

_Pattern = rf"^{NAME}$"
_Part = Annotated[str, Path(max_length=200)]


class LoadedModelBody(ModelBody):
    """A loaded model."""

    latest: bool = Field(description="Whether it answers requests that name no version of it.")
    default: bool = Field(description="Whether it answers requests that name no model.")
    aliases: list[str] = Field(description="What it is called in the registry, if it has one.")


class ModelsBody(BaseModel):
    """All loaded models."""

    models: list[LoadedModelBody]


class LoadBody(BaseModel):
    """A model to load."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(pattern=_Pattern, description="Such as galaxy-v1.")
    version: str | None = Field(None, pattern=_Pattern, description="The newest when left out.")


@router.get(
    "", response_model=ModelsBody, responses=problems(406, 503), operation_id="list_models"
)
async def models(kind: Wanted, resources: ResourcesOf) -> Response:
    """Loaded models."""
    content = [standing(resources, model) for model in resources.service.registry.models]
    return reply({"models": content}, kind)


def standing(resources: Resources, model: LoadedModel) -> dict[str, Any]:
    """What a model is among the loaded ones, and what it is called."""
    registry = resources.service.registry
    return model.identity | {
        "latest": model is registry.find(model.name),
        "default": model is registry.find("latest"),
        "aliases": resources.aliases(model),
    }


@router.post(
    "",
    response_model=ModelBody,
    status_code=201,
    responses=problems(400, 404, 406, 409, 413, 415, 422, 503),
    openapi_extra=body_of(LoadBody),
    operation_id="load_model",
)
async def load(
    request: Request,
    kind: Wanted,
    body: Annotated[LoadBody, decoded(LoadBody)],
    resources: ResourcesOf,
) -> Response:
    """Load a model and warm it up; then it is the latest of its name.

    Requests are answered all the while: by its predecessor until it is ready, which finishes what
    it has begun. Only models that ship with ACIE or lie in the models folder can be loaded.
    """

    async def compute() -> Response:
        folder = resources.settings.inference.models_folder
        source = find_source(body.name, body.version, folder)
        model = await resources.service.load(source)
        place = f"{router.prefix}/{model.name}/versions/{model.version}"
        return reply(model.identity, kind, 201, {"Location": place})

    return await once(request, compute)


@router.delete(
    "/{name}/versions/{version}",
    status_code=204,
    response_class=Response,
    responses=problems(404, 409, 422, 503),
    operation_id="unload_model",
)
async def unload(name: _Part, version: _Part, service: ServiceOf) -> Response:
    """Forget a version that is not the latest of its name."""
    service.registry.remove(name, version)
    return Response(status_code=204)
