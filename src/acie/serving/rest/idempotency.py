"""``Idempotency-Key``: a request that is sent twice is computed once and answered alike.

Kept in the memory of one replica: an answer has no effects, so that a retry which reaches another
replica costs a computation and nothing else.
"""

__all__ = ["IdempotencyStore", "once"]

import asyncio
import collections
import hashlib
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import Request, Response

from acie.serving.refusals import KeyReused, MalformedHeader

Compute = Callable[[], Awaitable[Response]]

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
#: What the answer to the same request may depend on.
_HEADERS = ("content-type", "accept")
#: By whom it is sent; a key says nothing about the requests of others.
_CALLER = ("authorization", "x-api-key")


@dataclass
class _Entry:
    fingerprint: bytes
    task: "asyncio.Task[Response]"
    expires: float = float("inf")
    size: int = 0


class IdempotencyStore:
    """Answers by key, the oldest forgotten first.

    Arguments:
        max_bytes: Most bytes of answers.
        ttl_s: Seconds that an answer is kept.
    """

    def __init__(self, max_bytes: int = 64 * 2**20, ttl_s: float = 3600.0) -> None:
        self._max_bytes, self._ttl_s, self._bytes = max_bytes, ttl_s, 0
        self._entries: collections.OrderedDict[bytes, _Entry] = collections.OrderedDict()

    async def get(self, key: bytes, fingerprint: bytes, compute: Compute) -> tuple[Response, bool]:
        """The answer of a key, and whether it was there or on its way.

        Only answers that succeed are kept: a failed request may be sent again with its key.

        Raises:
            KeyReused: The key belongs to another request.
        """
        self._expire()
        entry = self._entries.get(key)
        known = entry is not None
        if entry is None:
            entry = _Entry(fingerprint, asyncio.ensure_future(compute()))
            self._entries[key] = entry
            entry.task.add_done_callback(lambda task: self._done(key, entry))
        elif entry.fingerprint != fingerprint:
            raise KeyReused(
                "Idempotency-Key",
                expected="the request that it was first sent with",
                found="another one",
                remedy="Make a new key for every new request.",
            )
        # Who leaves early must not take the answer away from those who wait for it too.
        return await asyncio.shield(entry.task), known

    def _done(self, key: bytes, entry: _Entry) -> None:
        failed = entry.task.cancelled() or entry.task.exception() is not None
        if failed or entry.task.result().status_code >= 300:
            del self._entries[key]
            return
        entry.size = len(entry.task.result().body)
        entry.expires = time.monotonic() + self._ttl_s
        self._bytes += entry.size
        self._expire()

    def _expire(self) -> None:
        now = time.monotonic()
        for key, entry in list(self._entries.items()):
            if entry.expires == float("inf"):
                continue
            if entry.expires > now and self._bytes <= self._max_bytes:
                break
            self._bytes -= entry.size
            del self._entries[key]


async def once(request: Request, compute: Compute) -> Response:
    """The answer of ``compute``, computed once for requests with one key.

    Raises:
        MalformedHeader: The key is no key.
        KeyReused: The key belongs to another request.
    """
    given = request.headers.get("idempotency-key")
    if given is None:
        return await compute()
    if not _KEY.fullmatch(given):
        raise MalformedHeader(
            "Idempotency-Key", expected="1 to 255 visible ASCII characters", found=repr(given[:60])
        )
    store: IdempotencyStore = request.app.state.idempotency
    key = _digest(given, *(request.headers.get(name, "") for name in _CALLER))
    own = [request.method, str(request.url.path), str(request.url.query)]
    own += [request.headers.get(name, "") for name in _HEADERS]
    fingerprint = _digest(*own, hashlib.sha256(await request.body()).hexdigest())
    found, known = await store.get(key, fingerprint, compute)
    # Headers are added to what is sent: every request has its own.
    answer = Response(found.body, found.status_code, dict(found.headers), found.media_type)
    answer.headers["Idempotency-Replayed"] = "true" if known else "false"
    return answer


def _digest(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).digest()
