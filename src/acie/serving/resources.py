"""What lives as long as the service: opened once, closed in reverse order."""

__all__ = ["Resources", "open_resources"]

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from acie.serving.bookkeeping import Bookkeeper
from acie.serving.caching import AnswerCache, open_cache
from acie.serving.registry import ModelRegistry
from acie.serving.security import Access
from acie.serving.service import InferenceService
from acie.serving.settings import Settings
from acie.serving.storage import ApiKeyRepository, Database, Log, open_log


@dataclass
class Resources:
    """Shared by all transports.

    Arguments:
        settings: The settings.
        service: The use cases.
        access: Who may do what.
        cache: Answers that were computed before.
        log: The log of inferences.
        ready: Whether new requests are welcome.
    """

    settings: Settings
    service: InferenceService
    access: Access
    cache: AnswerCache
    log: Log
    ready: bool = False


@contextlib.asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Load the models, then be ready; finish what was accepted at the end."""
    async with contextlib.AsyncExitStack() as stack:
        cache = open_cache(settings.cache)
        stack.push_async_callback(cache.close)
        database = Database(settings.database.url.get_secret_value())
        stack.push_async_callback(database.close)
        log = await stack.enter_async_context(open_log(database, settings.database))
        access = Access(settings.auth, ApiKeyRepository(database))
        stack.push_async_callback(access.close)
        service = InferenceService(
            ModelRegistry(),
            settings.inference,
            access=access,
            cache=cache,
            books=Bookkeeper(log.journal, settings.database.keep_observations),
        )
        stack.push_async_callback(service.close)
        resources = Resources(settings, service, access, cache, log)
        try:
            for source in settings.inference.models:
                await service.load(source)
            resources.ready = True
            yield resources
        finally:
            resources.ready = False
