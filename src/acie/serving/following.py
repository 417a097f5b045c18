"""Models of a registry, followed: when an alias moves, so does the service, without a gap.

Whatever goes wrong on the way (a registry that does not answer, an alias that is gone, a bundle
that was changed or cannot be loaded) leaves the present model where it is.
"""

__all__ = ["AliasFollower", "tracking_settings"]

import asyncio
import collections
import dataclasses
import logging
import time
from dataclasses import dataclass, field
from typing import Any

from acie.errors import RegistryUnreachable
from acie.manifest import sha256
from acie.serving.registry import LoadedModel
from acie.serving.service import InferenceService
from acie.serving.settings import MlflowSettings
from acie.tracking import ModelName, Registry, TrackingSettings, resolve
from acie.tracking.cache import fetch
from acie.tracking.store import Store

#: Seconds until a bundle that could not be used is tried again.
_AGAIN_S = 300.0

log = logging.getLogger("acie.serving")


@dataclass
class _Followed:
    """A name, and the model that it has led to.

    Arguments:
        name: The name.
        model: What answers now.
        manifest: SHA-256 of its manifest.
        previous: What answered before, kept for those who ask for its version.
        refused: Manifests that could not be used, and when.
        outcome: How the last look ended.
    """

    name: ModelName
    model: LoadedModel
    manifest: str
    previous: LoadedModel | None = None
    refused: dict[str, float] = field(default_factory=dict)
    outcome: str = "same"


class AliasFollower:
    """Loads registered models and looks after their aliases.

    Arguments:
        service: Answers with them.
        settings: Where the registry is, and how often it is asked.
    """

    def __init__(self, service: InferenceService, settings: MlflowSettings) -> None:
        self._service, self._poll_s = service, settings.poll_s
        self._settings = tracking_settings(settings)
        self._followed: list[_Followed] = []
        #: Names of versions, which never change.
        self._fixed: dict[ModelName, LoadedModel] = {}
        self._registry: Registry | None = None
        self.counts: collections.Counter[str] = collections.Counter(
            dict.fromkeys(("same", "swapped", "unreachable", "refused"), 0)
        )

    @property
    def behind(self) -> bool:
        """Whether an alias means another model than what answers, or may do so unseen."""
        return any(one.outcome not in ("same", "swapped") for one in self._followed)

    def names(self, model: LoadedModel) -> list[str]:
        """What a model is called in the registry, as far as this service was told to use it."""
        return [str(name) for name, one in self._named() if one is model]

    def evaluation(self, model: LoadedModel) -> dict[str, Any] | None:
        """The evaluation that was registered with a model; None where there is none.

        Raises:
            RegistryUnreachable: Nobody can be asked.
            ConfigurationError: It is not what was registered.
        """
        name = next((name for name, one in self._named() if one is model), None)
        if name is None:
            return None
        registry = Registry(Store(self._settings))
        return registry.evaluation(registry.find(name))

    def _named(self) -> list[tuple[ModelName, LoadedModel]]:
        return [*((one.name, one.model) for one in self._followed), *self._fixed.items()]

    async def load(self, name: str) -> None:
        """Load a registered model and follow it if its name is an alias.

        Raises:
            UnknownModel: There is no such version.
            RegistryUnreachable: Nobody can be asked, and what was pulled before is not allowed.
            BundleError: It cannot be used.
        """
        wanted = ModelName.parse(name)
        folder = await asyncio.to_thread(resolve, name, self._settings)
        model = await self._service.load(str(folder))
        if wanted.alias:
            self._followed.append(_Followed(wanted, model, sha256(folder / "manifest.json")))
        else:
            self._fixed[wanted] = model

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while self._followed:
            await asyncio.sleep(self._poll_s)
            await self.poll()

    async def poll(self) -> None:
        """Look once at every alias, and swap those models that are no longer meant."""
        for one in self._followed:
            before = one.outcome
            try:
                one.outcome = await self._follow(one)
            except RegistryUnreachable as error:
                self._registry, one.outcome = None, "unreachable"
                _tell(before, one, error)
            except Exception as error:  # Whatever is wrong with a bundle, the old one stays.
                one.outcome = "refused"
                _tell(before, one, error)
            self.counts[one.outcome] += 1

    async def _follow(self, one: _Followed) -> str:
        registry = await asyncio.to_thread(self._open)
        version = await asyncio.to_thread(registry.find, one.name)
        if version.manifest == one.manifest:
            return "same"
        if time.monotonic() - one.refused.get(version.manifest, -_AGAIN_S) < _AGAIN_S:
            return "refused"
        try:
            folder = await asyncio.to_thread(fetch, registry, version, str(one.name))
            model = await self._service.load(str(folder), instead_of=one.model)
        except RegistryUnreachable:
            raise
        except Exception:
            one.refused[version.manifest] = time.monotonic()
            raise
        if one.previous is not None:
            self._service.registry.forget(one.previous)
        facts = {"alias": str(one.name), "registered_version": version.version}
        log.info("model swapped", extra=facts | {"was": one.model.identity, "is": model.identity})
        one.model, one.previous, one.manifest = model, one.model, version.manifest
        return "swapped"

    def _open(self) -> Registry:
        if self._registry is None:
            self._registry = Registry(Store(self._settings))
        return self._registry


def tracking_settings(settings: MlflowSettings) -> TrackingSettings:
    """Where the registry is: the service's settings, and for the rest those of the environment."""
    given = {
        "uri": None if settings.uri is None else settings.uri.get_secret_value(),
        "experiment": settings.experiment,
        "cache": settings.cache,
        "offline": settings.offline,
    }
    known = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(TrackingSettings.read(), **known)


def _tell(before: str, one: _Followed, error: Exception) -> None:
    """Log that the present model stays, when that is news."""
    if one.outcome != before:
        log.warning(
            "%s: the present model stays: %s: %s", one.name, type(error).__name__, error,
            extra={"model": one.model.identity},
        )  # fmt: skip
