"""From a model to a checked export, and from a name to an engine that uses one."""

__all__ = ["export_model", "find_export", "load_engine"]

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import acie
from acie.bundle import ModelBundle
from acie.engine import CounterfactualEngine
from acie.export.folder import export_folder, write_export
from acie.export.graphs import compact
from acie.export.onnx import OPSET
from acie.export.parity import Tolerance, check, compare, eager_draws, simulate
from acie.export.runner import ExportedModel
from acie.export.runtime import with_onnx
from acie.export.stages import latent_graph, spectral_graph
from acie.manifest import find_bundle
from acie.observation import Observation
from acie.simulation import LATENT_NAMES, SPECTRAL_NAMES

#: Simulated galaxies of the check, and its seed.
_GALAXIES, _SEED = 200, 2024
_PROGRESS = Callable[[str], None]


def export_model(
    engine: CounterfactualEngine,
    folder: str | Path,
    *,
    real: Observation | None = None,
    galaxies: int = _GALAXIES,
    progress: _PROGRESS = lambda text: None,
) -> dict[str, Any]:
    """Write the network part of a model as ONNX, checked against the model itself.

    Arguments:
        engine: Of the model.
        folder: Where to; an earlier export there is replaced once the new one is complete.
        real: Real spectra to check with, besides simulated ones.
        galaxies: Simulated ones.
        progress: Told what is being done.

    Returns:
        The manifest, as in ``export.json``.

    Raises:
        ParityError: The exported network answers otherwise; nothing is written then.
        ConfigurationError: The folder cannot be written, or the network cannot be exported.
    """
    bundle = engine.bundle
    with export_folder(folder) as draft:
        progress("exporting the network")
        models = {
            "spectral": compact(spectral_graph(bundle.estimator)),
            "latent": compact(latent_graph(bundle.estimator)),
        }
        facts = {
            "source": {"name": bundle.name, "version": bundle.version, "digest": bundle.digest},
            "acie_version": acie.__version__,
            "opset": OPSET,
            "quantized": None,
            "spectral": SPECTRAL_NAMES,
            "latent": LATENT_NAMES,
        }
        write_export(draft, models, facts)
        progress(f"checking against the model on {galaxies} simulated galaxies")
        sample = simulate(engine, galaxies, _SEED, real)
        exported = ExportedModel(draft)
        tolerance = Tolerance()
        figures = compare(eager_draws(bundle.estimator), exported.draws, sample)
        check(figures, tolerance, "the exported network")
        parity = {"network": {**figures, "tolerance": vars(tolerance)}}
        return write_export(draft, models, {**facts, "parity": parity})


def load_engine(
    name_or_path: str | Path = "galaxy-v1", progress: _PROGRESS = lambda text: None
) -> CounterfactualEngine:
    """The engine of a model whose network ONNX Runtime computes.

    The export is that in the folder ``onnx`` of the bundle, or else one in the user's cache, which
    is made when it is missing.

    Arguments:
        name_or_path: Name of a shipped model or folder of a bundle.
        progress: Told what is being done, where an export has to be made first.
    """
    bundle = ModelBundle.load(name_or_path)
    folder = find_export(find_bundle(name_or_path), bundle)
    if not (folder / "export.json").is_file():
        progress(f"no export of {bundle.name} yet: making one in {folder}")
        export_model(CounterfactualEngine(bundle), folder, progress=progress)
    return CounterfactualEngine(with_onnx(bundle, folder))


def find_export(bundle_folder: Path, bundle: ModelBundle) -> Path:
    """Where the export of a bundle is, or would be."""
    beside = bundle_folder / "onnx"
    if (beside / "export.json").is_file():
        return beside
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "acie" / "onnx" / f"{bundle.name}-{bundle.digest[:16]}-{acie.__version__}"
