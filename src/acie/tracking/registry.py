"""Registered models: bundles under a name, numbered, each with where it came from.

A version is a run's artifact folder. Its tags say what is in there: the bundle's digest, the
SHA-256 of its manifest, which covers every file, and that of its evaluation. What is fetched later
is compared with them.
"""

__all__ = ["ModelVersion", "Registry"]

import hashlib
import json
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from acie.errors import ConfigurationError, IncompatibleBundle, UnknownModel
from acie.manifest import sha256
from acie.tracking.bundles import check_bundle, is_stored
from acie.tracking.names import ALIASES, PREFIX, ModelName
from acie.tracking.runs import tracked
from acie.tracking.store import Store

_DIGEST, _MANIFEST, _MODEL = "acie.digest", "acie.manifest", "acie.model"
_EVALUATION = "acie.evaluation"


@dataclass(frozen=True)
class ModelVersion:
    """A version of a registered model.

    Arguments:
        name: Name of the registered model.
        version: Its number.
        source: Address of the bundle.
        run: Identity of the run that the bundle is an artifact of.
        created: When it was registered.
        tags: What was noted about it.
        aliases: What it is at present.
    """

    name: str
    version: int
    source: str
    run: str
    created: datetime
    tags: dict[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()

    @property
    def uri(self) -> str:
        """Its name for ``acie.load``."""
        return f"{PREFIX}{self.name}/{self.version}"

    @property
    def manifest(self) -> str:
        """SHA-256 of the manifest.

        Raises:
            IncompatibleBundle: Something else than ACIE registered it.
        """
        found = self.tags.get(_MANIFEST, "")
        if not found:
            raise IncompatibleBundle(
                self.uri,
                expected="a version that acie models register made",
                found=f"one without the tag {_MANIFEST}",
                remedy="Register the bundle with: acie models register FOLDER.",
            )
        return found

    @property
    def digest(self) -> str:
        """Digest of the bundle."""
        return self.tags.get(_DIGEST, "")

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name, "version": self.version, "aliases": list(self.aliases),
            "bundle": self.tags.get(_MODEL, ""), "digest": self.digest,
            "created": self.created.isoformat(), "run": self.run,
            "evaluated": _EVALUATION in self.tags,
        }  # fmt: skip


