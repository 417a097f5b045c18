"""All SQL of the service."""

__all__ = ["ApiKey", "ApiKeyRepository", "InferenceFilter", "InferenceRepository"]

from acie.serving.storage.repositories.api_keys import ApiKey, ApiKeyRepository
from acie.serving.storage.repositories.inferences import InferenceFilter, InferenceRepository
