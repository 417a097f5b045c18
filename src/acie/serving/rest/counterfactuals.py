"""``/api/v2/inference``: the question itself."""

__all__ = ["router"]

import time

import orjson
from fastapi import APIRouter, Response

from acie.serving.problems import problem_of
from acie.serving.query import Answer
from acie.serving.rest.dependencies import ResourcesOf, ServiceOf
from acie.serving.schemas import (
    AnswerBody,
    BatchAnswerBody,
    BatchRequestBody,
    RequestBody,
    answer_body,
    query_of,
)

router = APIRouter(prefix="/api/v2/inference", tags=["inference"])


def _json(content: object) -> Response:
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, media_type="application/json")


@router.post("/counterfactual", response_model=AnswerBody)
@router.post("", response_model=AnswerBody, include_in_schema=False)
async def counterfactual(
    body: RequestBody, service: ServiceOf, resources: ResourcesOf
) -> Response:
    """What would this galaxy's spectrum be, had its state been different?"""
    start = time.perf_counter()
    answer = await service.answer(query_of(body), resources.settings.server.timeout_s)
    return _json(answer_body(answer, (time.perf_counter() - start) * 1e3))


@router.post("/batch", response_model=BatchAnswerBody)
async def batch(body: BatchRequestBody, service: ServiceOf, resources: ResourcesOf) -> Response:
    """Many questions; one that fails has its problem document in the place of its answer."""
    start = time.perf_counter()
    queries = [query_of(one) for one in body.requests]
    found = await service.answer_all(queries, resources.settings.server.timeout_s)
    elapsed = (time.perf_counter() - start) * 1e3
    answers = [
        answer_body(one, elapsed) if isinstance(one, Answer) else problem_of(one).to_json()
        for one in found
    ]
    return _json({"answers": answers})
