"""The outermost layer of REST: names requests, bounds their number and patience, logs them.

References:
    W3C Trace Context; draft-ietf-httpapi-ratelimit-headers-10 (RateLimit fields).
"""

__all__ = ["Edge"]

import asyncio
import math
import time

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from acie.serving.problems import Problem
from acie.serving.request import Allowance, RequestContext, enter_request, leave_request
from acie.serving.settings import ServerSettings
from acie.serving.telemetry import Telemetry

#: Always answered: these say how the service is.
_PROBES = ("/health", "/metrics", "/v2/health", "/api/metrics")


class Edge:
    """Middleware around the whole application.

    Arguments:
        app: The application inside.
        state: Of the outer application; ``leaving`` is set when the process is about to stop.
        settings: Limits.
    """

    def __init__(self, app: ASGIApp, state: object, settings: ServerSettings) -> None:
        self._app, self._state, self._settings = app, state, settings
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = RequestContext.of("rest", Headers(scope=scope))
        token = enter_request(request)
        exchange = _Exchange(self, scope, receive, send, request)
        self._open += 1
        telemetry = self._telemetry
        if telemetry is not None:
            telemetry.begin(request)
        try:
            probe = scope["path"].startswith(_PROBES)
            if self._open > self._settings.max_in_flight and not probe:
                await exchange.refuse(_FULL)
            else:
                await exchange.run(self._app)
        finally:
            self._open -= 1
            if telemetry is not None:
                exchange.tell(telemetry, probe)
            leave_request(token)

    @property
    def _telemetry(self) -> Telemetry | None:
        resources = getattr(self._state, "resources", None)
        return None if resources is None else resources.telemetry

    @property
    def leaving(self) -> bool:
        """Whether connections should not be used again."""
        return bool(getattr(self._state, "leaving", False))

    @property
    def patience_s(self) -> float:
        """How long a body may take."""
        return self._settings.body_timeout_s


_FULL = Problem(
    503, "RESOURCE_EXHAUSTED", "Overloaded", "Too many requests at a time.", "overloaded",
    {"Retry-After": "1"},
)  # fmt: skip
_SLOW = Problem(
    408, "DEADLINE_EXCEEDED", "Slow body", "The body did not arrive in time.", "slow-body",
    {"Connection": "close"},
)  # fmt: skip


class _Exchange:
    """One request and its answer."""

    def __init__(
        self, edge: Edge, scope: Scope, receive: Receive, send: Send, request: RequestContext
    ) -> None:
        self._edge, self._scope, self._receive, self._send = edge, scope, receive, send
        self._request = request
        self._status = 0
        self._late = self._late_once = self._whole = False
        self._end = time.monotonic() + edge.patience_s

    async def run(self, app: ASGIApp) -> None:
        """Hand it to the application inside."""
        try:
            await app(self._scope, self.receive, self.send)
        finally:
            if self._late and not self._status:
                await self.refuse(_SLOW)

    async def refuse(self, problem: Problem) -> None:
        """Answer without the application."""
        body = orjson.dumps(problem.to_json(self._scope["path"]))
        headers = {
            "content-type": "application/problem+json",
            "content-length": str(len(body)),
            **problem.headers,
        }
        raw = [(k.lower().encode(), v.encode()) for k, v in headers.items()]
        self._late = False
        await self.send({"type": "http.response.start", "status": problem.status, "headers": raw})
        await self.send({"type": "http.response.body", "body": body})

    async def receive(self) -> Message:
        """The next piece of the body, if it comes in time."""
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout(max(self._end - time.monotonic(), 0.0)):
                message = await self._receive()
        except TimeoutError:
            # A process that stood still may have the body already: one last look.
            if not self._late_once:
                self._late_once, self._end = True, time.monotonic() + 0.5
                return await self.receive()
            # The application inside takes this for the end; what it says to it is not sent.
            self._late = True
            return {"type": "http.disconnect"}
        self._whole = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Send a piece of the answer, with our headers on its first."""
        if self._late:
            return
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableHeaders(raw=message["headers"])
            headers["X-Request-ID"] = self._request.request_id
            if self._request.traceparent:
                headers["traceparent"] = self._request.traceparent
            if self._request.allowance is not None:
                headers.update(_rate_headers(self._request.allowance))
            if self._edge.leaving:
                headers["Connection"] = "close"
            message["headers"] = headers.raw
        await self._send(message)

    def tell(self, telemetry: Telemetry, probe: bool) -> None:
        """One line per request; probes only when somebody looks closely."""
        client = self._scope.get("client")
        facts = {
            "method": self._scope["method"],
            "path": self._scope["path"][:200],
            "status": self._status,
            "client": client[0] if client else None,
        }
        route = getattr(self._scope.get("route"), "path", "")
        name = f"{self._scope['method']} {route}".strip()
        failed = self._status >= 500
        status = str(self._status or 499)
        telemetry.finish(self._request, name, status, facts, failed=failed, probe=probe)


def _rate_headers(allowance: Allowance) -> dict[str, str]:
    window = math.ceil(allowance.window_s)
    return {
        "RateLimit-Policy": f'"galaxies";q={allowance.limit};w={window}',
        "RateLimit": f'"galaxies";r={allowance.remaining};t={math.ceil(allowance.reset_s)}',
    }
