"""What is noted of a training, an evaluation and a benchmark."""

__all__ = ["note_benchmark", "note_evaluation", "note_training"]

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from acie.tracking.bundles import check_bundle
from acie.tracking.facts import files_digest, numbers
from acie.tracking.runs import Run

#: The parts of an evaluation that are few numbers; curves and draws stay in its JSON.
_PARTS = (
    "scatter", "bias", "coverage_68", "efficiency_median", "counterfactual_coverage_68",
    "counterfactual_effect_coverage_68", "counterfactual_state_coverage_68", "count", "seconds",
)  # fmt: skip


def note_training(run: Run, out: Path, bundle: Path) -> None:
    """Note a finished training: the bundle, what was measured of it, the digest of the data.

    Arguments:
        run: The run.
        out: Working folder of the training.
        bundle: The bundle.
    """
    if not run.active:
        return
    from acie.bundle import ModelBundle

    shards = list((out / "shards").glob("*.safetensors"))
    run.data("simulations", files_digest(shards), f"{len(shards)} shards")
    run.metrics(numbers(ModelBundle.load(bundle).metrics, "final/"))
    run.bundle(bundle, check_bundle(bundle))


def note_evaluation(
    run: Run, report: Mapping[str, Any], files: Iterable[Path], data_digest: str
) -> None:
    """Note an evaluation: its numbers and verdicts, and the report with its figures.

    Arguments:
        run: The run.
        report: From :func:`acie.evaluation.evaluate`.
        files: The report, its JSON and figures.
        data_digest: What the simulations were made from, as one digest.
    """
    run.model(report["model"])
    run.data("fresh simulations", data_digest, f"seed {report['settings']['seed']}")
    verdicts = report["verdicts"]
    run.metrics(
        numbers({name: report[name] for name in _PARTS})
        | {f"pass/{_slug(row['criterion'])}": row["verdict"] == "pass" for row in verdicts}
        | {"criteria_passed": sum(row["verdict"] == "pass" for row in verdicts)}
    )
    for path in files:
        run.files([path], "figures" if path.suffix == ".png" else "")


def note_benchmark(
    run: Run, report: Mapping[str, Any], files: Iterable[Path] = (), data_digest: str = ""
) -> None:
    """Note a benchmark: every number of its JSON, and its files.

    Arguments:
        run: The run.
        report: Nested numbers; ``model`` with name, version and digest where there is one.
        files: What it wrote.
        data_digest: Digest of the data set.
    """
    if "model" in report:
        run.model(report["model"])
    if data_digest:
        run.data(str(report.get("dataset", "data")), data_digest, "acie benchmark")
    run.metrics({_allowed(name): value for name, value in numbers(report).items()})
    run.files(files)


def _slug(criterion: str) -> str:
    """``TARP: all variables together`` as ``tarp-all-variables-together``, numbers left out."""
    words = re.findall(r"[a-z]+", criterion.partition(",")[0].lower())
    return "-".join(words)[:80]


def _allowed(name: str) -> str:
    """A name of characters that MLflow takes."""
    return re.sub(r"[^A-Za-z0-9_\-. :/]", "_", name)[:250]
