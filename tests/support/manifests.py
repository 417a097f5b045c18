"""Where the manifests are, and the programs that their tests need."""

import os
import shutil
from pathlib import Path

import pytest

K8S = Path(__file__).parents[2] / "deploy" / "k8s"


def needed(name: str) -> str:
    """Full path of a program, or a skip; in CI a failure."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
            pytest.fail(f"in CI this must not be skipped: {name} is not installed")
        pytest.skip(f"{name} is not installed")
    return found
