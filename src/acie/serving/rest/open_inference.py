"""``/v2``: the Open Inference Protocol, version 2, for clients that know it and not ACIE.

References:
    Open Inference Protocol, specification/protocol/inference_rest.md (KServe, Triton).
"""

__all__ = ["router"]

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel

import acie
from acie.errors import ConfigurationError
from acie.serving.registry import LoadedModel
from acie.serving.resources import Resources
from acie.serving.rest.dependencies import ResourcesOf, ServiceOf
from acie.serving.rest.documents import body_of, problems
from acie.serving.rest.idempotency import once
from acie.serving.rest.oip_binary import is_binary, pack, read_inference
from acie.serving.rest.oip_schemas import (
    INPUTS,
    OUTPUTS,
    InferBody,
    InferredBody,
    answer_tensors,
    queries_of,
)
from acie.serving.rest.wire import JSON, decoded, reply

router = APIRouter(prefix="/v2", tags=["open inference protocol"])

_Part = Annotated[str, Path(max_length=200)]


class LiveBody(BaseModel):
    """Whether the server is alive."""

    live: bool


class ReadyBody(BaseModel):
    """Whether the server wants requests."""

    live: bool
    ready: bool


class ServerBody(BaseModel):
    """The server."""

    name: str
    version: str
    extensions: list[str]


class TensorBody(BaseModel):
    """A tensor of a model; -1 where the length varies."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadataBody(BaseModel):
    """A model and its tensors."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorBody]
    outputs: list[TensorBody]


class ModelReadyBody(BaseModel):
    """Whether a model is loaded."""

    name: str
    ready: bool


@router.get("/health/live", response_model=LiveBody, operation_id="oip_live")
async def live() -> Response:
    """The process answers."""
    return reply({"live": True}, JSON)


@router.get(
    "/health/ready",
    response_model=ReadyBody,
    responses={503: {"model": ReadyBody, "description": "Starting, or about to stop."}},
    operation_id="oip_ready",
)
async def ready(resources: ResourcesOf) -> Response:
    """All models are loaded and new requests are welcome."""
    return reply({"live": True, "ready": resources.ready}, JSON, 200 if resources.ready else 503)


@router.get("", response_model=ServerBody, operation_id="oip_server")
async def server() -> Response:
    """Name and version of the server."""
    return reply(
        {"name": "acie", "version": acie.__version__, "extensions": ["binary_tensor_data"]}, JSON
    )


_MISSING = problems(404, 422, 503)
_FAILURES = problems(400, 404, 413, 415, 422, 503, 504)


@router.get(
    "/models/{name}", response_model=ModelMetadataBody, responses=_MISSING,
    operation_id="oip_model",
)  # fmt: skip
@router.get(
    "/models/{name}/versions/{version}", response_model=ModelMetadataBody, responses=_MISSING,
    operation_id="oip_model_version",
)  # fmt: skip
async def metadata(service: ServiceOf, name: _Part, version: _Part | None = None) -> Response:
    """Tensors of a model."""
    model = _model(service.registry.find, name, version)
    versions = [one.version for one in service.registry.models if one.name == model.name]
    count = len(model.engine.scm.variables) - 1
    shapes = {"latent_state": (-1, count)}
    return reply(
        {
            "name": model.name,
            "versions": versions,
            "platform": "pytorch_acie",
            "inputs": [_described(name, *INPUTS[name]) for name in INPUTS],
            "outputs": [
                _described(name, datatype, shapes.get(name, shape))
                for name, (datatype, shape) in OUTPUTS.items()
            ],
        },
        JSON,
    )


@router.get(
    "/models/{name}/ready", response_model=ModelReadyBody, responses=_MISSING,
    operation_id="oip_model_ready",
)  # fmt: skip
@router.get(
    "/models/{name}/versions/{version}/ready", response_model=ModelReadyBody, responses=_MISSING,
    operation_id="oip_model_version_ready",
)  # fmt: skip
async def model_ready(service: ServiceOf, name: _Part, version: _Part | None = None) -> Response:
    """A model is loaded and answers."""
    model = _model(service.registry.find, name, version)
    return reply({"name": model.name, "ready": True}, JSON)


@router.post(
    "/models/{name}/infer", response_model=InferredBody, responses=_FAILURES,
    openapi_extra=body_of(InferBody, binary=False), operation_id="oip_infer",
)  # fmt: skip
@router.post(
    "/models/{name}/versions/{version}/infer", response_model=InferredBody, responses=_FAILURES,
    openapi_extra=body_of(InferBody, binary=False), operation_id="oip_infer_version",
)  # fmt: skip
async def infer(
    request: Request,
    body: Annotated[InferBody, decoded(InferBody, read_inference)],
    resources: ResourcesOf,
    name: _Part,
    version: _Part | None = None,
) -> Response:
    """Counterfactual spectra of one galaxy or many; one that fails, fails the request."""
    model = _model(resources.service.registry.find, name, version)

    async def compute() -> Response:
        content = await _infer(body, model, resources)
        default = body.parameters.binary_data_output
        asked = body.outputs or [None] * len(content["outputs"])
        binary = [is_binary(one.parameters if one else {}, default) for one in asked]
        return pack(content, binary)

    return await once(request, compute)


async def _infer(body: InferBody, model: LoadedModel, resources: Resources) -> dict[str, Any]:
    names = list(OUTPUTS) if body.outputs is None else [one.name for one in body.outputs]
    if unknown := [name for name in names if name not in OUTPUTS]:
        raise ConfigurationError("outputs", expected=", ".join(OUTPUTS), found=unknown[0])
    server = resources.settings.server
    queries = queries_of(body, f"{model.name}@{model.version}", server.max_batch_items)
    found = await resources.service.answer_all(queries, server.timeout_s)
    for one in found:
        if isinstance(one, Exception):
            raise one
    content = {
        "model_name": model.name,
        "model_version": model.version,
        "parameters": {"latent_names": ",".join(found[0].latent)},
        "outputs": answer_tensors(found, names),
    }
    return content if body.id is None else {"id": body.id} | content


def _model(find: Any, name: str, version: str | None) -> LoadedModel:
    return find(f"{name}@{version}" if version else name)


def _described(name: str, datatype: str, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(shape)}
