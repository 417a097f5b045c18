"""From a model to a checked export, and from a name to an engine that uses one."""

__all__ = ["export_model", "find_export", "load_engine", "model_card", "ready_export"]

from collections.abc import Callable
from pathlib import Path
from typing import Any

import acie
from acie.bundle import ModelBundle
from acie.engine import CounterfactualEngine
from acie.export.folder import export_folder, write_export
from acie.export.graph.joining import compact
from acie.export.graph.tape import OPSET
from acie.export.network.eight_bits import QUANTISED, calibrated, speedups, worth
from acie.export.network.parity import Tolerance, check, compare, engine_draws, finite, simulate
from acie.export.network.quantise import with_layers
from acie.export.network.stages import latent_graph, spectral_graph
from acie.export.runner import ExportedModel
from acie.export.runtime import with_onnx
from acie.folders import cache_folder
from acie.manifest import find_bundle
from acie.observation import Observation
from acie.simulation import LATENT_NAMES, SPECTRAL_NAMES

#: Simulated galaxies of the check in single precision, of that of 8 bits, and of the rounding.
#: Roundings move a rank by 0.003, so that of 300 truths two or three cross the end of an interval
#: and the largest change of 44 coverages is a point by chance; of 1000 it is half of that.
_GALAXIES, _MORE_GALAXIES, _CALIBRATION = 200, 1000, 256
#: Galaxies whose whole answers are compared.
_ANSWERED = 48
#: Seed of the check.
_SEED = 2024
_Progress = Callable[[str], None]


def export_model(
    engine: CounterfactualEngine,
    folder: str | Path,
    *,
    quantize: str | None = None,
    real: Observation | None = None,
    galaxies: int | None = None,
    network_only: bool = False,
    card: str | None = None,
    progress: _Progress = lambda text: None,
) -> dict[str, Any]:
    """Write a model as ONNX, its network and whole answers, checked against the model itself.

    Arguments:
        engine: Of the model.
        folder: Where to; an earlier export there is replaced once the new one is complete.
        quantize: ``int8`` for weights of 8 bits, of the network alone.
        real: Real spectra to check with, besides simulated ones.
        galaxies: Simulated ones; 200 when left out, 1000 for 8 bits.
        network_only: Leave whole answers out, whose check takes longest.
        card: The model's own card, which becomes a part of the export's; see :func:`model_card`.
        progress: Told what is being done.

    Returns:
        The manifest, as in ``export.json``.

    Raises:
        ParityError: The exported network answers otherwise, or 8 bits do not pay; nothing is
            written then.
        ConfigurationError: The folder cannot be written, or the network cannot be exported.
    """
    bundle = engine.bundle
    galaxies = galaxies or (_GALAXIES if quantize is None else _MORE_GALAXIES)
    source = {"name": bundle.name, "version": bundle.version, "digest": bundle.digest}
    facts: dict[str, Any] = {
        "source": source,
        "acie_version": acie.__version__,
        "opset": OPSET,
        "spectral": SPECTRAL_NAMES,
        "latent": LATENT_NAMES,
    }
    with export_folder(folder) as draft:
        progress("exporting the network")
        graphs = {
            "spectral": spectral_graph(bundle.estimator),
            "latent": latent_graph(bundle.estimator),
        }
        models = {name: compact(graph) for name, graph in graphs.items()}
        progress(f"simulating {galaxies} galaxies to check with")
        sample = simulate(engine, galaxies, _SEED, real)
        size, tolerance = _size(models), Tolerance()
        if quantize is not None:
            progress("rounding the weights to 8 bits")
            layers = calibrated(engine, simulate(engine, _CALIBRATION, _SEED + 1))
            models = {name: compact(with_layers(graphs[name], layers[name])) for name in graphs}
            tolerance = QUANTISED
        write_export(draft, models, facts)
        progress("checking against the model")
        exported = ExportedModel(draft)
        figures = compare(engine_draws(bundle.estimator), exported.draws, sample)
        check(figures, tolerance, "the exported network")
        facts["parity"] = {"network": {**figures, "tolerance": finite(tolerance)}}
        if quantize is not None:
            faster = speedups(bundle.estimator, exported, sample)
            facts["quantized"] = worth(size / _size(models), faster, layers)
        elif not network_only:
            _add_answer(draft, engine, graphs, models, facts, min(galaxies, _ANSWERED), progress)
        return write_export(draft, models, facts, card)


def _add_answer(
    draft: Path,
    engine: CounterfactualEngine,
    graphs: dict[str, Any],
    models: dict[str, Any],
    facts: dict[str, Any],
    galaxies: int,
    progress: _Progress,
) -> None:
    """The graph of whole answers and what is to be said of it, checked against the engine."""
    # Slow to import, and needed by nobody who only runs an export.
    from acie.export.answer import whole
    from acie.export.answer.parity import AnswerTolerance, compare_answers

    progress("exporting whole answers")
    models["answer"] = compact(whole.answer_graph(engine, **graphs))
    facts |= whole.answer_facts(engine)
    write_export(draft, models, facts)
    progress("checking answers against the engine")
    tolerance = AnswerTolerance()
    found = compare_answers(engine, ExportedModel(draft), galaxies, _SEED)
    check(found, tolerance, "the exported answer", "with --network-only")
    facts["parity"]["answer"] = {**found, "tolerance": finite(tolerance)}


def _size(models: dict[str, Any]) -> int:
    return sum(model.ByteSize() for model in models.values())


def load_engine(
    name_or_path: str | Path = "galaxy-v1", progress: _Progress = lambda text: None
) -> CounterfactualEngine:
    """The engine of a model whose network ONNX Runtime computes, from :func:`ready_export`.

    Arguments:
        name_or_path: Name of a shipped model or folder of a bundle.
        progress: Told what is being done, where an export has to be made first.
    """
    bundle = ModelBundle.load(name_or_path)
    return CounterfactualEngine(with_onnx(bundle, ready_export(name_or_path, progress)))


def ready_export(name_or_path: str | Path, progress: _Progress = lambda text: None) -> Path:
    """The export that belongs to a model, made first where there is none.

    It is the folder ``onnx`` of the bundle, or else one in the user's cache.

    Arguments:
        name_or_path: Name of a shipped model or folder of a bundle.
        progress: Told what is being done.
    """
    bundle = ModelBundle.load(name_or_path)
    folder = find_export(find_bundle(name_or_path), bundle)
    if not (folder / "export.json").is_file():
        progress(f"no export of {bundle.name} yet: making one in {folder}")
        engine, card = CounterfactualEngine(bundle), model_card(name_or_path)
        export_model(engine, folder, card=card, network_only=True, progress=progress)
    return folder


def model_card(name_or_path: str | Path) -> str | None:
    """The card of a model, Markdown, where its bundle has one."""
    path = find_bundle(name_or_path) / "MODEL_CARD.md"
    return path.read_text("utf-8") if path.is_file() else None


def find_export(bundle_folder: Path, bundle: ModelBundle) -> Path:
    """Where the export of a bundle is, or would be."""
    beside = bundle_folder / "onnx"
    if (beside / "export.json").is_file():
        return beside
    return cache_folder() / "onnx" / f"{bundle.name}-{bundle.digest[:16]}-{acie.__version__}"
