"""``/docs``: the OpenAPI document for people."""

__all__ = ["router"]

import base64
import hashlib
import re

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

_CDN, _ICON = "https://cdn.jsdelivr.net", "data:,"


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """Swagger UI; its program comes from a public network, and only it may run."""
    page = get_swagger_ui_html(
        openapi_url=request.app.openapi_url,
        title=f"{request.app.title} {request.app.version}",
        swagger_favicon_url=_ICON,
    )
    scripts = re.findall(rb"<script>(.*?)</script>", page.body, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(text).digest()).decode() for text in scripts]
    own = " ".join(f"'sha256-{digest}'" for digest in digests)
    page.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src {_CDN} {own}; style-src {_CDN} 'unsafe-inline'; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return page
