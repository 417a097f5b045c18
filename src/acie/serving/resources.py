"""What lives as long as the service: opened once, closed in reverse order."""

__all__ = ["Resources", "open_resources"]

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from acie.serving.registry import ModelRegistry
from acie.serving.security import Access
from acie.serving.service import InferenceService
from acie.serving.settings import Settings
from acie.serving.storage import ApiKeyRepository, Database, upgrade


@dataclass
class Resources:
    """Shared by all transports.

    Arguments:
        settings: The settings.
        service: The use cases.
        access: Who may do what.
        ready: Whether new requests are welcome.
    """

    settings: Settings
    service: InferenceService
    access: Access
    ready: bool = False


@contextlib.asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Load the models, then be ready; finish what was accepted at the end."""
    database = Database(settings.database.url.get_secret_value())
    access = Access(settings.auth, ApiKeyRepository(database))
    service = InferenceService(ModelRegistry(), settings.inference, access=access)
    resources = Resources(settings, service, access)
    try:
        if settings.auth.enabled:
            await upgrade(database)
        for source in settings.inference.models:
            await service.load(source)
        resources.ready = True
        yield resources
    finally:
        resources.ready = False
        await service.close()
        await access.close()
        await database.close()
