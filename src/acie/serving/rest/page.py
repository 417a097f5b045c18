"""``/dashboard``: the page for people, as ``clients/dashboard`` builds it.

References:
    Content Security Policy Level 3, section 6.7 (nonces).
"""

__all__ = ["router"]

import secrets
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

router = APIRouter(include_in_schema=False)

#: Where the build puts the page; part of the wheel, and not of a checkout.
PAGE = Path(__file__).parents[1] / "page"
#: The build writes this where a number must stand that nobody can guess.
_PLACE = "__CSP_NONCE__"
_KINDS = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
#: Names of assets hold a digest of their content, so that they never change.
_FOREVER = "public, max-age=31536000, immutable"
_MISSING = """<!doctype html>
<html lang="en">
<title>ACIE: the dashboard is not built</title>
<h1>The dashboard is not built</h1>
<p>This is a checkout of ACIE, where the page has to be built once, with Node 20.19 or newer:</p>
<pre>make dashboard</pre>
<p>Then load this page again. Released wheels have it. The service itself is complete without:
<a href="/docs">the REST interface</a>.</p>
</html>
"""


@router.api_route("/dashboard/assets/{name}", methods=["GET", "HEAD"])
async def asset(name: str, request: Request) -> Response:
    """Code, styles and pictures of the page."""
    # One path component can only be a file of this folder, or nothing.
    path = PAGE / "assets" / name
    kind = _KINDS.get(path.suffix)
    if kind is None or "\\" in name or "\0" in name or not path.is_file():
        raise HTTPException(404)
    headers = {"Cache-Control": _FOREVER, "Vary": "Accept-Encoding"}
    packed = path.with_name(f"{name}.gz")
    if _takes_gzip(request.headers.get("accept-encoding", "")) and packed.is_file():
        path, headers["Content-Encoding"] = packed, "gzip"
    return FileResponse(path, media_type=kind, headers=headers)


@router.api_route("/dashboard", methods=["GET", "HEAD"])
@router.api_route("/dashboard/{rest:path}", methods=["GET", "HEAD"])
async def page(request: Request, rest: str = "") -> Response:
    """The page; which of its views is shown is decided in the browser, from the path."""
    if "." in rest.rpartition("/")[2]:
        # A file that is not there must not become a page.
        raise HTTPException(404)
    if request.url.path == "/dashboard":
        return RedirectResponse("/dashboard/", 308)
    index = PAGE / "index.html"
    if not index.is_file():
        return HTMLResponse(_MISSING, 404, {"Content-Security-Policy": "default-src 'none'"})
    nonce = secrets.token_urlsafe(18)
    text = index.read_text("utf-8").replace(_PLACE, nonce)
    return HTMLResponse(text, headers={"Content-Security-Policy": _policy(nonce)})


def _takes_gzip(header: str) -> bool:
    """Whether a client unpacks gzip, by its ``Accept-Encoding``."""
    for part in header.split(","):
        name, _, parameters = (piece.strip().lower() for piece in part.partition(";"))
        if name in ("gzip", "*"):
            return parameters.replace(" ", "").rstrip("0.") != "q="
    return False


def _policy(nonce: str) -> str:
    """Only what this server sent may run, and only this server is asked."""
    return (
        f"default-src 'none'; script-src 'self' 'nonce-{nonce}'; "
        f"style-src 'self' 'nonce-{nonce}'; img-src 'self' blob: data:; connect-src 'self'; "
        "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
