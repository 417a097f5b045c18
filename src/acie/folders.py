"""Where ACIE keeps what can be made or fetched again."""

__all__ = ["cache_folder"]

import os
from pathlib import Path


def cache_folder() -> Path:
    """``ACIE_CACHE_DIR``, or ``acie`` in the user's cache folder (XDG base directories)."""
    own = os.environ.get("ACIE_CACHE_DIR")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "acie"
