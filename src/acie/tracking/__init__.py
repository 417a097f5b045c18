"""Runs and registered models in MLflow: a server, or a local SQLite file with a folder beside it.

``tracked`` opens a run; ``Registry`` registers bundles, promotes and rolls back; ``resolve`` turns
``models:/acie@production`` into a folder. MLflow itself is imported in ``store.py`` alone, and
when something is asked of it.
"""

from acie.tracking.cache import pull, resolve
from acie.tracking.gate import Gate, Shortfall
from acie.tracking.names import ModelName
from acie.tracking.promotion import promote, rollback
from acie.tracking.registry import ModelVersion, Registry
from acie.tracking.reports import note_benchmark, note_evaluation, note_training
from acie.tracking.runs import Run, tracked
from acie.tracking.settings import TrackingSettings

__all__ = [
    "Gate",
    "ModelName",
    "ModelVersion",
    "Registry",
    "Run",
    "Shortfall",
    "TrackingSettings",
    "note_benchmark",
    "note_evaluation",
    "note_training",
    "promote",
    "pull",
    "resolve",
    "rollback",
    "tracked",
]
