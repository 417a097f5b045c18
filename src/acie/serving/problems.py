"""How every error looks on the wire: one table for HTTP and gRPC.

References:
    RFC 9457, Problem Details for HTTP APIs.
"""

__all__ = ["Problem", "problem_of"]

import math
from dataclasses import dataclass, field
from typing import Any

from acie.errors import (
    ACIEError,
    BundleError,
    CatalogueTooLarge,
    CausalError,
    DataError,
    UnknownModel,
)
from acie.serving import refusals
from acie.serving.batching import Overloaded, TooLate
from acie.serving.security import refusals as caller
from acie.serving.storage.failures import StorageUnavailable

#: First match wins: kinds of errors, HTTP status, gRPC code.
_TABLE: tuple[tuple[type[Exception], int, str], ...] = (
    (Overloaded, 503, "RESOURCE_EXHAUSTED"),
    (TooLate, 504, "DEADLINE_EXCEEDED"),
    (caller.Unauthenticated, 401, "UNAUTHENTICATED"),
    (caller.Forbidden, 403, "PERMISSION_DENIED"),
    (caller.RateLimited, 429, "RESOURCE_EXHAUSTED"),
    (caller.IdentityUnavailable, 503, "UNAVAILABLE"),
    (StorageUnavailable, 503, "UNAVAILABLE"),
    (refusals.MalformedBody, 400, "INVALID_ARGUMENT"),
    (refusals.MalformedHeader, 400, "INVALID_ARGUMENT"),
    (refusals.NotAcceptable, 406, "INVALID_ARGUMENT"),
    (refusals.ModelInUse, 409, "FAILED_PRECONDITION"),
    (refusals.BodyTooLarge, 413, "RESOURCE_EXHAUSTED"),
    (CatalogueTooLarge, 413, "RESOURCE_EXHAUSTED"),
    (refusals.UnsupportedContent, 415, "INVALID_ARGUMENT"),
    (UnknownModel, 404, "NOT_FOUND"),
    (BundleError, 409, "FAILED_PRECONDITION"),
    (DataError, 422, "INVALID_ARGUMENT"),
    (CausalError, 422, "INVALID_ARGUMENT"),
    (ACIEError, 422, "INVALID_ARGUMENT"),
)


@dataclass(frozen=True)
class Problem:
    """A problem document.

    Arguments:
        status: HTTP status.
        code: gRPC status code by name.
        title: Kind of the problem, the same for all of its kind.
        detail: What happened this time.
        kind: Last part of its URI.
        headers: Headers of the HTTP answer.
        extra: Further members of the document.
    """

    status: int
    code: str
    title: str
    detail: str
    kind: str
    headers: dict[str, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    def to_json(self, instance: str | None = None) -> dict[str, Any]:
        """The document."""
        members = {
            "type": f"urn:acie:problem:{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if instance is not None:
            members["instance"] = instance
        return members | self.extra


def problem_of(error: Exception) -> Problem:
    """The problem document of an error; what is not raised on purpose tells nothing."""
    known = next((row for row in _TABLE if isinstance(error, row[0])), None)
    if known is None:
        return Problem(
            500, "INTERNAL", "Internal error", "The error was logged.", "internal-error"
        )
    _, status, code = known
    headers = dict(getattr(error, "headers", {}))
    if status in (429, 503, 504) and hasattr(error, "retry_after_s"):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    name = type(error).__name__
    members = ("argument", "expected", "found", "remedy", "errors")
    extra = {k: getattr(error, k, None) for k in members}
    return Problem(status, code, _words(name), str(error), _words(name, "-").lower(), headers,
                   {k: v for k, v in extra.items() if v})  # fmt: skip


def _words(name: str, gap: str = " ") -> str:
    """``MissingRedshift`` as ``Missing redshift``."""
    parts = "".join(f" {c.lower()}" if c.isupper() else c for c in name).split()
    return gap.join(parts).capitalize()
