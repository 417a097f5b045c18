"""The database of the service: SQLite by default, PostgreSQL where its URL is set."""

__all__ = ["ApiKey", "ApiKeyRepository", "Database", "downgrade", "is_current", "upgrade"]

from acie.serving.storage.database import Database
from acie.serving.storage.migration import downgrade, is_current, upgrade
from acie.serving.storage.repositories import ApiKey, ApiKeyRepository
