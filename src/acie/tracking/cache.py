"""Registered models as folders: pulled once, verified, and kept by the digest of their manifest.

::

    CACHE/
    ├── bundles/<SHA-256 of the manifest>/    one bundle each
    └── names/<digest of address and name>    what a name meant when it was last asked for

A folder appears when everything is in it and verified: it is written aside and renamed.
"""

__all__ = ["fetch", "locate", "pull", "resolve"]

import hashlib
import json
import logging
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import Any

from acie.errors import ChecksumMismatch, ConfigurationError, RegistryUnreachable
from acie.manifest import sha256, verify_files
from acie.tracking.bundles import download_bundle
from acie.tracking.names import ModelName
from acie.tracking.registry import ModelVersion, Registry
from acie.tracking.settings import TrackingSettings, shown
from acie.tracking.store import Store

log = logging.getLogger("acie.tracking")


def resolve(name: str, settings: TrackingSettings | None = None) -> Path:
    """The folder of a registered model: pulled now, or kept from before.

    Arguments:
        name: ``models:/acie@production`` or ``models:/acie/3``.
        settings: Where it is; those of the environment when left out.

    Raises:
        UnknownModel: There is no such version.
        RegistryUnreachable: Nobody can be asked, and what was pulled before is not allowed or not
            there.
        BundleError: What is registered is no bundle that can be used here.
    """
    settings = settings or TrackingSettings.read()
    wanted = ModelName.parse(name)
    try:
        registry = Registry(Store(settings))
        return fetch(registry, registry.find(wanted), str(wanted))
    except RegistryUnreachable as error:
        return _kept(settings, wanted, error)


def pull(name: str, folder: Path, settings: TrackingSettings | None = None) -> ModelVersion:
    """Write a registered model to a new folder.

    Arguments:
        name: As for :func:`resolve`.
        folder: Must not exist, or be empty.
        settings: Where it is; those of the environment when left out.

    Returns:
        The version.

    Raises:
        ConfigurationError: The folder holds something, or cannot be written.
        UnknownModel: There is no such version.
        RegistryUnreachable: Nobody can be asked.
        BundleError: What is registered is no bundle that can be used here.
    """
    wanted = ModelName.parse(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError(
            "--out", expected="a new or an empty folder", found=str(folder),
            remedy="Choose another folder.",
        )  # fmt: skip
    registry = Registry(Store(settings or TrackingSettings.read()))
    version = registry.find(wanted)
    _download(registry, version, folder)
    return version


def fetch(registry: Registry, version: ModelVersion, asked: str = "") -> Path:
    """The folder of a version in the cache, verified; downloaded when it is not there.

    Arguments:
        registry: Where it is.
        version: The version.
        asked: The name that it was asked for by, which is remembered.
    """
    settings = registry.store.settings
    folder = settings.cache / "bundles" / version.manifest
    if not _sound(folder, version.manifest):
        shutil.rmtree(folder, ignore_errors=True)
        _download(registry, version, folder)
    if asked:
        note = {"name": asked, "version": version.version, "manifest": version.manifest}
        _write(_note(settings, asked), json.dumps(note))
    return folder


def locate(settings: TrackingSettings, name: str) -> dict[str, Any] | None:
    """What a name meant when it was last asked for, where its bundle is still there and sound."""
    try:
        note = json.loads(_note(settings, name).read_text("utf-8"))
        folder = settings.cache / "bundles" / note["manifest"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return note | {"folder": folder} if _sound(folder, note["manifest"]) else None


def _kept(settings: TrackingSettings, name: ModelName, error: RegistryUnreachable) -> Path:
    """What was pulled before, if the user allows it.

    Raises:
        RegistryUnreachable: She does not, or there is nothing.
    """
    note = locate(settings, str(name))
    if note is not None and settings.offline:
        log.warning(
            "the registry cannot be reached: %s is version %s, pulled before (%s)",
            name, note["version"], error.found,
        )  # fmt: skip
        return note["folder"]
    if note is not None:
        remedy = f"ACIE_MLFLOW__OFFLINE=true takes version {note['version']}, pulled before."
    else:
        remedy = f"{error.remedy} {name} was not pulled before."
    raise RegistryUnreachable(
        error.argument, expected=error.expected, found=error.found, remedy=remedy.strip()
    )


def _sound(folder: Path, manifest: str) -> bool:
    """Whether a folder holds every file of the bundle with this manifest, unchanged."""
    path = folder / "manifest.json"
    if not path.is_file() or sha256(path) != manifest:
        return False
    try:
        verify_files(folder, json.loads(path.read_text("utf-8")))
    except ChecksumMismatch:
        return False
    return True


def _download(registry: Registry, version: ModelVersion, folder: Path) -> None:
    """Download aside, verify, and rename.

    Raises:
        ChecksumMismatch: It is not what was registered.
        BundleError: It cannot be used here.
        ConfigurationError: The folder cannot be written.
    """
    expected = version.manifest
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name[:12]}-", dir=folder.parent))
    except OSError as error:
        raise _unwritable(folder, error) from None
    try:
        # A folder of mkdtemp is for its owner alone; a model is not.
        (aside / "model").mkdir()
        found = download_bundle(registry.store, version.source, expected, aside / "model")
        _place(found, folder, expected)
    except OSError as error:
        raise _unwritable(folder, error) from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _place(found: Path, folder: Path, manifest: str) -> None:
    try:
        found.rename(folder)
    except OSError:
        # Somebody else may have pulled the same in the meantime.
        if not _sound(folder, manifest):
            raise


def _note(settings: TrackingSettings, name: str) -> Path:
    key = hashlib.sha256(f"{shown(settings.uri)} {name}".encode()).hexdigest()[:32]
    return settings.cache / "names" / f"{key}.json"


def _write(path: Path, text: str) -> None:
    """Write a file that is never seen half written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(f".{uuid.uuid4().hex[:8]}")
        aside.write_text(text, "utf-8")
        aside.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        "folder of the model", expected="a place that can be written",
        found=f"{path} ({error.strerror or error})",
        remedy="Choose another with --out, or with ACIE_MLFLOW__CACHE.",
    )  # fmt: skip
