"""Which scope a request needs: one table, and whatever is not in it needs ``admin``."""

__all__ = ["Guard", "scope_of"]

import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from acie.serving.request import current_request
from acie.serving.resources import Resources

#: Anybody: how the service is, and how to use it.
_OPEN = re.compile(
    r"/health(/live|/ready)?|/v2/health/(live|ready)|/metrics|/docs|/openapi\.json"
    # The page is the same for all; what it shows, it asks for as the one who looks at it.
    r"|/dashboard(/.*)?"
)
#: Questions are asked with POST, but change nothing.
_ASK = re.compile(
    r"/api/v2/inference(/counterfactual|/batch|/observation|/catalogue)?|/v2/models/.+/infer"
)


def scope_of(method: str, path: str) -> str | None:
    """The scope that a request needs; none for what is open to everybody."""
    if method in ("GET", "HEAD"):
        return None if _OPEN.fullmatch(path) else "read"
    if method == "POST" and _ASK.fullmatch(path):
        return "infer"
    return "admin"


class Guard:
    """Middleware that lets only those in who may, and no questions while the queue is full.

    Bodies are not read before.

    Arguments:
        app: The application inside.
        state: Of the outer application; ``resources.access`` is asked.
    """

    def __init__(self, app: ASGIApp, state: object) -> None:
        self._app, self._state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or raise."""
        if scope["type"] == "http":
            needed = scope_of(scope["method"], scope["path"])
            if needed is not None:
                resources: Resources = self._state.resources
                access = resources.access
                principal = await access.authenticate(Headers(scope=scope).items())
                current_request().principal = principal
                access.require(principal, needed)
                if needed == "infer":
                    resources.service.check_room()
        await self._app(scope, receive, send)