class Registry:
    """Registers bundles and finds them.

    Arguments:
        store: Where they are.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def register(
        self, folder: Path, name: str = "acie", evaluation: Path | None = None
    ) -> ModelVersion:
        """Register a bundle and make it the candidate.

        A bundle that is registered already keeps its number. One that a run keeps, such as that of
        ``acie train --track``, is not stored again: the version belongs to that run.

        Arguments:
            folder: The bundle.
            name: Name of the registered model.
            evaluation: The JSON of ``acie evaluate`` about this bundle.

        Raises:
            BundleError: The bundle cannot be used.
            ConfigurationError: The evaluation cannot be read, or is of another model.
            TrackingError: It cannot be stored.
        """
        facts = check_bundle(folder)
        if evaluation is not None:
            _read_evaluation(evaluation, facts["digest"])
        ModelName.of(name, "candidate")
        found = self._registered(name, facts["manifest"]) or self._create(folder, name, facts)
        if evaluation is not None:
            self.attach(found, evaluation)
        self.point(found, "candidate")
        return self.find(ModelName(name, found.version))

    def _registered(self, name: str, manifest: str) -> ModelVersion | None:
        same = f"name='{name}' and tag.`{_MANIFEST}`='{manifest}'"
        with self.store.asking():
            found = map(_version, self.store.client.search_model_versions(same))
        newest = max(found, key=lambda one: one.version, default=None)
        whole = newest is not None and is_stored(self.store, newest.source, manifest)
        return newest if whole else None

    def _create(self, folder: Path, name: str, facts: dict[str, str]) -> ModelVersion:
        run, source = self._kept(facts["manifest"]) or self._uploaded(folder, name, facts)
        tags = {
            _DIGEST: facts["digest"],
            _MANIFEST: facts["manifest"],
            _MODEL: f"{facts['name']}@{facts['version']}",
        }
        client = self.store.client
        with self.store.asking():
            if not client.search_registered_models(f"name='{name}'"):
                client.create_registered_model(name)
            return _version(client.create_model_version(name, source, run, tags=tags))

    def _kept(self, manifest: str) -> tuple[str, str] | None:
        """A run that keeps a bundle, and where."""
        wanted = f"tags.`{_MANIFEST}` = '{manifest}' and attributes.status = 'FINISHED'"
        with self.store.asking():
            runs = self.store.client.search_runs([self.store.experiment], wanted, max_results=1)
        for info in (run.info for run in runs):
            source = f"{info.artifact_uri}/bundle"
            if is_stored(self.store, source, manifest):
                return info.run_id, source
        return None

    def _uploaded(self, folder: Path, name: str, facts: dict[str, str]) -> tuple[str, str]:
        """A run for a bundle that no run has made, and where it keeps it."""
        with tracked("register", name, {}, settings=self.store.settings, strict=True) as run:
            run.bundle(folder, facts)
            return run.id, f"{run.artifacts}/bundle"

    def attach(self, version: ModelVersion, evaluation: Path) -> None:
        """Keep an evaluation with a version; a later one takes its place.

        Raises:
            ConfigurationError: It cannot be read, or is of another model.
        """
        _read_evaluation(evaluation, version.digest)
        digest = sha256(evaluation)
        with tempfile.TemporaryDirectory() as folder, self.store.asking():
            # Named by its content: what one version says is never overwritten by another's.
            copy = Path(folder) / f"{digest}.json"
            copy.write_bytes(evaluation.read_bytes())
            self.store.client.log_artifact(version.run, str(copy), "evaluations")
            self._tag(version, _EVALUATION, digest)

    def evaluation(self, version: ModelVersion) -> dict[str, Any] | None:
        """The evaluation of a version; None when there is none.

        Raises:
            ConfigurationError: It is not what was registered.
        """
        digest = version.tags.get(_EVALUATION)
        if digest is None:
            return None
        with tempfile.TemporaryDirectory() as folder, self.store.asking():
            path = f"evaluations/{digest}.json"
            text = Path(
                self.store.client.download_artifacts(version.run, path, folder)
            ).read_bytes()
        if hashlib.sha256(text).hexdigest() != digest:
            raise ConfigurationError(
                f"evaluation of {version.uri}",
                expected=f"SHA-256 {digest[:12]}...",
                found="another one",
                remedy="It was changed in the store; attach it again with --evaluation.",
            )
        return json.loads(text)

    def find(self, name: ModelName) -> ModelVersion:
        """A version by its number or by an alias.

        Raises:
            UnknownModel: There is none.
            RegistryUnreachable: Nobody can be asked.
        """
        client = self.store.client
        missing = UnknownModel(
            "model",
            expected="a registered version",
            found=str(name),
            remedy=f"acie models versions --name {name.name} lists them.",
        )
        with self.store.asking(missing):
            found = (
                client.get_model_version_by_alias(name.name, name.alias)
                if name.alias
                else client.get_model_version(name.name, str(name.version))
            )
        return _version(found)

    def versions(self, name: str) -> list[ModelVersion]:
        """All versions of a model, the newest first."""
        with self.store.asking():
            found = self.store.client.search_model_versions(f"name='{name}'")
            # The search leaves the aliases out.
            models = self.store.client.search_registered_models(f"name='{name}'")
        aliases = dict(models[0].aliases) if models else {}
        versions = sorted(map(_version, found), key=lambda one: one.version, reverse=True)
        return [_with_aliases(one, aliases) for one in versions]

    def point(self, version: ModelVersion, alias: str) -> None:
        """Let an alias be this version."""
        with self.store.asking():
            self.store.client.set_registered_model_alias(
                version.name, alias, str(version.version)
            )

    def note(self, name: str, key: str, value: str) -> None:
        """Note something about a model."""
        with self.store.asking():
            self.store.client.set_registered_model_tag(name, key, value)

    def notes(self, name: str) -> dict[str, str]:
        """What was noted about a model."""
        with self.store.asking():
            return dict(self.store.client.get_registered_model(name).tags)

    def _tag(self, version: ModelVersion, key: str, value: str) -> None:
        self.store.client.set_model_version_tag(version.name, str(version.version), key, value)


def _version(found: Any) -> ModelVersion:
    return ModelVersion(
        name=found.name,
        version=int(found.version),
        source=found.source,
        run=found.run_id or "",
        created=datetime.fromtimestamp(found.creation_timestamp / 1e3, UTC),
        tags=dict(found.tags),
        aliases=tuple(sorted(found.aliases, key=_rank)),
    )


def _with_aliases(version: ModelVersion, aliases: dict[str, Any]) -> ModelVersion:
    own = sorted((a for a, v in aliases.items() if int(v) == version.version), key=_rank)
    return ModelVersion(**{**vars(version), "aliases": tuple(own)})


def _rank(alias: str) -> tuple[int, str]:
    return (ALIASES.index(alias) if alias in ALIASES else len(ALIASES)), alias


def _read_evaluation(path: Path, digest: str) -> dict[str, Any]:
    """An evaluation of the model with this digest.

    Raises:
        ConfigurationError: It cannot be read, or is of another model.
    """
    try:
        report = json.loads(path.read_text("utf-8"))
        about, _ = report["model"]["digest"], report["verdicts"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            "--evaluation",
            expected="the evaluation.json of acie evaluate",
            found=f"{path} ({type(error).__name__})",
        ) from None
    if about != digest:
        raise ConfigurationError(
            "--evaluation",
            expected=f"an evaluation of the model {digest[:12]}",
            found=f"one of {str(about)[:12]}",
            remedy="Evaluate this bundle: acie evaluate --model FOLDER --out DIR.",
        )
    return report
