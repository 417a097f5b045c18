"""One computation per question, and its answer for all who ask the same for a while."""

__all__ = ["AnswerCache", "open_cache"]

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from acie.errors import ACIEError
from acie.serving.batching import Overloaded, TooLate
from acie.serving.caching.codec import compact, decode, encode
from acie.serving.caching.memory import MemoryStore
from acie.serving.caching.remote import RedisStore
from acie.serving.query import Answer
from acie.serving.settings import CacheSettings

Compute = Callable[[], Awaitable[Answer]]


@dataclass
class _Flight:
    """A computation and how many wait for it."""

    task: "asyncio.Task[Answer]"
    waiting: int = 0


class AnswerCache:
    """Answers by key: in process first, then Redis, then computed.

    Simultaneous equal questions of one process are computed once. The computation is nobody's:
    a caller who gives up does not end it while others wait, and the last one who gives up does.
    An error that the question itself causes is for all; one that the first caller's deadline or
    a full queue causes is not, and the others compute again. Errors are never kept.

    Arguments:
        memory: The answers of this process.
        remote: The answers of all replicas, or None.
        ttl_s: Seconds that an answer is kept, counted from its computation.
    """

    def __init__(self, memory: MemoryStore, remote: RedisStore | None, ttl_s: float) -> None:
        self._memory, self._remote, self._ttl_s = memory, remote, ttl_s
        self._flights: dict[str, _Flight] = {}
        #: Questions by where their answer came from.
        self.counts = {"memory": 0, "redis": 0, "shared": 0, "computed": 0}

    async def get_or_compute(self, key: str | None, compute: Compute) -> Answer:
        """The answer to a question; ``cached`` tells whether it was computed for somebody else.

        Arguments:
            key: Of :func:`~acie.serving.caching.keys.answer_key`; None computes.
            compute: Computes the answer; may be called again after it failed for another caller.

        Raises:
            Exception: What ``compute`` raises.
        """
        if key is None:
            return compact(await compute())
        while True:
            answer = self._memory.get(key)
            if answer is not None:
                return self._found("memory", answer)
            flight, leads = self._flights.get(key), False
            if flight is None:
                flight, leads = self._begin(key, compute), True
            try:
                answer = await self._wait(flight)
            except (asyncio.CancelledError, Exception) as error:
                if leads or not _only_of_the_leader(error, flight):
                    raise
                continue
            return answer if leads else self._found("shared", answer)

    @property
    def ping(self) -> Callable[[], Awaitable[bool]] | None:
        """Tells whether Redis answers; None where there is none."""
        return None if self._remote is None else self._remote.ping

    async def close(self) -> None:
        """Let go of Redis."""
        if self._remote is not None:
            await self._remote.close()

    def _found(self, where: str, answer: Answer) -> Answer:
        self.counts[where] += 1
        return answer if answer.cached else dataclasses.replace(answer, cached=True)

    def _begin(self, key: str, compute: Compute) -> _Flight:
        flight = _Flight(asyncio.create_task(self._fetch(key, compute)))
        self._flights[key] = flight

        def landed(task: asyncio.Task) -> None:
            if self._flights.get(key) is flight:
                del self._flights[key]
            # Nobody may be left to look at the error.
            task.cancelled() or task.exception()

        flight.task.add_done_callback(landed)
        return flight

    async def _wait(self, flight: _Flight) -> Answer:
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if flight.waiting == 0 and not flight.task.done():
                flight.task.cancel()
                # Whoever comes now begins anew instead of joining what is ending.
                self._flights = {k: f for k, f in self._flights.items() if f is not flight}

    async def _fetch(self, key: str, compute: Compute) -> Answer:
        """From Redis, or computed and given to Redis."""
        if self._remote is not None:
            value = await self._remote.get(key)
            found = None if value is None else decode(key, value)
            # The clocks of replicas may differ: no answer stays longer than one lifetime from now.
            now = time.time()
            if found is not None and now < found[1]:
                answer, until = found
                self._memory.put(key, answer, min(until, now + self._ttl_s))
                return self._found("redis", answer)
        answer = compact(await compute())
        self.counts["computed"] += 1
        until = time.time() + self._ttl_s
        self._memory.put(key, answer, until)
        if self._remote is not None:
            self._remote.put(key, encode(key, answer, until), self._ttl_s)
        return answer


def _only_of_the_leader(error: BaseException, flight: _Flight) -> bool:
    """Whether a follower may succeed where the computation failed.

    A cancelled flight is one; that the follower itself is cancelled leaves the flight running.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return flight.task.cancelled() and not (task is not None and task.cancelling())
    return isinstance(error, Overloaded | TooLate) or not isinstance(error, ACIEError)


def open_cache(settings: CacheSettings) -> AnswerCache:
    """The cache that the settings describe; nothing is connected yet."""
    remote = None
    if settings.url is not None:
        remote = RedisStore(settings.url.get_secret_value(), settings.timeout_s, settings.rest_s)
    return AnswerCache(MemoryStore(settings.entries), remote, settings.ttl_s)
