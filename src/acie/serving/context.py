"""What is known about the request that is being answered, for logs and traces."""

__all__ = ["REQUEST_ID", "TRACEPARENT", "request_id_of", "traceparent_of"]

import re
import uuid
from contextvars import ContextVar

#: Name of the request, from the client or made here; empty outside of one.
REQUEST_ID: ContextVar[str] = ContextVar("acie_request_id", default="")
#: W3C trace context of the caller, empty where it has none.
TRACEPARENT: ContextVar[str] = ContextVar("acie_traceparent", default="")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")
_TRACE = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def request_id_of(given: str | None) -> str:
    """The name that the client gave its request, or a new one where that cannot be used."""
    return given if given and _NAME.fullmatch(given) else uuid.uuid4().hex


def traceparent_of(given: str | None) -> str:
    """The trace context where it is well-formed, else an empty text.

    References:
        W3C Trace Context, section 3.2.
    """
    return given if given and _TRACE.fullmatch(given) else ""
