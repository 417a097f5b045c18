"""Every inference is logged, beside the path of requests.

A record is *durable* when the transaction that wrote it was committed:
:attr:`InferenceJournal.written` counts those, and none of them is lost or doubled whatever happens
afterwards. Until then it waits in a bounded buffer in memory: a database that is away costs none
until the buffer is full, and then the newest records are dropped, counted and logged, while those
that wait stay in order. A process that is killed loses what waits, which is what came within the
last ``flush_s`` and one write while the database is well.
"""

__all__ = ["InferenceJournal"]

import asyncio
import collections
import contextlib
import itertools
import logging
import random
import time
from collections.abc import Callable, Sequence

from acie.serving.storage.records import InferenceRecord
from acie.serving.storage.repositories import InferenceRepository

_log = logging.getLogger(__name__)

#: Records in one transaction.
_BATCH = 200
#: Seconds before the first repetition, and most between two.
_FIRST_S, _LONGEST_S = 0.1, 5.0
#: Seconds between two lines about the same trouble.
_QUIET_S = 30.0


class InferenceJournal:
    """Writes records in batches; used from one event loop.

    Arguments:
        repository: Where to.
        buffer: Records that may wait.
        flush_s: Seconds between writes.
        patience_s: Seconds that one write may take.
        committed: Called with every batch when it is durable.
    """

    def __init__(
        self,
        repository: InferenceRepository,
        buffer: int,
        flush_s: float,
        patience_s: float = 15.0,
        committed: Callable[[Sequence[InferenceRecord]], None] = lambda records: None,
    ) -> None:
        self._repository, self.committed = repository, committed
        self._buffer, self._flush_s, self._patience_s = buffer, flush_s, patience_s
        self._waiting: collections.deque[InferenceRecord] = collections.deque()
        self._wanted = asyncio.Event()
        self._task: asyncio.Task | None = None
        self._delay_s, self._said_at = 0.0, float("-inf")
        #: Records that were committed; dropped because the buffer was full; that the database
        #: refused for what they hold; and writes that failed and were repeated.
        self.written, self.dropped, self.refused, self.failures = 0, 0, 0, 0

    @property
    def depth(self) -> int:
        """Records that wait."""
        return len(self._waiting)

    @property
    def healthy(self) -> bool:
        """Whether the last write succeeded."""
        return self._delay_s == 0.0

    def open(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._run())

    def record(self, entry: InferenceRecord) -> bool:
        """Hand a record over, without waiting; whether there was room for it."""
        if len(self._waiting) >= self._buffer:
            self.dropped += 1
            self._say("the buffer of the inference log is full: %d records dropped", self.dropped)
            return False
        self._waiting.append(entry)
        if len(self._waiting) >= min(_BATCH, self._buffer):
            self._wanted.set()
        return True

    async def close(self, patience_s: float = 10.0) -> int:
        """Write what waits, as far as it can be done in time; how many records are lost."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while self._waiting:
                    await self._write_once()
        if self._waiting:
            _log.error("the inference log loses %d records at shutdown", len(self._waiting))
        return len(self._waiting)

    async def _run(self) -> None:
        while True:
            if not self._delay_s:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._flush_s):
                        await self._wanted.wait()
            self._wanted.clear()
            while self._waiting:
                await self._write_once()

    async def _write_once(self) -> None:
        """One batch; it leaves the buffer only when it is durable."""
        batch = list(itertools.islice(self._waiting, _BATCH))
        try:
            async with asyncio.timeout(self._patience_s):
                await self._repository.write(batch)
        except Exception as error:
            if self._repository.refuses(error):
                await self._write_singly(batch)
            else:
                await self._back_off(error)
            return
        self._settle(batch)

    async def _write_singly(self, batch: list[InferenceRecord]) -> None:
        """One record that the database refuses must not keep the others from it."""
        for entry in batch:
            try:
                async with asyncio.timeout(self._patience_s):
                    await self._repository.write([entry])
            except Exception as error:
                if not self._repository.refuses(error):
                    await self._back_off(error)
                    return
                self.refused += 1
                self._waiting.popleft()
                _log.error("a record was refused: %s", type(error).__name__)
            else:
                self._settle([entry])

    def _settle(self, batch: list[InferenceRecord]) -> None:
        for _ in batch:
            self._waiting.popleft()
        self.written += len(batch)
        if self._delay_s:
            _log.info("the inference log is written again; %d records wait", len(self._waiting))
        self._delay_s = 0.0
        self.committed(batch)

    async def _back_off(self, error: Exception) -> None:
        # A write that failed may have been committed: the answer was lost, not the record. Writing
        # it again is harmless, because its id is there already.
        self.failures += 1
        self._delay_s = min(_LONGEST_S, max(_FIRST_S, 2.0 * self._delay_s))
        self._say("the inference log waits for the database (%s)", type(error).__name__)
        await asyncio.sleep(self._delay_s * random.uniform(0.5, 1.0))

    def _say(self, text: str, value: object) -> None:
        """A line in the log, but not one per record."""
        now = time.monotonic()
        if now - self._said_at > _QUIET_S:
            self._said_at = now
            _log.warning(text, value)
