"""Requests that wait for the engine are computed together."""

__all__ = ["MicroBatcher", "Overloaded", "TooLate"]

import asyncio
import collections
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, TypeVar

from acie.errors import ACIEError

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Weight of the newest measurement in the moving average of the time per item.
_NEWEST = 0.2
#: Turns of the event loop without a new item after which no more is expected.
_TURNS = 8


class Overloaded(ACIEError):
    """The queue is full or too long; ``retry_after_s`` says when it will have room."""

    retry_after_s: float = 1.0


class TooLate(ACIEError):
    """The deadline passed, or would pass, before the answer."""

    retry_after_s: float = 1.0


@dataclass(eq=False)
class _Waiting(Generic[Item, Result]):
    item: Item
    future: "asyncio.Future[Result]"
    deadline: float


class MicroBatcher(Generic[Item, Result]):
    """Collects items while the engine is busy and hands it as many as fit when it is free.

    A lone item is computed at once, and under load batches grow by themselves to what has arrived
    meanwhile; those whose requests are being read at the moment come along. Items of one key are
    computed together; among keys the one whose first item has waited longest is next.

    Arguments:
        compute: Maps a key and items to results or exceptions, one each; called in ``executor``.
        executor: One thread: the engine uses all cores by itself.
        max_batch: Most items computed together.
        capacity: Most items that wait.
        observe: Called with the size of each batch and the seconds it took.
    """

    def __init__(
        self,
        compute: Callable[[Hashable, Sequence[Item]], Sequence[Result | Exception]],
        executor: Executor,
        max_batch: int,
        capacity: int,
        observe: Callable[[int, float], None] = lambda size, seconds: None,
    ) -> None:
        self._compute, self._executor, self._observe = compute, executor, observe
        self._max_batch, self._capacity = max_batch, capacity
        self._queues: collections.OrderedDict[Hashable, collections.deque[_Waiting]] = (
            collections.OrderedDict()
        )
        self._running: asyncio.Task | None = None
        self._waiting, self._in_work, self._seconds = 0, 0, 0.1

    @property
    def depth(self) -> int:
        """Items that wait."""
        return self._waiting

    @property
    def expected_wait_s(self) -> float:
        """Seconds until a new item would be done."""
        return self._seconds * (self._waiting + self._in_work + 1)

    async def submit(self, key: Hashable, item: Item, deadline: float) -> Result:
        """The result of one item.

        Arguments:
            key: Items with equal keys may be computed together.
            item: The item.
            deadline: On the clock of :func:`time.monotonic`.

        Raises:
            Overloaded: The queue is full, or so long that the deadline would pass.
            TooLate: The deadline has passed.
        """
        self._admit(deadline)
        future = asyncio.get_running_loop().create_future()
        waiting = _Waiting(item, future, deadline)
        self._queues.setdefault(key, collections.deque()).append(waiting)
        self._waiting += 1
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        try:
            async with asyncio.timeout(max(deadline - time.monotonic(), 0.0)):
                return await future
        except TimeoutError:
            raise _late("an answer before the deadline", self.expected_wait_s) from None
        finally:
            self._leave(key, waiting)

    async def drain(self) -> None:
        """Wait until nothing waits and nothing is computed."""
        while self._running is not None:
            await asyncio.shield(self._running)

    def check_room(self) -> None:
        """Refuse what there is no room for.

        Raises:
            Overloaded: The queue is full.
        """
        if self._waiting >= self._capacity:
            error = Overloaded(
                "queue",
                expected=f"at most {self._capacity} galaxies waiting",
                found=f"{self._waiting}",
                remedy="Try again later, or start more replicas.",
            )
            error.retry_after_s = self._seconds * self._waiting
            raise error

    def _admit(self, deadline: float) -> None:
        self.check_room()
        if time.monotonic() + self.expected_wait_s > deadline and self._waiting:
            # Refused, not late: nothing was begun, and coming back later helps.
            late = _late(f"at least {self.expected_wait_s:.1f} s", self.expected_wait_s)
            error = Overloaded(
                late.argument, expected=late.expected, found=late.found, remedy=late.remedy
            )
            error.retry_after_s = late.retry_after_s
            raise error

    def _leave(self, key: Hashable, waiting: _Waiting) -> None:
        """Free the place of an item whose caller has gone."""
        queue = self._queues.get(key)
        if queue is not None and waiting in queue:
            queue.remove(waiting)
            self._waiting -= 1
            if not queue:
                del self._queues[key]

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._queues:
                await self._company()
                if not self._queues:
                    # Whoever waited has left meanwhile.
                    break
                key, batch = self._next()
                if not batch:
                    continue
                self._in_work = len(batch)
                start = time.perf_counter()
                items = [waiting.item for waiting in batch]
                results = await loop.run_in_executor(self._executor, self._safely, key, items)
                seconds = time.perf_counter() - start
                self._seconds += _NEWEST * (seconds / len(batch) - self._seconds)
                self._observe(len(batch), seconds)
                self._in_work = 0
                for waiting, result in zip(batch, results, strict=True):
                    _settle(waiting.future, result)
        finally:
            self._running, self._in_work = None, 0

    async def _company(self) -> None:
        """Let those come along whose requests are being read at this moment.

        The loop turns without waiting, so a lone item is hardly delayed.
        """
        still = 0
        while self._waiting < self._max_batch and still < _TURNS:
            before = self._waiting
            await asyncio.sleep(0)
            still = still + 1 if self._waiting == before else 0

    def _next(self) -> tuple[Hashable, list[_Waiting]]:
        """The oldest key and as many of its items as fit, without those nobody waits for."""
        key, queue = next(iter(self._queues.items()))
        batch = []
        while queue and len(batch) < self._max_batch:
            waiting = queue.popleft()
            self._waiting -= 1
            if not waiting.future.done() and waiting.deadline > time.monotonic():
                batch.append(waiting)
        del self._queues[key]
        if queue:
            self._queues[key] = queue
        return key, batch

    def _safely(self, key: Hashable, items: list[Item]) -> Sequence[Result | Exception]:
        try:
            return self._compute(key, items)
        except Exception as error:
            return [error] * len(items)


def _settle(future: asyncio.Future, result: object) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


def _late(expected: str, wait: float) -> TooLate:
    error = TooLate(
        "deadline",
        expected=expected,
        found="less",
        remedy="Allow more time, ask for fewer samples, or start more replicas.",
    )
    error.retry_after_s = wait
    return error
