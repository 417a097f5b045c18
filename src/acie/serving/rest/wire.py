"""Bodies as bytes: JSON, and msgpack with arrays as raw little-endian numbers.

A body is decoded straight from its bytes and checked once, by the models of ``schemas.py``.
"""

__all__ = [
    "JSON",
    "MSGPACK",
    "Wanted",
    "accepted",
    "decoded",
    "encode",
    "read",
    "reply",
    "validated",
]

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import msgpack
import numpy as np
import orjson
from fastapi import Depends, Request, Response
from pydantic import BaseModel, ValidationError

from acie.serving.refusals import MalformedBody, NotAcceptable, UnsupportedContent, invalid

JSON, MSGPACK = "application/json", "application/msgpack"
_MSGPACK_NAMES = (MSGPACK, "application/x-msgpack", "application/vnd.msgpack")

Body = TypeVar("Body", bound=BaseModel)


async def read(request: Request, missing: str | None = None) -> Any:
    """The decoded body of a request.

    Arguments:
        request: The request.
        missing: The type of a body that does not say it; refused when left out.

    Raises:
        UnsupportedContent: Neither JSON nor msgpack.
        MalformedBody: Not what its type says.
        BodyTooLarge: Longer than the service reads.
    """
    kind = _content_kind(request.headers.get("content-type", missing or ""))
    raw = await request.body()
    try:
        if kind == JSON:
            return orjson.loads(raw)
        return msgpack.unpackb(raw, raw=False, strict_map_key=True)
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        reason = str(error)[:100] or type(error).__name__
        raise MalformedBody(
            "body",
            expected=f"one whole document of {kind}",
            found=f"{len(raw)} bytes that are none ({reason})",
            remedy="Numbers that are not finite are no JSON; bad pixels are null.",
        ) from None


def validated(model: type[Body], content: Any) -> Body:
    """Decoded content as a request.

    Raises:
        MalformedRequest: It is none; says where and why.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False)) from None


def decoded(model: type[Body], reader: Callable[[Request], Awaitable[Any]] = read) -> Any:
    """A dependency: the body of the request as ``model``."""

    async def dependency(request: Request) -> Body:
        return validated(model, await reader(request))

    return Depends(dependency)


def _content_kind(given: str) -> str:
    name, _, parameters = given.partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    name = name.strip().lower()
    if name == JSON and charset in ("", "utf-8", "utf8"):
        return JSON
    if name in _MSGPACK_NAMES:
        return MSGPACK
    # A body without a type is refused too: browsers send those to other sites without asking.
    error = UnsupportedContent(
        "Content-Type",
        expected=f"{JSON} or {MSGPACK}",
        found=repr(given[:60]) if given else "none",
    )
    error.headers = {"Accept": f"{JSON}, {MSGPACK}"}
    raise error


def accepted(*others: str) -> Any:
    """A dependency: the type of answer that the client prefers, JSON where it does not mind.

    Arguments:
        others: Types that this endpoint writes besides JSON and msgpack.

    Raises:
        NotAcceptable: It wants none of them.
    """
    names = {JSON: (JSON,), MSGPACK: _MSGPACK_NAMES} | {other: (other,) for other in others}

    async def wanted(request: Request) -> str:
        header = ",".join(request.headers.getlist("accept"))
        if not header.strip():
            return JSON
        ranges = [_range(part) for part in header.split(",")[:50]]
        quality = {kind: max(_quality(name, ranges) for name in names[kind]) for kind in names}
        best = max(quality, key=quality.get)  # JSON where several are as good: it comes first
        if quality[best] <= 0.0:
            raise NotAcceptable("Accept", expected=" or ".join(names), found=repr(header[:60]))
        return best

    return Depends(wanted)


def _range(part: str) -> tuple[str, float]:
    """A media range and its quality."""
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    text = next((p[2:] for p in parameters if p.startswith("q=")), "1")
    return name, float(text) if text.replace(".", "", 1).isdecimal() and text.isascii() else 0.0


def _quality(name: str, ranges: list[tuple[str, float]]) -> float:
    """Quality of a type by the most specific range that covers it (RFC 9110, section 12.5.1)."""
    given = dict(ranges)
    for pattern in (name, name.partition("/")[0] + "/*", "*/*"):
        if pattern in given:
            return given[pattern]
    return 0.0


def encode(content: Any, kind: str) -> bytes:
    """Plain data and arrays as bytes."""
    if kind == JSON:
        return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return msgpack.packb(content, default=_packable)


def _packable(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        little = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
        return {"dtype": value.dtype.name, "shape": value.shape, "data": little.tobytes()}
    raise TypeError(type(value).__name__)


def reply(content: Any, kind: str, status: int = 200, headers: dict | None = None) -> Response:
    """An answer of the wanted type."""
    return Response(encode(content, kind), status, {**(headers or {}), "Vary": "Accept"}, kind)


Wanted = Annotated[str, accepted()]
