"""The answers of this process."""

__all__ = ["MemoryStore"]

import collections
import time
from collections.abc import Callable

from acie.serving.query import Answer


class MemoryStore:
    """The most recently used answers, each until it expires; one event loop, no locks.

    Arguments:
        entries: Most answers; an answer takes about 80 kB.
        clock: Seconds since 1970.
    """

    def __init__(self, entries: int, clock: Callable[[], float] = time.time) -> None:
        self._entries, self._clock = entries, clock
        self._answers: collections.OrderedDict[str, tuple[Answer, float]] = (
            collections.OrderedDict()
        )

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: str) -> Answer | None:
        """The answer, if it is there and has not expired."""
        found = self._answers.get(key)
        if found is None:
            return None
        answer, until = found
        if self._clock() >= until:
            del self._answers[key]
            return None
        self._answers.move_to_end(key)
        return answer

    def put(self, key: str, answer: Answer, until: float) -> None:
        """Keep an answer, and forget the one that was used longest ago if there are too many."""
        if self._entries == 0:
            return
        self._answers[key] = answer, until
        self._answers.move_to_end(key)
        while len(self._answers) > self._entries:
            self._answers.popitem(last=False)
