"""Calls over gRPC; needs ``pip install 'acie-sdk[grpc]'``."""

__all__ = ["AsyncGrpc", "Grpc"]

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import grpc
import grpc.aio
import numpy as np
from grpc_health.v1 import health_pb2

from acie_sdk._answers import Answer, Graph, Health, Model, parse
from acie_sdk._calls import Call, Question, __version__
from acie_sdk._errors import ACIEAPIError, APIConnectionError, APITimeoutError, status_error
from acie_sdk._generated import acie_pb2 as pb
from acie_sdk._rest import Connection

_LIMIT = 32 * 2**20
_OPTIONS = (
    ("grpc.max_receive_message_length", _LIMIT),
    ("grpc.max_send_message_length", _LIMIT),
    # The client tries again by itself, by one policy for both transports.
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.primary_user_agent", f"acie-sdk/{__version__}"),
)
_SERVICE = "/acie.v2.ACIEInference/"
_READ = "/grpc.health.v1.Health/Check"
#: HTTP statuses of codes that come without a problem, from gRPC itself or a proxy.
_STATUSES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "UNIMPLEMENTED": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    # gRPC itself says so of messages above the limit, which no retry makes smaller.
    "RESOURCE_EXHAUSTED": 413,
    "CANCELLED": 499,
}


class _Method(NamedTuple):
    path: str
    request: Any
    response: Callable[[bytes], Any]


class Grpc:
    """Sends calls and waits."""

    def __init__(self, connection: Connection) -> None:
        self._metadata = _metadata(connection)
        self._channel = _channel(connection, grpc)

    def send(self, call: Call, timeout_s: float) -> Any:
        """One attempt.

        Raises:
            ACIEAPIError: No answer, or a refusal.
        """
        method = _method(call)
        with _translated(call):
            invoke = self._channel.unary_unary(
                method.path, _serialize, method.response, _registered_method=True
            )
            found = invoke(
                method.request, timeout=timeout_s, metadata=self._metadata + _names(call)
            )
        return _parsed(call, found)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()


