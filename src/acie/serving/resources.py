"""What lives as long as the service: opened once, closed in reverse order."""

__all__ = ["Resources", "open_resources"]

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from acie.serving.registry import ModelRegistry
from acie.serving.service import InferenceService
from acie.serving.settings import Settings


@dataclass
class Resources:
    """Shared by all transports.

    Arguments:
        settings: The settings.
        service: The use cases.
        ready: Whether new requests are welcome.
    """

    settings: Settings
    service: InferenceService
    ready: bool = False


@contextlib.asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Load the models, then be ready; finish what was accepted at the end."""
    service = InferenceService(ModelRegistry(), settings.inference)
    resources = Resources(settings, service)
    try:
        for source in settings.inference.models:
            await service.load(source)
        resources.ready = True
        yield resources
    finally:
        resources.ready = False
        await service.close()
