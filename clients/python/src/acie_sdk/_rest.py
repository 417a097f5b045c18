"""Calls over HTTP."""

__all__ = ["AsyncRest", "Rest"]

import asyncio
import contextlib
import email.utils
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import msgpack
import numpy as np

from acie_sdk._answers import Answer, Graph, Health, Model, parse
from acie_sdk._calls import Call, Question, __version__
from acie_sdk._errors import (
    APIConnectionError,
    APIResponseError,
    APITimeoutError,
    status_error,
)
from acie_sdk._tls import Tls

#: Whether spectra go as raw numbers in msgpack, a fifth of the size of JSON, or as JSON.
BINARY = True
_JSON, _MSGPACK = "application/json", "application/msgpack"


@dataclass(frozen=True)
class Connection:
    """Where to and as whom.

    Arguments:
        url: Of the service.
        api_key: API key or token.
        tls: Certificates of one's own.
        transport: Of httpx, in place of the network.
        connections: Most connections at once.
    """

    url: str
    api_key: str | None
    tls: Tls | None
    transport: Any
    connections: int

    def options(self) -> dict[str, Any]:
        """Of an httpx client."""
        headers = {"User-Agent": f"acie-sdk/{__version__}"}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        return {
            "base_url": self.url,
            "headers": headers,
            "transport": self.transport,
            "verify": True if self.tls is None else self.tls.context(),
            "limits": httpx.Limits(max_connections=self.connections),
        }


class Rest:
    """Sends calls and waits."""

    def __init__(self, connection: Connection) -> None:
        self._client = httpx.Client(**connection.options())

    def send(self, call: Call, timeout_s: float) -> Any:
        """One attempt.

        Raises:
            ACIEAPIError: No answer, or a refusal.
        """
        until = time.monotonic() + timeout_s
        content = bytearray()
        with _translated(call), self._client.stream(**_request(call), timeout=timeout_s) as found:
            for piece in found.iter_bytes():
                content += piece
                # The timeout of httpx is for each piece; a slow sender could go on for ever.
                if time.monotonic() > until:
                    raise httpx.ReadTimeout("the answer came too slowly")
        return _answer(call, found, bytes(content))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class AsyncRest:
    """Sends calls without blocking."""

    def __init__(self, connection: Connection) -> None:
        self._client = httpx.AsyncClient(**connection.options())

    async def send(self, call: Call, timeout_s: float) -> Any:
        """One attempt.

        Raises:
            ACIEAPIError: No answer, or a refusal.
        """
        with _translated(call):
            async with asyncio.timeout(timeout_s):
                found = await self._client.request(**_request(call), timeout=timeout_s)
        return _answer(call, found, found.content)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _request(call: Call) -> dict[str, Any]:
    """What httpx sends."""
    headers = {"X-Request-ID": call.request_id, "Accept": _MSGPACK if BINARY else _JSON}
    if call.question is not None:
        body = _body(call.question, call.model_version)
        headers |= {"Content-Type": headers["Accept"], "Idempotency-Key": call.key}
        return {
            "method": "POST",
            "url": "/api/v2/inference/counterfactual",
            "headers": headers,
            "content": _encode(body),
        }
    headers["Accept"] = _JSON
    path = {"models": "/api/v2/models", "graph": "/api/v2/graph", "health": "/health/ready"}
    parameters = {"model_version": call.model_version} if call.kind == "graph" else {}
    return {"method": "GET", "url": path[call.kind], "headers": headers, "params": parameters}


def _body(question: Question, model_version: str) -> dict[str, Any]:
    spectrum = question.spectrum
    observation: dict[str, Any] = dict(spectrum.arrays)
    if spectrum.redshift is not None:
        observation["redshift"] = spectrum.redshift
    if spectrum.name:
        observation["name"] = spectrum.name
    intervention = question.intervention
    body: dict[str, Any] = {
        "observation": observation,
        "intervention": list(intervention) if isinstance(intervention, tuple) else intervention,
        "model_version": model_version,
    }
    if question.hold:
        body["hold"] = list(question.hold)
    numbers = {"samples": question.samples, "seed": question.seed}
    return body | {name: value for name, value in numbers.items() if value is not None}


