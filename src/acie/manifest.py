"""Bundle folders: safetensors and JSON with SHA-256 digests that are checked, and no pickle."""

__all__ = [
    "FORMAT_VERSION",
    "bundle_kind",
    "bundled_models",
    "find_bundle",
    "is_registered",
    "read_manifest",
    "sha256",
    "verify_files",
    "write_manifest",
]

import hashlib
import importlib
import json
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from acie.errors import ChecksumMismatch, IncompatibleBundle, UnknownModel

#: Raised when the layout of the folder changes incompatibly.
FORMAT_VERSION = 1
_DEFAULT = "galaxy-v1"
_NAME = "manifest.json"
#: Names that lead elsewhere: how they begin, and who turns them into folders. That module is
#: imported when such a name is asked for, since bundles themselves need none of it.
_RESOLVERS = {"models:/": ("acie.tracking", "resolve")}


def bundled_models() -> dict[str, Path]:
    """Names and folders of the models that ship inside the package."""
    root = Path(str(resources.files("acie"))) / "models"
    found = sorted(root.glob(f"*/{_NAME}")) if root.is_dir() else []
    return {path.parent.name: path.parent for path in found}


def is_registered(name_or_path: str | Path) -> bool:
    """Whether a name is one of a registry: ``models:/acie@production``."""
    return str(name_or_path).startswith(tuple(_RESOLVERS))


def find_bundle(name_or_path: str | Path) -> Path:
    """The folder of a shipped model, by name, of a registered one, or of a bundle.

    Raises:
        UnknownModel: There is no such bundle.
        RegistryUnreachable: The name is one of a registry that does not answer.
    """
    for prefix, (module, function) in _RESOLVERS.items():
        if str(name_or_path).startswith(prefix):
            return getattr(importlib.import_module(module), function)(str(name_or_path))
    shipped = bundled_models()
    name = _DEFAULT if str(name_or_path) in ("latest", "galaxy") else str(name_or_path)
    folder = shipped.get(name, Path(name))
    if not (folder / _NAME).is_file():
        raise UnknownModel(
            "model",
            expected=f"one of {', '.join(shipped) or 'no shipped models'}, or a bundle folder",
            found=str(name_or_path),
            remedy="List the models with: acie models.",
        )
    return folder


def bundle_kind(name_or_path: str | Path) -> str:
    """What a bundle models: ``galaxy`` (spectra) or ``tabular`` (rows of a catalogue).

    Raises:
        UnknownModel: There is no such bundle.
    """
    folder = find_bundle(name_or_path)
    try:
        return str(json.loads((folder / _NAME).read_text("utf-8")).get("kind", "galaxy"))
    except (OSError, ValueError, AttributeError):
        # Whoever loads it says what is wrong.
        return "galaxy"


def sha256(path: Path) -> str:
    """Digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, files: Iterable[str], facts: Mapping[str, Any]) -> str:
    """Write the manifest; it comes last, so that a torn folder is not a bundle.

    Arguments:
        folder: Holds the files already.
        files: Their names.
        facts: What else the manifest says.

    Returns:
        The digest over the digests of the files.
    """
    digests = {name: sha256(folder / name) for name in files}
    digest = _digest_of(digests)
    manifest = {"format": FORMAT_VERSION, **facts, "digest": digest, "files": digests}
    (folder / _NAME).write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
    return digest


def read_manifest(folder: Path, files: Iterable[str], kind: str = "galaxy") -> dict[str, Any]:
    """The manifest of a bundle of the known files.

    Raises:
        IncompatibleBundle: It cannot be read, or is of another format or kind.
        ChecksumMismatch: Its digests contradict one another.
    """
    try:
        manifest = json.loads((folder / _NAME).read_text("utf-8"))
        if manifest["format"] != FORMAT_VERSION or set(manifest["files"]) != set(files):
            raise ValueError(f"format {manifest['format']}")
        if manifest.get("kind", "galaxy") != kind:
            raise ValueError(f"a bundle of kind {manifest.get('kind', 'galaxy')!r}")
        consistent = _digest_of(manifest["files"]) == manifest["digest"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise IncompatibleBundle(
            f"{folder.name}/{_NAME}",
            expected=f"a manifest of format {FORMAT_VERSION}, kind {kind}",
            found=str(error) or type(error).__name__,
            remedy="Use a bundle made by a compatible version of ACIE.",
        ) from None
    if not consistent:
        raise ChecksumMismatch(
            f"{folder.name}/{_NAME}",
            expected="a digest that matches the list of files",
            found="another one",
            remedy="The manifest was changed; fetch the bundle again.",
        )
    return manifest


def verify_files(
    folder: Path, manifest: Mapping[str, Any], remedy: str = "fetch the bundle again"
) -> None:
    """Compare every file with its digest.

    Raises:
        ChecksumMismatch: A file is missing, truncated or changed.
    """
    for file, digest in manifest["files"].items():
        path = folder / file
        found = sha256(path) if path.is_file() else "no such file"
        if found != digest:
            raise ChecksumMismatch(
                f"{folder.name}/{file}",
                expected=f"SHA-256 {digest[:12]}...",
                found=found[:12],
                remedy=f"The file is truncated or was changed; {remedy}.",
            )


def _digest_of(files: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
