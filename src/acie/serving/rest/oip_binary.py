"""The extension ``binary_tensor_data``: tensors as bytes behind the JSON of a request or answer.

References:
    Triton Inference Server, protocol extension "binary tensor data".
"""

__all__ = ["HEADER", "is_binary", "pack", "read_inference"]

import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import orjson
from fastapi import Request, Response

from acie.serving.refusals import MalformedBody
from acie.serving.rest.wire import JSON, read

#: Length of the JSON in front of the bytes.
HEADER = "Inference-Header-Content-Length"
_NUMBERS = {"FP32": "<f4", "FP64": "<f8"}


async def read_inference(request: Request) -> Any:
    """The decoded body of an inference request, tensors as lists.

    Raises:
        MalformedBody: Lengths that do not fit the body.
        UnsupportedContent: Neither JSON nor this extension.
    """
    length = request.headers.get(HEADER)
    if length is None:
        return await read(request, missing=JSON)
    raw = await request.body()
    if not length.isdecimal() or int(length[:20]) > len(raw):
        raise _malformed(f"at most {len(raw)}, the length of the body", repr(length[:20]))
    head = int(length[:20])
    try:
        content = orjson.loads(raw[:head])
    except ValueError as error:
        raise MalformedBody("body", expected="JSON in front", found=str(error)[:100]) from None
    _fill(content, memoryview(raw)[head:])
    return content


def _fill(content: Any, rest: memoryview) -> None:
    """Put the bytes where their tensors are; what else is wrong is found later."""
    inputs = content.get("inputs") if isinstance(content, dict) else None
    for tensor in inputs if isinstance(inputs, list) else []:
        parameters = tensor.get("parameters") if isinstance(tensor, dict) else None
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        if size is None:
            continue
        if type(size) is not int or not 0 <= size <= len(rest):
            raise _malformed(f"binary_data_size of at most {len(rest)}", repr(size)[:40])
        tensor["data"] = _elements(tensor.get("datatype"), bytes(rest[:size]))
        rest = rest[size:]
    if len(rest):
        raise _malformed("no bytes behind the last tensor", str(len(rest)))


def _elements(datatype: Any, data: bytes) -> list[Any]:
    if datatype == "BYTES":
        return list(_texts(data))
    if not isinstance(datatype, str) or datatype not in _NUMBERS:
        raise _malformed("datatype FP32, FP64 or BYTES", repr(datatype)[:40])
    kind = np.dtype(_NUMBERS[datatype])
    if len(data) % kind.itemsize:
        raise _malformed(f"a multiple of {kind.itemsize} bytes", str(len(data)))
    values = np.frombuffer(data, kind)
    # Bad pixels are NaN as bytes and null as JSON.
    return np.where(np.isnan(values), None, values.astype(object)).tolist()


def _texts(data: bytes) -> Iterable[str]:
    """Elements of BYTES: a length of 32 bits before each."""
    place = 0
    while place < len(data):
        end = place + 4 + int.from_bytes(data[place : place + 4], "little")
        if end > len(data):
            raise _malformed("elements of BYTES with their lengths", "a length beyond the end")
        yield data[place + 4 : end].decode("utf-8", "replace")
        place = end


def is_binary(parameters: dict[str, Any], default: Any = False) -> bool:
    """Whether an output is wanted as bytes."""
    return parameters.get("binary_data", default) is True


def pack(content: dict[str, Any], binary: Sequence[bool]) -> Response:
    """An answer with some of its outputs as bytes."""
    parts = []
    for tensor, wanted in zip(content["outputs"], binary, strict=True):
        if wanted:
            parts.append(_bytes(tensor.pop("data"), tensor["datatype"]))
            tensor["parameters"] = {"binary_data_size": len(parts[-1])}
    head = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    if not parts:
        return Response(head, media_type=JSON)
    return Response(
        head + b"".join(parts),
        headers={HEADER: str(len(head))},
        media_type="application/octet-stream",
    )


def _bytes(data: Any, datatype: str) -> bytes:
    if datatype == "BYTES":
        texts = [text.encode("utf-8") for text in data]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return np.asarray(data, _NUMBERS[datatype]).tobytes()


def _malformed(expected: str, found: str) -> MalformedBody:
    return MalformedBody(HEADER, expected=expected, found=found)
