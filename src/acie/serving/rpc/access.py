"""Around every call: who makes it, whether they may, its line in the log."""

__all__ = ["AccessInterceptor"]

import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc

from acie.errors import ACIEError
from acie.serving.request import RequestContext, enter_request, leave_request
from acie.serving.resources import Resources
from acie.serving.rpc.failures import abort

#: Which scope a method needs; what is not listed needs ``admin``.
_SCOPES = {
    "CounterfactualInference": "infer",
    "BatchInference": "infer",
    "ListModels": "read",
    "GetGraph": "read",
}
#: Anybody: how the service is, and what its methods are.
_OPEN = ("/grpc.health.", "/grpc.reflection.")


class AccessInterceptor(grpc.aio.ServerInterceptor):
    """Lets only those in who may.

    Arguments:
        resources: Their ``access`` is asked.
    """

    def __init__(self, resources: Resources) -> None:
        self._access, self._telemetry = resources.access, resources.telemetry

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """The handler of a call, behind the door."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(_OPEN):
            return handler
        metadata = _pairs(handler_call_details.invocation_metadata or ())
        if handler.request_streaming and handler.response_streaming:
            make, behaviour = grpc.stream_stream_rpc_method_handler, handler.stream_stream
        else:
            make, behaviour = grpc.unary_unary_rpc_method_handler, handler.unary_unary
        return make(
            functools.partial(self._call, behaviour, method, metadata),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    async def _call(
        self,
        behaviour: Callable[[Any, grpc.aio.ServicerContext], Awaitable[Any]],
        method: str,
        metadata: list[tuple[str, str]],
        request: Any,
        context: grpc.aio.ServicerContext,
    ) -> Any:
        own = RequestContext.of("grpc", dict(metadata))
        token = enter_request(own)
        self._telemetry.begin(own)
        try:
            own.principal = await self._access.authenticate(metadata)
            scope = _SCOPES.get(method.rpartition("/")[2], "admin")
            self._access.require(own.principal, scope)
            return await behaviour(request, context)
        except ACIEError as error:
            await abort(context, error, own.request_id)
        finally:
            # A call that was not aborted has no code yet.
            code = context.code() or grpc.StatusCode.OK
            status = getattr(code, "name", str(code))
            facts = {"rpc": method, "code": status, "client": context.peer()}
            self._telemetry.finish(
                own, method.lstrip("/"), status, facts, failed=status in ("INTERNAL", "UNKNOWN")
            )
            leave_request(token)


def _pairs(metadata: Sequence[tuple[str, str | bytes]]) -> list[tuple[str, str]]:
    return [(key, value) for key, value in metadata if isinstance(value, str)]
