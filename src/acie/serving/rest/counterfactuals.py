"""``/api/v2/inference``: the question itself."""

__all__ = ["router"]

import asyncio
import time
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response

from acie.errors import ConfigurationError
from acie.serving.query import Answer, Query
from acie.serving.request import current_request
from acie.serving.resources import Resources
from acie.serving.rest.answer_files import FITS, fits_reply
from acie.serving.rest.dependencies import ResourcesOf
from acie.serving.rest.documents import body_of, problems
from acie.serving.rest.failures import problem_json
from acie.serving.rest.idempotency import once
from acie.serving.rest.wire import (
    JSON,
    Wanted,
    accepted,
    decoded,
    encode,
    reply,
    validated,
)
from acie.serving.schemas import (
    AnswerBody,
    BatchAnswerBody,
    BatchRequestBody,
    RequestBody,
    answer_body,
    query_of,
)

router = APIRouter(prefix="/api/v2/inference", tags=["inference"])

_FAILURES = problems(400, 404, 406, 413, 415, 422, 503, 504)
_FILE = {
    200: {
        "description": "The answer; with Accept: application/fits the file of acie infer.",
        "content": {FITS: {"schema": {"type": "string", "format": "binary"}}},
    }
}
_WantedOrFile = Annotated[str, accepted(FITS)]


@router.post(
    "/counterfactual",
    response_model=AnswerBody,
    responses=_FAILURES | _FILE,
    openapi_extra=body_of(RequestBody),
    operation_id="counterfactual",
)
@router.post(
    "",
    response_model=AnswerBody,
    responses=_FAILURES | _FILE,
    openapi_extra=body_of(RequestBody),
    operation_id="infer",
)
async def counterfactual(
    request: Request,
    kind: _WantedOrFile,
    body: Annotated[RequestBody, decoded(RequestBody)],
    resources: ResourcesOf,
) -> Response:
    """What would this galaxy's spectrum be, had its state been different?

    Without an intervention the answer is the state of the galaxy, and its own spectrum.
    """

    async def compute() -> Response:
        start = time.perf_counter()
        query = query_of(body)
        current_request().mark("decode")
        answer = await resources.service.answer(query, resources.settings.server.timeout_s)
        begun = time.perf_counter()
        if kind == FITS:
            response = await fits_reply(query, answer)
        else:
            response = reply(answer_body(answer, _since(start), draws=body.draws), kind)
        current_request().mark("encode", begun)
        return response

    return await once(request, compute)


@router.post(
    "/batch",
    response_model=BatchAnswerBody,
    responses=_FAILURES,
    openapi_extra=body_of(BatchRequestBody),
    operation_id="batch",
)
async def batch(
    request: Request,
    kind: Wanted,
    body: Annotated[BatchRequestBody, decoded(BatchRequestBody)],
    resources: ResourcesOf,
) -> Response:
    """Many questions; one that fails has its problem document in the place of its answer."""
    most = resources.settings.server.max_batch_items
    if len(body.requests) > most:
        raise ConfigurationError(
            "requests", expected=f"at most {most}", found=str(len(body.requests))
        )

    async def compute() -> Response:
        return await _answers(request, kind, body.requests, resources)

    return await once(request, compute)


async def _answers(
    request: Request, kind: str, items: list[Any], resources: Resources
) -> Response:
    start = time.perf_counter()
    # A millisecond each: not while others wait for the event loop.
    asked = await asyncio.to_thread(lambda: [_query(item) for item in items])
    queries = [one[0] if isinstance(one, tuple) else one for one in asked]
    good = [query for query in queries if isinstance(query, Query)]
    found = iter(await resources.service.answer_all(good, resources.settings.server.timeout_s))
    parts = []
    for index, query in enumerate(queries):
        outcome = next(found) if isinstance(query, Query) else query
        if isinstance(outcome, Answer):
            content = answer_body(outcome, _since(start), draws=asked[index][1])
        else:
            content = problem_json(outcome, f"{request.url.path}#/requests/{index}")
        parts.append(encode(content, kind))
        await asyncio.sleep(0)
    return Response(_joined(parts, kind), media_type=kind, headers={"Vary": "Accept"})


def _query(item: Any) -> tuple[Query, bool] | Exception:
    """A question and whether its draws are wanted, or why it is none."""
    try:
        body = validated(RequestBody, item)
        return query_of(body), body.draws
    except Exception as error:
        return error


def _joined(parts: list[bytes], kind: str) -> bytes:
    """``{"answers": [...]}`` of documents that are encoded already."""
    if kind == JSON:
        return b'{"answers":[' + b",".join(parts) + b"]}"
    # A map of one key, then an array with 32 bits of length.
    return b"\x81\xa7answers\xdd" + len(parts).to_bytes(4, "big") + b"".join(parts)


def _since(start: float) -> float:
    return (time.perf_counter() - start) * 1e3
