"""One thing to measure: a function, and what one call of it does."""

__all__ = ["Stage"]

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One thing to measure.

    Arguments:
        name: As in :data:`acie.benchmark.config.STAGES`.
        unit: What is counted per second.
        items: How many of them one call does.
        call: Does it once, each time on the next galaxies of the set.
        counted: The same computation by torch, whose operations are counted, where another
            library does ``call``.
    """

    name: str
    unit: str
    items: int
    call: Callable[[], object]
    counted: Callable[[], object] | None = None
