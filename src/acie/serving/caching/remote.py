"""Redis, from which answers come if it is well and in time, and without which all goes on."""

__all__ = ["RedisStore"]

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from acie.errors import ConfigurationError

_log = logging.getLogger(__name__)
Value = TypeVar("Value")

_PREFIX = "acie:answer:"
#: Failures in a row after which Redis is left alone.
_FAILURES = 3
#: Writes that may be under way; more are not begun, their answers are only not shared.
_WRITES = 64


class RedisStore:
    """Bytes by key; every failure is a miss.

    Each operation has ``timeout_s``. After three failures in a row nothing is asked for ``rest_s``
    seconds; then one operation tries again while the others go on without. Values are written
    beside the path of requests.

    Arguments:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        timeout_s: Patience per operation.
        rest_s: Seconds that a failing Redis is left alone.
        clock: Seconds, monotonic.

    Raises:
        ConfigurationError: Not such a URL.
    """

    def __init__(
        self,
        url: str,
        timeout_s: float,
        rest_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout_s, self._rest_s, self._clock = timeout_s, rest_s, clock
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                max_connections=32,
                timeout=timeout_s,
                socket_timeout=timeout_s,
                # Connecting may take longer than the patience of one operation without harm: the
                # operation gives up by itself.
                socket_connect_timeout=timeout_s,
                # The default tries three times more, which a cache is not worth.
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError:
            raise ConfigurationError(
                "cache url",
                expected="redis://host:port/number, rediss:// or unix://",
                found="another form",
                remedy="Set ACIE_CACHE__URL.",
            ) from None
        self._redis = Redis(connection_pool=pool)
        self._writes: set[asyncio.Task] = set()
        self._failed_in_a_row, self._closed_until = 0, 0.0
        self.failures = 0

    @property
    def resting(self) -> bool:
        """Whether Redis is left alone at the moment."""
        return self._clock() < self._closed_until

    async def get(self, key: str) -> bytes | None:
        """The value, or None if there is none or it does not come in time."""
        return await self._try(lambda: self._redis.get(_PREFIX + key))

    def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Begin to write a value; returns at once."""
        if self.resting or len(self._writes) >= _WRITES:
            return
        milliseconds = max(1, round(ttl_s * 1e3))
        task = asyncio.create_task(
            self._try(lambda: self._redis.set(_PREFIX + key, value, px=milliseconds))
        )
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def ping(self) -> bool:
        """Whether Redis answers; asked even while it rests, and changes nothing about that."""
        return bool(await self._redis.ping())

    async def close(self) -> None:
        """End the writes that are under way and the connections."""
        await asyncio.gather(*self._writes, return_exceptions=True)
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()

    async def _try(self, operation: Callable[[], Awaitable[Value]]) -> Value | None:
        if self.resting:
            return None
        if self._closed_until:
            # The rest is over: this operation probes, and the others rest until it is done.
            self._closed_until = self._clock() + self._rest_s
        try:
            async with asyncio.timeout(self._timeout_s):
                value = await operation()
        except (RedisError, OSError, TimeoutError) as error:
            self._note_failure(error)
            return None
        if self._closed_until:
            _log.info("Redis answers again")
        self._failed_in_a_row, self._closed_until = 0, 0.0
        return value

    def _note_failure(self, error: Exception) -> None:
        self.failures += 1
        self._failed_in_a_row += 1
        if self._failed_in_a_row < _FAILURES:
            return
        if not self._closed_until:
            # Without the text of the error, which may name the user and the host.
            _log.warning("Redis fails (%s): going on without it", type(error).__name__)
        self._closed_until = self._clock() + self._rest_s
