"""The methods of ``ACIEInference``."""

__all__ = ["InferenceServicer"]

import asyncio
import logging
import re
import time
import uuid

import grpc

from acie.serving.problems import problem_of
from acie.serving.resources import Resources
from acie.serving.rpc import convert
from acie.serving.rpc._generated import acie_pb2 as pb
from acie.serving.rpc._generated import acie_pb2_grpc

_log = logging.getLogger(__name__)
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")

Context = grpc.aio.ServicerContext


class InferenceServicer(acie_pb2_grpc.ACIEInferenceServicer):
    """Decodes, calls the service, encodes.

    Arguments:
        resources: Of the process.
        ahead: Most questions of one stream that wait or are computed.
    """

    def __init__(self, resources: Resources, ahead: int) -> None:
        self._resources, self._ahead = resources, ahead

    async def CounterfactualInference(
        self, request: pb.InferenceRequest, context: Context
    ) -> pb.InferenceResponse:
        """One question."""
        try:
            return await self._answer(request, context)
        except Exception as error:
            await _abort(context, error, _request_id(request, context))

    async def BatchInference(self, request_iterator: object, context: Context) -> None:
        """Many questions, answered as they are done.

        A slot is taken before a question is read and given back when its answer is written. So a
        caller who does not read makes the service stop reading, and HTTP/2 makes the caller stop
        writing; nothing piles up in between.
        """
        slots, writing = asyncio.Semaphore(self._ahead), asyncio.Lock()

        async def one(request: pb.InferenceRequest) -> None:
            response = await self._answer_or_problem(request, context)
            async with writing:
                await context.write(response)
            slots.release()

        async with asyncio.TaskGroup() as tasks:
            while True:
                await slots.acquire()
                request = await context.read()
                if request is grpc.aio.EOF:
                    break
                tasks.create_task(one(request))

    async def ListModels(
        self, request: pb.ListModelsRequest, context: Context
    ) -> pb.ListModelsResponse:
        """The models that are loaded."""
        try:
            return convert.models_of(self._resources.service.registry)
        except Exception as error:
            await _abort(context, error, _request_id(None, context))

    async def GetGraph(self, request: pb.GetGraphRequest, context: Context) -> pb.GetGraphResponse:
        """The causal graph of a model."""
        try:
            registry = self._resources.service.registry
            return convert.graph_of(registry.find(request.model_version or "latest"))
        except Exception as error:
            await _abort(context, error, _request_id(None, context))

    async def _answer(
        self, request: pb.InferenceRequest, context: Context
    ) -> pb.InferenceResponse:
        start = time.perf_counter()
        query = convert.query_of(request)
        answer = await self._resources.service.answer(query, self._patience(context))
        elapsed = (time.perf_counter() - start) * 1e3
        return convert.response_of(answer, _request_id(request, context), elapsed)

    async def _answer_or_problem(
        self, request: pb.InferenceRequest, context: Context
    ) -> pb.InferenceResponse:
        try:
            return await self._answer(request, context)
        except Exception as error:
            problem = convert.problem_message(_known(error), error)
            return pb.InferenceResponse(request_id=_request_id(request, context), problem=problem)

    def _patience(self, context: Context) -> float:
        """Seconds until the deadline of the call, the service's own where it has none."""
        left = context.time_remaining()
        return self._resources.settings.server.timeout_s if left is None else left


def _known(error: Exception) -> convert.Problem:
    problem = problem_of(error)
    if problem.status >= 500 and problem.code == "INTERNAL":
        _log.error("a call failed", exc_info=error)
    return problem


async def _abort(context: Context, error: Exception, request_id: str) -> None:
    """End the call with the status of an error, its details in the trailing metadata."""
    message = convert.problem_message(_known(error), error)
    metadata = [("acie-problem-bin", message.SerializeToString()), ("x-request-id", request_id)]
    if message.HasField("retry_after_s"):
        wait = str(round(message.retry_after_s * 1e3))
        # The second is what retry policies of gRPC libraries obey.
        metadata += [("retry-after-ms", wait), ("grpc-retry-pushback-ms", wait)]
    await context.abort(getattr(grpc.StatusCode, message.code), message.detail, tuple(metadata))


def _request_id(request: pb.InferenceRequest | None, context: Context) -> str:
    """That of the message, of the metadata, or a new one; only what is safe in a log."""
    given = request.request_id if request is not None else ""
    if not given:
        named = (v for k, v in context.invocation_metadata() or () if k == "x-request-id")
        given = next(named, "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
