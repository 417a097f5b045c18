"""``acie evaluate``: how far a model can be trusted, as a report."""

__all__ = ["run"]

import json
import shutil
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from acie.cli.output import make_folder, table

if TYPE_CHECKING:
    from acie.evaluation import EvaluationConfig

_INDENT = " " * 6


def run(
    model: str,
    out: Path,
    config: "EvaluationConfig",
    json_output: bool,
    track: bool | None = None,
) -> None:
    """Measure, write the report, and print its summary or its JSON."""
    import acie
    from acie.evaluation import evaluate, measurement_key, write_report
    from acie.tracking import note_evaluation, tracked

    engine = acie.load(model)
    for text in config.questions:
        engine.act(text)
    make_folder(out)
    with (
        tracked("evaluate", engine.bundle.name, asdict(config), wanted=track) as noted,
        _progress(config.count) as (advance, stage),
    ):
        report, measured = evaluate(engine, config, out, advance, stage)
        files = write_report(report, measured, out, stage)
        note_evaluation(noted, report, files, measurement_key(engine, config))
    if json_output:
        typer.echo(json.dumps(report))
        return
    _show(report)
    typer.echo(f"written: {files[0]}, evaluation.json and {len(files) - 2} figures")


def _show(report: dict[str, Any]) -> None:
    rows = [
        (name, row["unit"], f"{row['scatter']:.4f}", f"{row['bias']:+.4f}",
         f"{100 * row['coverage_68']:.1f}", f"{report['sbc']['p_bonferroni'][name]:.2g}")
        for name, row in report["recovery"].items()
    ]  # fmt: skip
    snr = report["settings"]["snr"]
    where = "the survey's S/N range" if snr is None else f"S/N {snr:g}"
    table(
        f"{report['count']} galaxies over {where}",
        ("variable", "unit", "scatter", "bias", "coverage of 68 % [%]", "SBC p"), rows,
    )  # fmt: skip
    typer.echo("")
    width = shutil.get_terminal_size((80, 24)).columns
    for row in report["verdicts"]:
        typer.echo(f"{row['verdict'].upper():<5} {row['criterion']}")
        text = f"{row['measured']}; required: {row['required']}; sampling error: "
        typer.echo(textwrap.fill(text + row["sampling_error"], width, initial_indent=_INDENT,
                                 subsequent_indent=_INDENT))  # fmt: skip


@contextmanager
def _progress(count: int) -> Iterator[tuple[Callable[[int], None], Callable[[str], None]]]:
    """A bar with the time left on standard error, so that standard output stays clean."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Left

    columns = (TextColumn("{task.description}"), BarColumn(24),
               TextColumn("{task.completed:.0f}/{task.total:.0f}"), TimeElapsedColumn(),
               TextColumn("left"), Left())  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("galaxies", total=count)
        yield (
            lambda done: bar.update(task, completed=done),
            lambda text: bar.update(task, description=text),
        )
