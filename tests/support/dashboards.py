"""Where the page of the dashboard is, and commands in its project."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "clients" / "dashboard"
PAGE = ROOT / "src" / "acie" / "serving" / "page"
#: Screenshots and what was downloaded; not part of the repository.
ARTIFACTS = PROJECT / "artifacts"


def run(*command: str, patience_s: float = 300.0) -> str:
    """Output of a command in the project of the page."""
    done = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, timeout=patience_s, check=False,
        env={**os.environ, "CI": "1", "NO_COLOR": "1"},
    )  # fmt: skip
    told = f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    assert done.returncode == 0, f"{' '.join(command)}\n{told}"
    return done.stdout
