"""Do the cache and the database answer? Asked again and again, beside the path of requests.

Requests go on without either of them, so that nobody would notice: hence somebody must look.
"""

__all__ = ["DependencyWatch"]

import asyncio
from collections.abc import Awaitable, Callable, Mapping

#: Seconds after which no answer is a failure.
_PATIENCE_S = 3.0


class DependencyWatch:
    """Asks what the service depends on whether it is well.

    Arguments:
        pings: By name, what tells whether it answers.
        every_s: Seconds between looks.
    """

    def __init__(
        self, pings: Mapping[str, Callable[[], Awaitable[bool]]], every_s: float
    ) -> None:
        self._pings, self._every_s = dict(pings), every_s
        #: By name whether it answered the last time; empty before the first look.
        self.up: dict[str, bool] = {}

    async def look(self) -> None:
        """Ask all of them once, at a time."""
        found = await asyncio.gather(*(_answers(ping) for ping in self._pings.values()))
        self.up = dict(zip(self._pings, found, strict=True))

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._every_s)


async def _answers(ping: Callable[[], Awaitable[bool]]) -> bool:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await ping()
    except Exception:  # Whatever is wrong with it, it does not answer.
        return False
