"""What lives as long as the service: opened once, closed in reverse order."""

__all__ = ["Resources", "open_resources"]

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from acie.manifest import is_registered
from acie.serving.bookkeeping import Bookkeeper
from acie.serving.caching import AnswerCache, open_cache
from acie.serving.evaluations import Evaluations
from acie.serving.metrics import Meters
from acie.serving.registry import LoadedModel, ModelRegistry
from acie.serving.security import Access
from acie.serving.service import InferenceService
from acie.serving.settings import Settings
from acie.serving.storage import ApiKeyRepository, Database, Log, open_log
from acie.serving.telemetry import Telemetry
from acie.serving.tracing import Tracer

if TYPE_CHECKING:
    from acie.serving.following import AliasFollower


@dataclass
class Resources:
    """Shared by all transports.

    Arguments:
        settings: The settings.
        service: The use cases.
        access: Who may do what.
        cache: Answers that were computed before.
        log: The log of inferences.
        meters: Count what happens.
        telemetry: Tells logs, metrics and traces of calls.
        evaluations: Finds what was measured of a model.
        follower: Follows aliases of a registry; without one there is nothing to follow.
        ready: Whether new requests are welcome.
    """

    settings: Settings
    service: InferenceService
    access: Access
    cache: AnswerCache
    log: Log
    meters: Meters
    telemetry: Telemetry
    evaluations: Evaluations = field(default_factory=Evaluations)
    follower: "AliasFollower | None" = None
    ready: bool = False

    def aliases(self, model: LoadedModel) -> list[str]:
        """What a model is called in the registry that it came from."""
        return [] if self.follower is None else self.follower.names(model)


@contextlib.asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Load the models, then be ready; finish what was accepted at the end."""
    async with contextlib.AsyncExitStack() as stack:
        cache = open_cache(settings.cache)
        stack.push_async_callback(cache.close)
        database = Database(settings.database.url.get_secret_value())
        stack.push_async_callback(database.close)
        meters = Meters()
        tracer = Tracer(settings.telemetry.otlp_endpoint)
        stack.push_async_callback(asyncio.to_thread, tracer.close)
        log = await stack.enter_async_context(open_log(database, settings.database))
        access = Access(settings.auth, ApiKeyRepository(database))
        stack.push_async_callback(access.close)
        service = InferenceService(
            ModelRegistry(),
            settings.inference,
            access=access,
            cache=cache,
            books=Bookkeeper(log.journal, settings.database.keep_observations, meters),
            meters=meters,
        )
        stack.push_async_callback(service.close)
        resources = Resources(
            settings, service, access, cache, log, meters, Telemetry(meters, tracer)
        )
        _watch(resources)
        follower = await _load_models(resources)
        tasks = [asyncio.create_task(_look(resources))]
        if follower is not None:
            resources.follower, resources.evaluations = follower, Evaluations(follower)
            tasks.append(asyncio.create_task(follower.run()))
        for task in tasks:
            stack.push_async_callback(_cancelled, task)
        try:
            resources.ready = True
            yield resources
        finally:
            resources.ready = False


async def _load_models(resources: Resources) -> "AliasFollower | None":
    """Load the models of the settings; what comes from a registry is followed from now on."""
    follower = None
    for source in resources.settings.inference.models:
        if not is_registered(source):
            await resources.service.load(source)
            continue
        follower = follower or _follower(resources)
        await follower.load(source)
    return follower


def _follower(resources: Resources) -> "AliasFollower":
    # Only who names a registry needs what asks it.
    from acie.serving.following import AliasFollower

    follower = AliasFollower(resources.service, resources.settings.mlflow)
    meters = resources.meters
    meters.watch("registry_behind", "Whether an alias may mean another model than what answers.",
                 lambda: follower.behind)  # fmt: skip
    meters.watch_counts(
        "registry_polls", "Looks at followed aliases.", "outcome", lambda: follower.counts
    )
    return follower


async def _look(resources: Resources) -> None:
    """Note the load in every step of the history, until cancelled."""
    while True:
        resources.meters.look(resources.service.queue_depth)
        # Twice in a step: what is shorter than that is seen by chance only.
        await asyncio.sleep(0.5 * resources.meters.history.STEP_S)


async def _cancelled(task: asyncio.Task) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _watch(resources: Resources) -> None:
    """Gauges and counters that others keep."""
    meters, service, journal = resources.meters, resources.service, resources.log.journal
    meters.follow_models(service.registry)
    meters.watch("queue_depth", "Galaxies that wait for the engine.", lambda: service.queue_depth)
    meters.watch("ready", "Whether new requests are welcome.", lambda: resources.ready)
    meters.watch("database_buffer_records", "Records to be written.", lambda: journal.depth)
    meters.watch_counts(
        "cache_requests", "Questions by where their answer came from.", "source",
        lambda: resources.cache.counts,
    )  # fmt: skip
    meters.watch_counts(
        "database_records", "Records by what became of them.", "outcome",
        lambda: {"written": journal.written, "dropped": journal.dropped,
                 "refused": journal.refused},
    )  # fmt: skip
