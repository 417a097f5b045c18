"""What FastAPI cannot know of the OpenAPI document: bodies that endpoints decode themselves."""

__all__ = ["body_of", "problems", "write_openapi"]

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from acie.serving.rest.wire import JSON, MSGPACK
from acie.serving.schemas import ProblemBody, RequestBody

_PREFIX = "#/components/schemas/"
_bodies: dict[str, type[BaseModel]] = {"ProblemBody": ProblemBody, "RequestBody": RequestBody}


def body_of(model: type[BaseModel], *, binary: bool = True) -> dict[str, Any]:
    """``openapi_extra`` of an endpoint whose body is a ``model``.

    Arguments:
        model: What the body holds.
        binary: Whether it may be msgpack too.
    """
    _bodies[model.__name__] = model
    content: dict[str, Any] = {JSON: {"schema": {"$ref": _PREFIX + model.__name__}}}
    if binary:
        content[MSGPACK] = {
            "schema": {
                "type": "string",
                "format": "binary",
                "description": f"The same document in msgpack. Arrays are lists, or objects with "
                f"dtype (float32, float64, bool), shape and data (raw little-endian bytes); see "
                f"{model.__name__}.",
            }
        }
    return {"requestBody": {"required": True, "content": content}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """``responses`` of an endpoint that may fail in these ways; 500 is always one."""
    schema = {"schema": {"$ref": f"{_PREFIX}ProblemBody"}}
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {"application/problem+json": schema},
        }
        for status in (*statuses, 500)
    }


def write_openapi(app: FastAPI) -> None:
    """Make the application describe the bodies too."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            _, schemas = models_json_schema(
                [(model, "validation") for _, model in sorted(_bodies.items())],
                ref_template=_PREFIX + "{model}",
            )
            known = made.setdefault("components", {}).setdefault("schemas", {})
            known.update(schemas["$defs"])
            # Items are checked one by one, but they are requests.
            listed = known.get("BatchRequestBody", {}).get("properties", {}).get("requests", {})
            listed["items"] = {"$ref": f"{_PREFIX}RequestBody"}
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document
