"""What lives as long as the service: opened once, closed in reverse order."""

__all__ = ["Resources", "open_resources"]

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from acie.manifest import is_registered
from acie.serving.bookkeeping import Bookkeeper
from acie.serving.caching import AnswerCache, open_cache
from acie.serving.dependencies import DependencyWatch
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
        watch: Knows whether the cache and the database answer.
        evaluations: Finds what was measured of a model.
        ready: Whether new requests are welcome.
        follower: Looks after models of a registry, where there are any.
    """

    settings: Settings
    service: InferenceService
    access: Access
    cache: AnswerCache
    log: Log
    meters: Meters
    telemetry: Telemetry
    watch: DependencyWatch
    evaluations: Evaluations = field(default_factory=Evaluations)
    ready: bool = False
    follower: "AliasFollower | None" = None

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
        pings = {"database": database.ping} | ({"cache": cache.ping} if cache.ping else {})
        watch = DependencyWatch(pings, settings.telemetry.check_s)
        resources = Resources(
            settings, service, access, cache, log, meters, Telemetry(meters, tracer), watch
        )
        _watch(resources)
        _watch_registry(resources)
        _run(stack, watch.run(), _look(resources))
        await _load_models(resources)
        if resources.follower is not None:
            resources.evaluations = Evaluations(resources.follower)
            _run(stack, resources.follower.run())
        try:
            resources.ready = True
            yield resources
        finally:
            resources.ready = False


def _run(stack: contextlib.AsyncExitStack, *works: Coroutine[Any, Any, None]) -> None:
    """Start what goes on until the resources are closed."""
    for work in works:
        stack.push_async_callback(_cancelled, asyncio.create_task(work))


async def _load_models(resources: Resources) -> None:
    """Load the models of the settings; what comes from a registry is followed from now on."""
    for source in resources.settings.inference.models:
        if not is_registered(source):
            await resources.service.load(source)
            continue
        if resources.follower is None:
            # Only who names a registry needs what asks it.
            from acie.serving.following import AliasFollower

            resources.follower = AliasFollower(resources.service, resources.settings.mlflow)
        await resources.follower.load(source)


def _watch_registry(resources: Resources) -> None:
    """What follows no alias is behind none: a metric that is missing would be no news either."""
    none = dict.fromkeys(("same", "swapped", "unreachable", "refused"), 0)
    meters = resources.meters
    meters.watch(
        "registry_behind", "Whether an alias may mean another model than what answers.",
        lambda: resources.follower is not None and resources.follower.behind,
    )  # fmt: skip
    meters.watch_counts(
        "registry_polls", "Looks at followed aliases.", "outcome",
        lambda: none if resources.follower is None else resources.follower.counts,
    )  # fmt: skip


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
    meters.watch("queue_capacity", "Most galaxies that may wait.", lambda: service.queue_capacity)
    limit = resources.settings.server.max_in_flight
    meters.watch("in_flight_limit", "Most calls at a time.", lambda: limit)
    meters.watch_values(
        "dependency_up", "Whether what is depended on answers.", "dependency",
        lambda: resources.watch.up,
    )  # fmt: skip
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
