"""The last hour of the service in steps of seconds, so that a page has a past when it is opened.

A ring of slots of fixed size: memory does not grow, whatever is asked. Each process has its own;
what must outlive it, or covers several replicas, is the business of Prometheus.
"""

__all__ = ["SECONDS", "History"]

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

#: Upper edges of the buckets of latencies, seconds.
SECONDS = (
    0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1,
    0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0,
)  # fmt: skip
#: Upper edges of the buckets of confidences.
_SHARES = tuple(round(0.02 * i, 2) for i in range(1, 51))
_LEVELS = (0.5, 0.9, 0.99)
#: Kinds of outcomes kept apart in a slot; others are counted as one.
_KINDS = 16


class History:
    """What happened in each step of the last hour.

    Quantiles are interpolated in the buckets of a histogram.

    Arguments:
        clock: Seconds that never go back.
        now: Seconds since 1970, for the reader.
    """

    STEP_S, STEPS = 5.0, 720

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._clock, self._now, self._begun = clock, now, clock()
        self._turn = np.full(self.STEPS, -1)
        self._latency = np.zeros((self.STEPS, len(SECONDS) + 1), dtype=np.int64)
        self._confidence = np.zeros((self.STEPS, len(_SHARES) + 1), dtype=np.int64)
        self._flagged = np.zeros(self.STEPS, dtype=np.int64)
        self._reused = np.zeros(self.STEPS, dtype=np.int64)
        # Of queue, calls in flight and drift; NaN where nobody looked.
        self._loads = np.full((self.STEPS, 3), np.nan)
        self._outcomes: list[Counter[str]] = [Counter() for _ in range(self.STEPS)]
        self._lock = threading.Lock()

    def add(
        self,
        seconds: float,
        outcome: str = "ok",
        confidence: float | None = None,
        flagged: bool = False,
        reused: bool = False,
    ) -> None:
        """Count a question.

        Arguments:
            seconds: From question to answer.
            outcome: ``ok``, or the kind of the problem.
            confidence: Of the answer, where there is one.
            flagged: Whether the answer carries a quality flag.
            reused: Whether it was computed for an equal question.
        """
        with self._lock:
            slot = self._slot()
            self._latency[slot, np.searchsorted(SECONDS, seconds)] += 1
            known = self._outcomes[slot]
            known[outcome if outcome in known or len(known) < _KINDS else "other"] += 1
            if confidence is not None:
                self._confidence[slot, np.searchsorted(_SHARES, confidence)] += 1
                self._flagged[slot] += flagged
                self._reused[slot] += reused

    def look(self, queue: float, in_flight: float, drift: float | None) -> None:
        """Note how much waits now, and how far the galaxies have drifted; the largest is kept."""
        seen = np.array([queue, in_flight, np.nan if drift is None else drift])
        with self._lock:
            slot = self._slot()
            self._loads[slot] = np.fmax(self._loads[slot], seen)

    def rate(self, window_s: float = 60.0) -> float:
        """Questions per second, over the last minute or since the start."""
        covered = min(window_s, max(self._clock() - self._begun, 1.0))
        return float(self._latency_of(window_s).sum() / covered)

    def quantiles(self, *levels: float) -> list[float | None]:
        """Seconds, over the last five minutes."""
        return _quantiles(self._latency_of(300.0 - self.STEP_S), SECONDS, levels)

    def confidences(self) -> dict[str, list[float]]:
        """The distribution of the confidence over what is kept: upper edges and counts."""
        with self._lock:
            counts = self._confidence[self._within(self.STEP_S * self.STEPS)].sum(0)
        # Nothing is above one but by rounding.
        counts[-2] += counts[-1]
        return {"edges": list(_SHARES), "counts": counts[:-1].tolist()}

    def series(self, window_s: float, points: int) -> dict[str, Any]:
        """The last seconds in at most so many points, the oldest first.

        Arguments:
            window_s: Seconds to look back.
            points: Most points.

        Returns:
            ``step_s``, and ``points`` of plain data; a point in which nothing was asked has null
            for what has no value then. The last one is the step that has begun.
        """
        steps = min(max(int(np.ceil(window_s / self.STEP_S)), 1), self.STEPS)
        each = int(np.ceil(steps / points))
        with self._lock:
            last = int(self._clock() / self.STEP_S)
            # Steps begin at multiples of their length, so that points do not jitter.
            ends = np.arange(last // each - steps // each, last // each + 1)[-points:]
            first = int(self._begun / self.STEP_S) // each
            found = [self._point(int(end), each, last) for end in ends if end >= first]
        return {"step_s": each * self.STEP_S, "points": found}

    def _point(self, group: int, each: int, last: int) -> dict[str, Any]:
        turns = np.arange(group * each, (group + 1) * each)
        slots = turns % self.STEPS
        slots = slots[self._turn[slots] == turns]
        outcomes: Counter[str] = sum((self._outcomes[slot] for slot in slots), Counter())
        asked = sum(outcomes.values())
        errors = {kind: count for kind, count in outcomes.items() if kind != "ok"}
        p50, p90, p99 = _quantiles(self._latency[slots].sum(0), SECONDS, _LEVELS)
        shares = self._confidence[slots].sum(0)
        low, middle, high = _quantiles(shares, _SHARES, (0.16, 0.5, 0.84))
        answered = int(shares.sum())
        begin = group * each * self.STEP_S
        covered = min(each * self.STEP_S, max(self._clock() - begin, self.STEP_S))
        queue, in_flight, drift = _largest(self._loads[slots])
        return {
            "time": round(self._now() - self._clock() + begin, 1),
            "requests": asked,
            "per_second": round(asked / covered, 3),
            "errors": errors,
            "latency_ms": {"p50": _ms(p50), "p90": _ms(p90), "p99": _ms(p99)},
            "queue": queue,
            "in_flight": in_flight,
            "drift": drift,
            "reused": _share(self._reused[slots].sum(), answered),
            "flagged": _share(self._flagged[slots].sum(), answered),
            "confidence": {"p16": low, "median": middle, "p84": high},
        }

    def _slot(self) -> int:
        """The slot of this moment, emptied when it was that of an hour ago."""
        turn = int(self._clock() / self.STEP_S)
        slot = turn % self.STEPS
        if self._turn[slot] != turn:
            self._turn[slot] = turn
            for counts in (self._latency, self._confidence, self._flagged, self._reused):
                counts[slot] = 0
            self._loads[slot] = np.nan
            self._outcomes[slot] = Counter()
        return slot

    def _within(self, window_s: float) -> np.ndarray:
        turn = int(self._clock() / self.STEP_S)
        oldest = turn - int(window_s / self.STEP_S)
        return (self._turn > oldest) & (self._turn <= turn)

    def _latency_of(self, window_s: float) -> np.ndarray:
        with self._lock:
            return self._latency[self._within(window_s)].sum(0)


def _quantiles(
    counts: np.ndarray, upper: tuple[float, ...], levels: tuple[float, ...]
) -> list[float | None]:
    """Quantiles of a histogram whose buckets end at ``upper``; the last bucket has no end."""
    total = counts.sum()
    if not total:
        return [None] * len(levels)
    edges = np.array([0.0, *upper, upper[-1]])
    below = np.concatenate([[0], np.cumsum(counts)])
    found: list[float | None] = []
    for level in levels:
        bucket = min(int(np.searchsorted(below[1:], level * total)), len(counts) - 1)
        part = (level * total - below[bucket]) / max(counts[bucket], 1)
        found.append(float(edges[bucket] + part * (edges[bucket + 1] - edges[bucket])))
    return found


def _largest(loads: np.ndarray) -> list[float | None]:
    seen = [column[np.isfinite(column)] for column in loads.T]
    return [float(column.max()) if column.size else None for column in seen]


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1e3, 3)
