"""The models that a service answers with: loaded by name, warmed up, swapped without a gap."""

__all__ = ["LoadedModel", "ModelRegistry"]

import threading
from dataclasses import dataclass

import torch

import acie
from acie.engine import CounterfactualEngine
from acie.errors import ConfigurationError, UnknownModel
from acie.observation import WAVELENGTH, Observation


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to answer.

    Arguments:
        engine: The engine.
        source: Name or folder that it was loaded from.
    """

    engine: CounterfactualEngine
    source: str

    @property
    def name(self) -> str:
        """Name in the manifest."""
        return self.engine.bundle.name

    @property
    def version(self) -> str:
        """Version in the manifest."""
        return self.engine.bundle.version

    @property
    def digest(self) -> str:
        """SHA-256 of the bundle."""
        return self.engine.bundle.digest

    @property
    def identity(self) -> dict[str, str]:
        """Name, version and digest as plain data."""
        return {"name": self.name, "version": self.version, "digest": self.digest}

    @classmethod
    def load(cls, source: str) -> "LoadedModel":
        """Load a bundle and answer one question with it, so that the first caller does not wait.

        Raises:
            BundleError: No such bundle, or one that cannot be used.
            ConfigurationError: A bundle for tables, which this service does not serve.
        """
        engine = acie.load(source)
        if not isinstance(engine, CounterfactualEngine):
            raise ConfigurationError(
                "models",
                expected="models of spectra",
                found=f"{source}, a model of tables",
                remedy="Ask it with acie infer or the library.",
            )
        # A flat spectrum exercises every part; what it says does not matter.
        flux = torch.ones(1, WAVELENGTH.size)
        observation = Observation(
            flux=flux,
            ivar=flux * 100.0,
            redshift=torch.tensor([0.1], dtype=torch.float64),
            lsf=flux.double() * 60.0,
        )
        engine.counterfactual(observation, "stellar_mass*=1.5", num_samples=32)
        return cls(engine, source)


class ModelRegistry:
    """Loaded models by name; the newest of each name answers for the name alone.

    Swapping is one assignment, so that a request sees either the old or the new model and never
    none; requests that already have the old one finish with it.
    """

    def __init__(self) -> None:
        self._models: dict[tuple[str, str], LoadedModel] = {}
        self._latest: dict[str, LoadedModel] = {}
        self._default: LoadedModel | None = None
        self._lock = threading.Lock()

    def add(self, model: LoadedModel) -> None:
        """Make a warmed-up model the latest of its name; the first one is the default too."""
        with self._lock:
            self._models = {**self._models, (model.name, model.version): model}
            self._latest = {**self._latest, model.name: model}
            if self._default is None or self._default.name == model.name:
                self._default = model

    def remove(self, name: str, version: str) -> None:
        """Forget a version that is not the latest of its name.

        Raises:
            UnknownModel: It is not loaded.
            ConfigurationError: It is the latest, which answers requests.
        """
        with self._lock:
            model = self.find(f"{name}@{version}")
            if self._latest[name] is model:
                raise ConfigurationError(
                    "model",
                    expected="a version that is not in use",
                    found=f"{name}@{version}, the latest",
                    remedy="Load its successor first.",
                )
            self._models = {k: v for k, v in self._models.items() if v is not model}

    def find(self, reference: str = "latest") -> LoadedModel:
        """The model of a name, ``name@version``, a version of the default model, or ``latest``.

        Raises:
            UnknownModel: Nothing of that name or version is loaded.
        """
        default = self._default
        if reference in ("", "latest") and default is not None:
            return default
        name, _, version = reference.partition("@")
        found = self._models.get((name, version)) if version else self._latest.get(name)
        if found is None and default is not None and not version:
            found = self._models.get((default.name, reference))
        if found is None:
            known = ", ".join(f"{n}@{v}" for n, v in self._models) or "none"
            raise UnknownModel(
                "model_version",
                expected=f"latest, or one of: {known}",
                found=repr(reference[:80]),
                remedy="GET /api/v2/models lists what is loaded.",
            )
        return found

    @property
    def models(self) -> list[LoadedModel]:
        """All loaded models."""
        return list(self._models.values())
