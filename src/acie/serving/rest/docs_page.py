"""``/docs``: the OpenAPI document for people."""

__all__ = ["router"]

import base64
import hashlib
import html
import re
from typing import Any

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

_CDN, _ICON, _PLACE = "https://cdn.jsdelivr.net", "data:,", '<div id="swagger-ui">'


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """Swagger UI, whose program comes from a public network; without it, a plain list."""
    page = get_swagger_ui_html(
        openapi_url=request.app.openapi_url,
        title=f"{request.app.title} {request.app.version}",
        swagger_favicon_url=_ICON,
    )
    text = page.body.decode("utf-8")
    # Swagger UI replaces what stands in its place.
    text = text.replace(_PLACE, _PLACE + _plain(request.app.openapi(), request.app.openapi_url))
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    return HTMLResponse(text, headers={"Content-Security-Policy": _policy(scripts)})


def _policy(scripts: list[str]) -> str:
    """Only these scripts may run, and those of the network that Swagger UI comes from."""
    digests = [hashlib.sha256(script.encode("utf-8")).digest() for script in scripts]
    own = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {_CDN} {own}; style-src {_CDN} 'unsafe-inline'; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def _plain(document: dict[str, Any], url: str) -> str:
    """All operations, without a program."""
    rows = [
        f"<li><code>{method.upper()} {html.escape(path)}</code> "
        f"{html.escape(operation.get('description', '').partition(chr(10))[0])}</li>"
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    title = html.escape(f"{document['info']['title']} {document['info']['version']}")
    return (
        f"<h1>{title}</h1><p>{html.escape(document['info'].get('summary', ''))}</p>"
        f'<p>The whole contract: <a href="{url}">{url}</a></p><ul>{"".join(rows)}</ul>'
    )
