"""Errors as problem documents."""

__all__ = ["install_failures", "problem_response"]

from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from acie.errors import ACIEError
from acie.serving.problems import Problem, problem_of


def problem_response(problem: Problem, request: Request) -> Response:
    """The HTTP answer of a problem."""
    return Response(
        orjson.dumps(problem.to_json(request.url.path)),
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
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        errors = [_place(one) for one in error.errors()[:10]]
        detail = "; ".join(f"{one['at']}: {one['message']}" for one in errors)
        problem = Problem(
            422, "INVALID_ARGUMENT", "Malformed request", detail, "malformed-request",
            extra={"errors": errors},
        )  # fmt: skip
        return problem_response(problem, request)

    @app.exception_handler(HTTPException)
    async def status(request: Request, error: HTTPException) -> Response:
        text = str(error.detail)
        kind = text.lower().replace(" ", "-")
        problem = Problem(
            error.status_code, "UNKNOWN", text, text, kind, headers=dict(error.headers or {})
        )
        return problem_response(problem, request)


def _place(error: dict[str, Any]) -> dict[str, str]:
    """Where a request is malformed and how; without its content, which may be large."""
    return {"at": ".".join(str(part) for part in error["loc"]), "message": error["msg"]}
