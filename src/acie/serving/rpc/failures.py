"""Errors as status codes, with the problem in the trailing metadata."""

__all__ = ["abort", "known_problem"]

import logging

import grpc

from acie.serving.problems import Problem, problem_of
from acie.serving.rpc import convert

_log = logging.getLogger(__name__)


def known_problem(error: Exception) -> Problem:
    """The problem of an error, which is logged if nobody raised it on purpose."""
    problem = problem_of(error)
    if problem.code == "INTERNAL":
        _log.error("a call failed", exc_info=error)
    return problem


async def abort(context: grpc.aio.ServicerContext, error: Exception, request_id: str) -> None:
    """End the call with the status of an error."""
    message = convert.problem_message(known_problem(error), error)
    metadata = [("acie-problem-bin", message.SerializeToString()), ("x-request-id", request_id)]
    if message.HasField("retry_after_s"):
        wait = str(round(message.retry_after_s * 1e3))
        # The second is what retry policies of gRPC libraries obey.
        metadata += [("retry-after-ms", wait), ("grpc-retry-pushback-ms", wait)]
    await context.abort(getattr(grpc.StatusCode, message.code), message.detail, tuple(metadata))
