"""The database of the service: SQLite by default, PostgreSQL where its URL is set."""

__all__ = [
    "ApiKey",
    "ApiKeyRepository",
    "Database",
    "InferenceFilter",
    "InferenceJournal",
    "InferenceRecord",
    "InferenceRepository",
    "Log",
    "Retention",
    "StorageUnavailable",
    "downgrade",
    "is_current",
    "made_now",
    "observation_payload",
    "open_log",
    "upgrade",
]

from acie.serving.storage.database import Database
from acie.serving.storage.failures import StorageUnavailable
from acie.serving.storage.journal import InferenceJournal
from acie.serving.storage.log import Log, open_log
from acie.serving.storage.migration import downgrade, is_current, upgrade
from acie.serving.storage.records import InferenceRecord, made_now, observation_payload
from acie.serving.storage.repositories import (
    ApiKey,
    ApiKeyRepository,
    InferenceFilter,
    InferenceRepository,
)
from acie.serving.storage.retention import Retention
