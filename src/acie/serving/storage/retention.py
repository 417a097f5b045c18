"""Records are deleted when they are old."""

__all__ = ["Retention"]

import asyncio
import contextlib
import datetime
import logging

from acie.serving.storage.repositories import InferenceRepository

_log = logging.getLogger(__name__)

#: Records per transaction, so that none holds its locks for long; seconds between two of them.
_CHUNK, _PAUSE_S = 1000, 0.05


class Retention:
    """Deletes old records in chunks, in the background.

    Arguments:
        repository: Where.
        days: Age at which records are deleted.
        every_s: Seconds between two looks.
    """

    def __init__(
        self, repository: InferenceRepository, days: float, every_s: float = 600.0
    ) -> None:
        self._repository, self._days, self._every_s = repository, days, every_s
        self._task: asyncio.Task | None = None

    def open(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop; what is not deleted yet is next time."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def sweep(self, chunk: int = _CHUNK) -> int:
        """Delete what is old now; how many records."""
        limit = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=self._days)
        total = 0
        while True:
            done = await self._repository.delete_before(limit, chunk)
            total += done
            if done < chunk:
                return total
            await asyncio.sleep(_PAUSE_S)

    async def _run(self) -> None:
        while True:
            try:
                deleted = await self.sweep()
                if deleted:
                    _log.info("%d old records deleted", deleted)
            except Exception as error:
                # The database may be away; old records can wait.
                _log.debug("retention: %s", type(error).__name__)
            await asyncio.sleep(self._every_s)
