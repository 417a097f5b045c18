"""The errors that the client raises.

::

    ACIEAPIError
    ├── InvalidInputError       refused before anything was sent
    ├── APIConnectionError      the service could not be reached, or the connection broke
    ├── APITimeoutError         no answer in time
    ├── APIResponseError        an answer that the client does not understand
    └── APIStatusError          the service refused; it says what, and often what to do
        ├── BadRequestError     400, 409, 413, 415, 422 and other mistakes of the request
        ├── AuthenticationError 401
        ├── PermissionError_    403
        ├── NotFoundError       404
        ├── RateLimitedError    429
        ├── OverloadedError     503
        └── ServerError         500, 502, 504 and other failures of the service
"""

__all__ = [
    "ACIEAPIError",
    "APIConnectionError",
    "APIResponseError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "InvalidInputError",
    "NotFoundError",
    "OverloadedError",
    "PermissionError_",
    "RateLimitedError",
    "ServerError",
    "status_error",
]

from collections.abc import Mapping
from typing import Any


class ACIEAPIError(Exception):
    """Base of every error of the client.

    Attributes:
        request_id: Names the request in the logs of the service; empty when nothing was sent.
        attempts: How often it was tried.
    """

    request_id: str = ""
    attempts: int = 0


class InvalidInputError(ACIEAPIError, ValueError):
    """An argument that cannot be sent."""

    def __init__(self, argument: str, *, expected: str, found: str) -> None:
        self.argument, self.expected, self.found = argument, expected, found
        super().__init__(f"{argument}: expected {expected}, found {found}")


class APIConnectionError(ACIEAPIError):
    """The service could not be reached, or the connection broke."""


class APITimeoutError(ACIEAPIError):
    """No answer in time."""


class APIResponseError(ACIEAPIError):
    """An answer that the client does not understand: another version, or not ACIE at all."""


class APIStatusError(ACIEAPIError):
    """The service refused.

    Arguments:
        status: HTTP status; over gRPC the one that its code stands for.
        problem: The problem document (RFC 9457); empty where something in between refused.
        retry_after_s: Seconds after which to try again, None where the service named none.
    """

    def __init__(
        self, status: int, problem: Mapping[str, Any], retry_after_s: float | None = None
    ) -> None:
        self.status, self.problem, self.retry_after_s = status, dict(problem), retry_after_s
        super().__init__(self._text("detail") or self._text("title") or f"status {status}")

    @property
    def argument(self) -> str:
        """The argument that is wrong; empty where the service named none."""
        return self._text("argument")

    @property
    def expected(self) -> str:
        """What would have been accepted."""
        return self._text("expected")

    @property
    def found(self) -> str:
        """What was sent."""
        return self._text("found")

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return self._text("remedy")

    def __str__(self) -> str:
        return f"[{self.status}] {super().__str__()}"

    def _text(self, member: str) -> str:
        value = self.problem.get(member)
        return "" if value is None else str(value)


class BadRequestError(APIStatusError):
    """The request is wrong; sending it again would not help."""


class AuthenticationError(APIStatusError):
    """No key, or one that is not valid."""


class PermissionError_(APIStatusError):
    """The key may not do this. The underscore keeps it apart from Python's own."""


class NotFoundError(APIStatusError):
    """No such model, or no such address."""


class RateLimitedError(APIStatusError):
    """This key has asked too much."""


class OverloadedError(APIStatusError):
    """The service has no room now."""


class ServerError(APIStatusError):
    """The service failed."""


_KINDS = {
    401: AuthenticationError,
    403: PermissionError_,
    404: NotFoundError,
    429: RateLimitedError,
    503: OverloadedError,
}


def status_error(
    status: int, problem: Mapping[str, Any], retry_after_s: float | None = None
) -> APIStatusError:
    """The error of a status."""
    kind = _KINDS.get(status, BadRequestError if 400 <= status < 500 else ServerError)
    return kind(status, problem, retry_after_s)
