"""TorchServe asks: questions of the REST contract, answered by the service in its worker.

For those who have TorchServe already; it does the HTTP, the batches and the metrics. A request is
the JSON document that ``/api/v2/inference/counterfactual`` takes, an answer the one it gives.
``acie export --format torchserve`` packs this file as the handler of an archive.
"""

__all__ = ["ACIEHandler"]

import asyncio
import time
from http import HTTPStatus
from typing import Any

import orjson

from acie.allocator import keep_freed_memory
from acie.serving.query import Answer, Query
from acie.serving.refusals import MalformedBody
from acie.serving.registry import LoadedModel, ModelRegistry
from acie.serving.rest.failures import problem_json
from acie.serving.rest.wire import validated
from acie.serving.schemas import RequestBody, answer_body, query_of
from acie.serving.service import InferenceService
from acie.serving.settings import InferenceSettings

_JSON, _PROBLEM = "application/json", "application/problem+json"
#: TorchServe's own ``responseTimeout`` ends a batch; this only bounds what it does not.
_TIMEOUT_S = 600.0


class ACIEHandler:
    """What TorchServe calls: ``initialize`` once, ``handle`` for each batch."""

    def initialize(self, context: Any) -> None:
        """Load the bundle that was unpacked beside this file, and answer one question with it."""
        keep_freed_memory()
        registry = ModelRegistry()
        registry.add(LoadedModel.load(context.system_properties["model_dir"]))
        self._service = InferenceService(registry, InferenceSettings())
        self._runner = asyncio.Runner()

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[str]:
        """One document for each request of the batch; one that fails does not fail the others."""
        start = time.perf_counter()
        queries = [_query(row) for row in data]
        good = [query for query in queries if isinstance(query, Query)]
        found = iter(self._runner.run(self._service.answer_all(good, _TIMEOUT_S)))
        answers = []
        for index, query in enumerate(queries):
            outcome = next(found) if isinstance(query, Query) else query
            answers.append(_document(outcome, start, index, context))
        return answers


def _query(row: dict[str, Any]) -> Query | Exception:
    try:
        body = row.get("body", row.get("data"))
        if isinstance(body, bytes | bytearray | str):
            try:
                body = orjson.loads(body)
            except orjson.JSONDecodeError as error:
                raise MalformedBody(
                    "body", expected="one JSON document", found=str(error)[:100]
                ) from None
        return query_of(validated(RequestBody, body))
    except Exception as error:
        return error


def _document(outcome: Answer | Exception, start: float, index: int, context: Any) -> str:
    """The text of an answer or a problem; TorchServe is told its status and type."""
    if isinstance(outcome, Answer):
        status, kind = 200, _JSON
        content = answer_body(outcome, (time.perf_counter() - start) * 1e3)
    else:
        content = problem_json(outcome, "predictions")
        status, kind = content["status"], _PROBLEM
    context.set_response_status(status, HTTPStatus(status).phrase, index)
    context.set_response_content_type(index, kind)
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY).decode()
