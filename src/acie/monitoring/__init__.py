"""Watching a running service from a terminal: what ``acie monitor`` shows.

``source`` asks the service and who knows its alerts, ``snapshot`` is one answer, ``sections`` puts
it in words, and ``terminal`` is the live page made of them.
"""

__all__ = ["Alert", "Snapshot", "Source", "Unreachable", "answers", "sections"]

from acie.monitoring.sections import sections
from acie.monitoring.snapshot import Alert, Snapshot
from acie.monitoring.source import Source, Unreachable, answers
