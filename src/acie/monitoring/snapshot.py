"""What a service said of itself at one moment."""

__all__ = ["Alert", "Recent", "Snapshot"]

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Alert:
    """An alert that fires.

    Arguments:
        name: Its name.
        severity: ``critical``, ``warning`` or whatever its rule says.
        summary: What happened.
        runbook: Where it is written what to do.
        silenced: Whether somebody silenced it, or a greater one hides it.
    """

    name: str
    severity: str = ""
    summary: str = ""
    runbook: str = ""
    silenced: bool = False

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return dict(vars(self))


@dataclass(frozen=True)
class Snapshot:
    """One look at a service.

    Arguments:
        body: The answer of ``/api/metrics``; what a version of the service does not say is
            missing, and nothing here depends on it.
        alerts: Alerts that fire; None where nobody was asked.
        trouble: Why the alerts are not known, though somebody was asked.
        at: On the clock of :func:`time.monotonic`.
    """

    body: Mapping[str, Any]
    alerts: tuple[Alert, ...] | None = None
    trouble: str = ""
    at: float = field(default_factory=time.monotonic)

    def number(self, *path: str) -> float | None:
        """A number of the answer, or None."""
        found: Any = self.body
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        known = isinstance(found, int | float) and not isinstance(found, bool)
        return float(found) if known else None

    def table(self, *path: str) -> dict[str, Any]:
        """An object of the answer; empty where there is none."""
        found: Any = self.body
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        return dict(found) if isinstance(found, Mapping) else {}

    @property
    def models(self) -> list[Mapping[str, Any]]:
        """Loaded models."""
        return [one for one in self.body.get("models") or () if isinstance(one, Mapping)]

    @property
    def failed(self) -> float:
        """Questions since the start that ended otherwise than with an answer."""
        outcomes = self.table("requests", "outcomes")
        return sum(float(count) for name, count in outcomes.items() if name != "ok")

    def to_json(self) -> dict[str, Any]:
        """As plain data: the answer of the service and the alerts."""
        alerts = None if self.alerts is None else [alert.to_json() for alert in self.alerts]
        return {**self.body, "alerts": alerts} | (
            {"alerts_trouble": self.trouble} if self.trouble else {}
        )


class Recent:
    """The last looks, from which what happened between them follows.

    Arguments:
        length: Looks that are kept.
    """

    def __init__(self, length: int = 240) -> None:
        self._looks: deque[Snapshot] = deque(maxlen=length)

    def add(self, snapshot: Snapshot) -> None:
        """Keep a look; a service that started anew has no past."""
        before = self.last
        if before is not None:
            uptimes = before.number("uptime_s") or 0.0, snapshot.number("uptime_s") or 0.0
            if uptimes[1] < uptimes[0]:
                self._looks.clear()
        self._looks.append(snapshot)

    @property
    def last(self) -> Snapshot | None:
        """The newest look."""
        return self._looks[-1] if self._looks else None

    def series(self, *path: str) -> list[float]:
        """A number of every look, the oldest first; zero where it was not known."""
        return [look.number(*path) or 0.0 for look in self._looks]

    def rates(self, *path: str) -> list[float]:
        """How fast a counter grew between looks, per second."""
        return [
            max(b - a, 0.0) / max(later.at - look.at, 1e-3)
            for look, later, a, b in self._pairs(*path)
        ]

    def confidences(self) -> list[float]:
        """Mean confidence of the answers between looks; where there were none, the one before."""
        found: list[float] = []
        for look, later, a, b in self._pairs("answers", "total"):
            means = look.number("answers", "confidence_mean"), later.number(
                "answers", "confidence_mean")  # fmt: skip
            if b > a and means[1] is not None:
                value = (means[1] * b - (means[0] or 0.0) * a) / (b - a)
                found.append(min(max(value, 0.0), 1.0))
            elif found:
                found.append(found[-1])
        return found

    def _pairs(self, *path: str) -> list[tuple[Snapshot, Snapshot, float, float]]:
        looks = list(self._looks)
        pairs = zip(looks, looks[1:], strict=False)
        return [(a, b, a.number(*path) or 0.0, b.number(*path) or 0.0) for a, b in pairs]
