"""All SQL of the service."""

__all__ = ["ApiKey", "ApiKeyRepository"]

from acie.serving.storage.repositories.api_keys import ApiKey, ApiKeyRepository