def _encode(body: dict[str, Any]) -> bytes:
    if BINARY:
        return msgpack.packb(body, default=_packed)
    return json.dumps(body, default=_listed, allow_nan=False).encode()


def _packed(array: np.ndarray) -> dict[str, Any]:
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": little.tobytes()}


def _listed(array: np.ndarray) -> list[float | bool | None]:
    """Numbers with null for NaN."""
    values = array.tolist()
    if array.dtype != np.bool_ and np.isnan(array).any():
        return [None if value != value else value for value in values]
    return values


def _unpacked(members: dict[str, Any]) -> Any:
    """Arrays from their raw form."""
    if members.keys() == {"dtype", "shape", "data"}:
        kind = np.dtype(members["dtype"]).newbyteorder("<")
        return np.frombuffer(members["data"], kind).reshape(members["shape"])
    return members


def _decode(response: httpx.Response, content: bytes) -> Any:
    """Plain data and arrays.

    Raises:
        ValueError: The body is neither JSON nor msgpack.
    """
    if response.headers.get("content-type", "").split(";")[0].strip() == _MSGPACK:
        return msgpack.unpackb(content, object_hook=_unpacked)
    return json.loads(content)


def _answer(call: Call, response: httpx.Response, content: bytes) -> Any:
    """What the call returns.

    Raises:
        APIStatusError: The service refused.
        APIResponseError: The body is not what it should be.
    """
    ready = call.kind == "health" and response.status_code in (200, 503)
    if not response.is_success and not ready:
        error = status_error(
            response.status_code, _problem(response, content), _retry_after(response)
        )
        error.request_id = response.headers.get("x-request-id", call.request_id)
        raise error
    try:
        data = _decode(response, content)
        return _parsed(call, response, data)
    except (ValueError, TypeError, KeyError, AttributeError, msgpack.UnpackException) as error:
        raise _marked(
            APIResponseError(f"not the answer of an ACIE service: {error}"), call
        ) from error
    except APIResponseError as error:
        raise _marked(error, call)  # noqa: B904


def _parsed(call: Call, response: httpx.Response, data: Any) -> Any:
    match call.kind:
        case "infer":
            own = response.headers.get("x-request-id", call.request_id)
            return parse(Answer, data | {"request_id": own})
        case "models":
            return parse(tuple[Model, ...], data["models"])
        case "graph":
            return parse(Graph, data)
        case _:
            return Health(response.status_code == 200, str(data.get("status", "")))


def _problem(response: httpx.Response, content: bytes) -> dict[str, Any]:
    """The problem document; what a proxy says instead becomes its detail."""
    try:
        data = _decode(response, content)
    except (ValueError, msgpack.UnpackException):
        data = None
    if isinstance(data, dict):
        return data
    text = content[:200].decode("utf-8", "replace").strip()
    return {"title": response.reason_phrase, "detail": text}


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds of ``Retry-After``, which is a number or a date (RFC 9110, section 10.2.3)."""
    text = response.headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        date = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


@contextlib.contextmanager
def _translated(call: Call) -> Iterator[None]:
    """Errors of httpx as those of the client."""
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise _marked(APIConnectionError("no connection in time"), call) from error
    except (httpx.TimeoutException, TimeoutError) as error:
        raise _marked(APITimeoutError(str(error) or "no answer in time"), call) from error
    except httpx.TransportError as error:
        reason = str(error) or type(error).__name__
        raise _marked(APIConnectionError(f"connection failed: {reason}"), call) from error
    except httpx.DecodingError as error:
        raise _marked(APIResponseError(str(error)), call) from error


def _marked(error: Any, call: Call) -> Any:
    error.request_id = call.request_id
    return error
