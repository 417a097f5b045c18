"""The models that a service answers with: loaded by name, warmed up, swapped without a gap."""

__all__ = ["LoadedModel", "ModelRegistry", "find_source"]

import json
import re
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

import acie
from acie.engine import CounterfactualEngine
from acie.errors import ConfigurationError, UnknownModel
from acie.manifest import bundled_models
from acie.serving.refusals import ModelInUse
from acie.simulation import Simulator, SurveyConfig

#: Names and versions of models in requests: no separators of paths, no leading dot.
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"


def find_source(name: str, version: str | None = None, folder: Path | None = None) -> str:
    """The bundle folder of a model that may be loaded: in ``folder``, or shipped.

    ``folder`` holds ``NAME``, ``NAME@VERSION`` or ``NAME/VERSION``. Which of these says the name
    and the version in its manifest counts, not how it is called.

    Arguments:
        name: Name of the model.
        version: Its version; the newest when left out.
        folder: Where models are deployed.

    Raises:
        UnknownModel: There is none, or the name is none.
    """
    found = {}
    if re.fullmatch(NAME, name):
        places = [*bundled_models().values()]
        if folder is not None:
            places += [*folder.glob(name), *folder.glob(f"{name}@*"), *folder.glob(f"{name}/*")]
        for place in places:
            facts = _facts(place)
            if facts.get("name") == name:
                found[str(facts.get("version"))] = str(place)
    if version is None and found:
        version = max(found, key=_order)
    if version not in found:
        raise UnknownModel(
            "model",
            expected="a model that ships with ACIE or lies in the models folder"
            + (f", of version {', '.join(sorted(found, key=_order))}" if found else ""),
            found=repr(f"{name}@{version}" if version else name)[:120],
        )
    return found[version]


def _facts(place: Path) -> dict:
    """The manifest of a bundle; whoever loads it says what is wrong with it."""
    try:
        facts = json.loads((place / "manifest.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _order(version: str) -> list[tuple[int, str]]:
    """Versions by their numbers: 10 comes after 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part)
            for part in re.split(r"[._-]", version)]  # fmt: skip


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to answer.

    Arguments:
        engine: The engine.
        source: Name or folder that it was loaded from.
        loaded: When, in seconds since 1970.
    """

    engine: CounterfactualEngine
    source: str
    loaded: float = field(default_factory=time.time)

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
    def load(cls, source: str, runtime: str = "torch") -> "LoadedModel":
        """Load a bundle and answer one question with it, so that the first caller does not wait.

        Arguments:
            source: Name or folder.
            runtime: What computes its network, see :func:`acie.load`.

        Raises:
            BundleError: No such bundle, or one that cannot be used.
            ConfigurationError: A bundle for tables, which this service does not serve.
        """
        engine = acie.load(source, runtime)
        if not isinstance(engine, CounterfactualEngine):
            raise ConfigurationError(
                "models",
                expected="models of spectra",
                found=f"{source}, a model of tables",
                remedy="Ask it with acie infer or the library.",
            )
        # A galaxy of the model's own is answered ten times as fast as a spectrum that none has.
        survey = SurveyConfig(redshift=(0.1, 0.1), snr=(20.0, 20.0))
        simulator = Simulator(engine.scm, engine.physics, engine.noise_model, survey)
        observation = simulator.draw(1, torch.Generator().manual_seed(0)).observation
        engine.counterfactual(observation, "stellar_mass*=1.5", num_samples=32)
        engine.estimate_redshift(observation)
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

    def add(self, model: LoadedModel, instead_of: LoadedModel | None = None) -> None:
        """Make a warmed-up model the latest of its name; the first one is the default too.

        Arguments:
            model: The model.
            instead_of: Its predecessor, which may have another name; if that is the default, the
                model takes its place.
        """
        with self._lock:
            self._models = {**self._models, (model.name, model.version): model}
            self._latest = {**self._latest, model.name: model}
            default = self._default
            if default is None or default is instead_of or default.name == model.name:
                self._default = model

    def forget(self, model: LoadedModel) -> None:
        """Forget a model that has had successors; the default stays."""
        with self._lock:
            if model is not self._default:
                self._models = {k: v for k, v in self._models.items() if v is not model}
                self._latest = {k: v for k, v in self._latest.items() if v is not model}

    def remove(self, name: str, version: str) -> None:
        """Forget a version that is not the latest of its name.

        Raises:
            UnknownModel: It is not loaded.
            ModelInUse: It is the latest, which answers requests.
        """
        with self._lock:
            model = self.find(f"{name}@{version}")
            if self._latest[name] is model:
                raise ModelInUse(
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
