"""Errors as problem documents."""

__all__ = ["install_failures", "problem_json", "problem_response"]

import logging
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from acie.errors import ACIEError
from acie.serving.problems import Problem, problem_of
from acie.serving.refusals import invalid

_log = logging.getLogger(__name__)


def problem_json(error: Exception, instance: str) -> dict[str, Any]:
    """The document of an error that is part of an answer."""
    if not isinstance(error, ACIEError):
        _log.error("unexpected error in %s", instance, exc_info=error)
    return problem_of(error).to_json(instance)


def problem_response(problem: Problem, request: Request) -> Response:
    """The HTTP answer of a problem."""
    content = problem.to_json(request.url.path)
    if request.url.path.startswith("/v2"):
        # Where clients of the Open Inference Protocol look for it.
        content["error"] = problem.detail
    return Response(
        orjson.dumps(content),
        status_code=problem.status,
        headers=problem.headers,
        media_type="application/problem+json",
    )


def install_failures(app: FastAPI) -> None:
    """Make every error of the application a problem document."""

    @app.exception_handler(ACIEError)
    async def known(request: Request, error: ACIEError) -> Response:
        return problem_response(problem_of(error), request)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        return problem_response(problem_of(invalid(error.errors())), request)

    @app.exception_handler(HTTPException)
    async def status(request: Request, error: HTTPException) -> Response:
        title = HTTPStatus(error.status_code).phrase
        kind = title.lower().replace(" ", "-")
        detail = str(error.detail)
        headers = dict(error.headers or {})
        if error.status_code == 404:
            detail = "Nothing is here; /docs lists what is."
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_methods(request)) or headers.get("Allow", "")
            detail = f"Allowed here: {headers['Allow']}."
        problem = Problem(error.status_code, "UNKNOWN", title, detail, kind, headers=headers)
        return problem_response(problem, request)


def _methods(request: Request) -> list[str]:
    """Methods of all routes of a path: each route knows only its own."""
    found = set()
    for path, operations in request.app.openapi()["paths"].items():
        if compile_path(path)[0].match(request.url.path):
            found |= {method.upper() for method in operations}
    return sorted(found)