class AsyncGrpc:
    """Sends calls without blocking."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._metadata = connection, _metadata(connection)
        self._channel: grpc.aio.Channel | None = None

    async def send(self, call: Call, timeout_s: float) -> Any:
        """One attempt.

        Raises:
            ACIEAPIError: No answer, or a refusal.
        """
        if self._channel is None:
            # A channel belongs to the loop that runs when it is made.
            self._channel = _channel(self._connection, grpc.aio)
        method = _method(call)
        with _translated(call):
            invoke = self._channel.unary_unary(
                method.path, _serialize, method.response, _registered_method=True
            )
            found = await invoke(
                method.request, timeout=timeout_s, metadata=self._metadata + _names(call)
            )
        return _parsed(call, found)

    async def close(self) -> None:
        """Close the connection."""
        if self._channel is not None:
            await self._channel.close()


def _channel(connection: Connection, module: Any) -> Any:
    """A channel of ``grpc`` or ``grpc.aio``; TLS where the address says https or grpcs."""
    url = connection.url if "//" in connection.url else f"grpc://{connection.url}"
    parts = urlsplit(url)
    secure = parts.scheme in ("https", "grpcs")
    port = parts.port or (443 if secure else 50051)
    host = parts.hostname or "localhost"
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if not secure:
        return module.insecure_channel(target, options=_OPTIONS)
    pem = (None, None, None) if connection.tls is None else connection.tls.pem()
    return module.secure_channel(target, grpc.ssl_channel_credentials(*pem), options=_OPTIONS)


def _metadata(connection: Connection) -> tuple[tuple[str, str], ...]:
    key = connection.api_key
    return (("authorization", f"Bearer {key}"),) if key else ()


def _names(call: Call) -> tuple[tuple[str, str], ...]:
    return ("x-request-id", call.request_id), ("idempotency-key", call.key)


def _serialize(message: Any) -> bytes:
    return message.SerializeToString()


def _method(call: Call) -> _Method:
    match call.kind:
        case "infer":
            request = _request(call, call.question)
            path, kind = _SERVICE + "CounterfactualInference", pb.InferenceResponse
        case "models":
            request = pb.ListModelsRequest()
            path, kind = _SERVICE + "ListModels", pb.ListModelsResponse
        case "graph":
            request = pb.GetGraphRequest(model_version=call.model_version)
            path, kind = _SERVICE + "GetGraph", pb.GetGraphResponse
        case _:
            request = health_pb2.HealthCheckRequest()
            path, kind = _READ, health_pb2.HealthCheckResponse
    return _Method(path, request, kind.FromString)


def _request(call: Call, question: Question) -> pb.InferenceRequest:
    spectrum = question.spectrum
    observation = pb.Observation(redshift=spectrum.redshift, name=spectrum.name)
    for name, array in spectrum.arrays.items():
        getattr(observation, name).extend(array.tolist())
    intervention = pb.Intervention()
    if isinstance(question.intervention, tuple):
        intervention.text.extend(question.intervention)
    else:
        for variable, change in question.intervention.items():
            intervention.actions.add(variable=variable, **change)
    return pb.InferenceRequest(
        observation=observation,
        intervention=intervention,
        hold=question.hold,
        samples=question.samples,
        seed=question.seed,
        model_version=call.model_version,
        request_id=call.request_id,
    )


def _parsed(call: Call, found: Any) -> Any:
    match call.kind:
        case "infer":
            return parse(Answer, _members(found))
        case "models":
            return tuple(Model(m.name, m.version, m.digest, m.latest) for m in found.models)
        case "graph":
            graph = {
                "variables": [_plain(variable) for variable in found.variables],
                "edges": [_plain(edge) for edge in found.edges],
            }
            return parse(Graph, graph)
        case _:
            serving = found.status == health_pb2.HealthCheckResponse.SERVING
            return Health(serving, "ready" if serving else "not ready")


def _members(found: pb.InferenceResponse) -> dict[str, Any]:
    """An answer as plain data, by the names that REST uses."""
    same = ("redshift", "confidence", "samples", "cached", "request_id")
    lists = ("latent_names", "latent_state", "quality", "interventions")
    arrays = ("counterfactual", "counterfactual_p16", "counterfactual_p84")
    return {
        **{name: getattr(found, name) for name in same},
        **{name: list(getattr(found, name)) for name in lists},
        **{name: np.array(getattr(found, name), dtype=np.float32) for name in arrays},
        "latents": {name: _plain(state) for name, state in found.latents.items()},
        "counterfactual_latents": {
            name: _plain(state) for name, state in found.counterfactual_latents.items()
        },
        "model": _plain(found.model),
        "seed": found.seed if found.HasField("seed") else None,
        "timing_ms": found.timing.total_ms,
    }


def _plain(message: Any) -> dict[str, Any]:
    """Scalar fields by name, those that are zero too."""
    return {field.name: getattr(message, field.name) for field in message.DESCRIPTOR.fields}


@contextlib.contextmanager
def _translated(call: Call) -> Iterator[None]:
    """Errors of gRPC as those of the client."""
    try:
        yield
    except grpc.RpcError as error:
        found = _error(error)
        found.request_id = call.request_id
        raise found from error


def _error(error: grpc.RpcError) -> ACIEAPIError:
    code, detail = error.code().name, error.details() or ""
    trailing = dict(error.trailing_metadata() or ())
    raw = trailing.get("acie-problem-bin")
    if raw is not None:
        message = pb.Problem.FromString(raw)
        problem = {k: v for k, v in _plain(message).items() if v}
        retry = message.retry_after_s if message.HasField("retry_after_s") else None
        return status_error(message.status, problem, retry)
    if code == "UNAVAILABLE":
        return APIConnectionError(f"connection failed: {detail}")
    if code == "DEADLINE_EXCEEDED":
        return APITimeoutError(detail or "no answer in time")
    return status_error(_STATUSES.get(code, 500), {"title": code, "detail": detail, "code": code})
