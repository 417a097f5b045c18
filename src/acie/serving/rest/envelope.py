"""Around every request: its size, the headers of its answer, and what nobody caught."""

__all__ = ["Envelope"]

import logging

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from acie.errors import ACIEError
from acie.serving.problems import problem_of
from acie.serving.refusals import BodyTooLarge, UnsupportedContent
from acie.serving.rest.failures import problem_response

_log = logging.getLogger(__name__)

#: Of every answer that does not set them itself.
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class Envelope:
    """Bounds bodies, and lets no error leave without a problem document.

    Arguments:
        app: The application.
        max_body_bytes: Largest body, whether its length is announced or not.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self._app, self._limit = app, max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        started = False

        async def dressed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                own = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    own.setdefault(name, value)
            await send(message)

        try:
            self._check(headers)
            await self._app(scope, self._bounded(receive), dressed)
        except Exception as error:
            if not isinstance(error, ACIEError):
                _log.exception("unexpected error")
            if started:
                raise
            response = problem_response(problem_of(error), Request(scope))
            await response(scope, receive, dressed)

    def _check(self, headers: Headers) -> None:
        """Refuse by its headers what needs not be read.

        Packed bodies are refused: they would need a bound of their own, and spectra pack badly.
        """
        if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            error = UnsupportedContent(
                "Content-Encoding",
                expected="identity",
                found=repr(headers["content-encoding"][:60]),
                remedy="Send the body as it is; application/msgpack is the compact form.",
            )
            error.headers = {"Accept-Encoding": "identity"}
            raise error
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self._limit:
            raise self._too_large(f"{length[:20]} bytes")

    def _bounded(self, receive: Receive) -> Receive:
        """The same messages, as long as their bodies are not longer than the limit."""
        total = 0

        async def bounded() -> Message:
            nonlocal total
            message = await receive()
            total += len(message.get("body", b""))
            if total > self._limit:
                raise self._too_large("more")
            return message

        return bounded

    def _too_large(self, found: str) -> BodyTooLarge:
        error = BodyTooLarge(
            "body",
            expected=f"at most {self._limit} bytes",
            found=found,
            remedy="Send fewer galaxies at a time, or use application/msgpack.",
        )
        # The rest of the body is not wanted on this connection.
        error.headers = {"Connection": "close"}
        return error
