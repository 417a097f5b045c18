"""``acie models``: what can be loaded."""

__all__ = ["run"]

from collections.abc import Sequence
from pathlib import Path

from acie.cli.output import table


def run(folders: Sequence[Path]) -> None:
    """Print the shipped bundles and those in the folders, their digests verified."""
    from acie.bundle import ModelBundle
    from acie.manifest import bundle_kind, bundled_models
    from acie.tabular import TabularBundle

    rows = []
    for folder in (*bundled_models().values(), *folders):
        kind = bundle_kind(folder)
        if kind == "tabular":
            bundle = TabularBundle.load(folder)
            learned = f"{bundle.training['rows']} rows"
        else:
            bundle = ModelBundle.load(folder)
            learned = f"{bundle.training.get('simulations', '?')} simulations"
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        rows.append(
            (bundle.name, kind, bundle.version, bundle.digest[:12], f"{size:.1f} MB", learned)
        )
    table("Models", ("name", "kind", "version", "digest", "size", "learned from"), rows)
