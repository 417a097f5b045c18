"""The methods of ``ACIEInference``."""

__all__ = ["InferenceServicer"]

import asyncio
import time

import grpc

from acie.serving.request import current_request, request_id_of
from acie.serving.resources import Resources
from acie.serving.rpc import convert
from acie.serving.rpc._generated import acie_pb2 as pb
from acie.serving.rpc._generated import acie_pb2_grpc
from acie.serving.rpc.failures import abort, known_problem

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
            await abort(context, error, _request_id(request))

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
            await abort(context, error, current_request().request_id)

    async def GetGraph(self, request: pb.GetGraphRequest, context: Context) -> pb.GetGraphResponse:
        """The causal graph of a model."""
        try:
            registry = self._resources.service.registry
            return convert.graph_of(registry.find(request.model_version or "latest"))
        except Exception as error:
            await abort(context, error, current_request().request_id)

    async def _answer(
        self, request: pb.InferenceRequest, context: Context
    ) -> pb.InferenceResponse:
        start = time.perf_counter()
        query = convert.query_of(request)
        answer = await self._resources.service.answer(query, self._patience(context))
        elapsed = (time.perf_counter() - start) * 1e3
        return convert.response_of(answer, _request_id(request), elapsed)

    async def _answer_or_problem(
        self, request: pb.InferenceRequest, context: Context
    ) -> pb.InferenceResponse:
        try:
            return await self._answer(request, context)
        except Exception as error:
            problem = convert.problem_message(known_problem(error), error)
            return pb.InferenceResponse(request_id=_request_id(request), problem=problem)

    def _patience(self, context: Context) -> float:
        """Seconds until the deadline of the call, the service's own where it has none."""
        left = context.time_remaining()
        return self._resources.settings.server.timeout_s if left is None else left


def _request_id(request: pb.InferenceRequest) -> str:
    """That of the message, or of the call."""
    return request_id_of(request.request_id, current_request().request_id)
