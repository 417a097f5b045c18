"""What a run notes about itself: the code, the machine, the data."""

__all__ = ["environment", "files_digest", "flat", "installed", "numbers", "revision"]

import getpass
import hashlib
import importlib.metadata
import math
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

import acie
from acie.manifest import sha256


def environment(device: torch.device | None = None) -> dict[str, str]:
    """Versions and hardware.

    Arguments:
        device: What is computed on; the CPU when left out.
    """
    name = platform.processor() or platform.machine()
    if device is not None and device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    return {
        "acie": acie.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "device": f"{device or 'cpu'} ({name})",
        "threads": str(torch.get_num_threads()),
    }


def installed() -> dict[str, str]:
    """Versions of everything installed."""
    found = {d.name: d.version for d in importlib.metadata.distributions()}
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def user() -> str:
    """Who runs this; empty where the system does not know."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""


def revision(folder: Path | None = None) -> dict[str, str]:
    """The git commit of a folder, and whether tracked files differ from it.

    Arguments:
        folder: The present one when left out.

    Returns:
        ``commit`` and ``dirty``; nothing outside a repository.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": str(bool(changes)).lower()}


def _git(folder: Path | None, *arguments: str) -> str:
    """What git says; nothing where there is no git or no repository."""
    quiet = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=quiet, capture_output=True, text=True,
            timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def files_digest(files: Iterable[Path]) -> str:
    """SHA-256 over the names and contents of files, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(files, key=lambda one: one.name):
        digest.update(f"{path.name}\0{sha256(path)}\n".encode())
    return digest.hexdigest()


def flat(values: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Nested settings as one level of texts: ``survey.redshift``.

    Example:
        >>> flat({"survey": {"snr": (2.0, 60.0)}, "seed": 1})
        {'survey.snr': '(2.0, 60.0)', 'seed': '1'}
    """
    return {name: str(value) for name, value in _leaves(values, before)}


def numbers(values: Mapping[str, Any], before: str = "") -> dict[str, float]:
    """The finite numbers of nested data as one level; texts and lists are left out.

    Example:
        >>> numbers({"scatter": {"age": 0.5}, "unit": "dex"})
        {'scatter.age': 0.5}
    """
    return {
        name: float(value)
        for name, value in _leaves(values, before)
        if isinstance(value, int | float) and math.isfinite(value)
    }


def _leaves(values: Mapping[str, Any], before: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value
