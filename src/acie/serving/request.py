"""What is known about the request that is being answered, whatever transport brought it."""

__all__ = [
    "ALL_SCOPES",
    "LOCAL",
    "Allowance",
    "Principal",
    "RequestContext",
    "current_request",
    "enter_request",
    "leave_request",
    "request_id_of",
]

import contextvars
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

#: What a principal may be allowed: to ask, to look, to manage.
ALL_SCOPES = ("infer", "read", "admin")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")
#: W3C Trace Context, section 3.2.
_TRACE = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True)
class Principal:
    """Who asks.

    Arguments:
        name: Subject of a token, or name of an API key.
        scopes: What it may do.
        kind: ``token``, ``key``, or ``local`` where nobody has to say who they are.
    """

    name: str
    scopes: frozenset[str]
    kind: str = "token"


#: Stages that are noted of one request: a batch has several of each galaxy.
MOST_STAGES = 200

#: Everybody, where authentication is off.
LOCAL = Principal("local", frozenset(ALL_SCOPES), "local")


@dataclass(frozen=True)
class Allowance:
    """What a principal has left of its rate.

    Arguments:
        limit: Galaxies at once.
        remaining: Galaxies now.
        window_s: Seconds in which an empty allowance fills.
        reset_s: Seconds until it is full.
    """

    limit: int
    remaining: int
    window_s: float
    reset_s: float


@dataclass
class RequestContext:
    """One request, from its first byte to its last.

    Arguments:
        transport: ``rest``, ``grpc``, or ``python`` for a call in the process.
        request_id: Chosen by the caller or by the service.
        trace_id: Of the W3C trace context, 32 hexadecimal digits.
        traceparent: The caller's W3C trace context, where there is one.
        principal: Who asks.
        allowance: After this request was charged.
        started: On the clock of :func:`time.perf_counter`.
        stages: What was done: name, start and end on that clock.
    """

    transport: str = "python"
    request_id: str = ""
    trace_id: str = ""
    traceparent: str = ""
    principal: Principal = LOCAL
    allowance: Allowance | None = None
    started: float = field(default_factory=time.perf_counter)
    stages: list[tuple[str, float, float]] = field(default_factory=list)

    @classmethod
    def of(cls, transport: str, headers: Mapping[str, str]) -> "RequestContext":
        """The request with these headers, or this metadata of gRPC, names in lower case.

        A name of the request or a trace context that cannot be used is replaced or left out.

        References:
            W3C Trace Context, section 3.2.
        """
        trace = headers.get("traceparent", "")
        trace = trace if _TRACE.fullmatch(trace) else ""
        name = request_id_of(headers.get("x-request-id", ""), uuid.uuid4().hex)
        return cls(transport, name, trace[3:35], trace)

    def mark(self, stage: str, since: float | None = None) -> None:
        """Note a stage that ends now, and began when the last one ended or at ``since``."""
        begun = since if since is not None else self.stages[-1][2] if self.stages else self.started
        if len(self.stages) < MOST_STAGES:
            self.stages.append((stage, begun, time.perf_counter()))


def request_id_of(given: str, otherwise: str) -> str:
    """The name that a caller gave, where it is safe in headers and logs."""
    return given if _NAME.fullmatch(given) else otherwise


_CURRENT: contextvars.ContextVar[RequestContext | None] = contextvars.ContextVar(
    "acie_request", default=None
)


def current_request() -> RequestContext:
    """The request that this task answers; a fresh one where there is none."""
    found = _CURRENT.get()
    return RequestContext() if found is None else found


def enter_request(context: RequestContext) -> contextvars.Token:
    """Make a request the current one of this task and of those that it starts."""
    return _CURRENT.set(context)


def leave_request(token: contextvars.Token) -> None:
    """Undo :func:`enter_request`."""
    _CURRENT.reset(token)
