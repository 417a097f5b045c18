"""``acie fit``: learn the mechanisms of a graph from a catalogue."""

__all__ = ["run"]

import json
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from acie.cli.output import make_folder, table
from acie.errors import DataError


def run(graph: Path, data: Path, out: Path, name: str, seed: int, json_output: bool) -> int:
    """Learn, write the bundle, print the table; 1 when the catalogue cannot be used."""
    from dataclasses import replace

    from acie.io import read_catalogue
    from acie.tabular import FitConfig, GraphSpec, fit

    spec = GraphSpec.read(graph)
    if name:
        spec = replace(spec, name=name)
    # Before minutes of work, not after.
    make_folder(out)
    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
    )  # fmt: skip
    try:
        catalogue = read_catalogue(data)
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("learning", total=len(spec.variables))

            def progress(variable: str, number: int, total: int) -> None:
                bar.update(task, description=f"learning {variable}", completed=number, total=total)

            bundle = fit(spec, catalogue, FitConfig(seed=seed), progress)
    except DataError as error:
        typer.echo(f"acie: {type(error).__name__}: {error}", err=True)
        return 1
    folder = bundle.save(out)
    if json_output:
        answer = {
            "bundle": str(folder), "model": {"name": bundle.name, "version": bundle.version,
            "digest": bundle.digest}, "rows": len(catalogue), "variables": bundle.report,
        }  # fmt: skip
        typer.echo(json.dumps(answer))
        return 0
    _show(bundle, len(catalogue))
    typer.echo(f"bundle: {folder}   digest {bundle.digest[:12]}")
    return 0


def _show(bundle: Any, rows: int) -> None:
    lines = []
    for name, facts in bundle.report.items():
        others = ", ".join(
            f"{kind} {score:.3f}"
            for kind, score in facts["candidates"].items()
            if kind != facts["mechanism"]
        )
        lines.append(
            (name, facts["mechanism"], str(facts["rows_train"]), str(facts["rows_incomplete"]),
             f"{facts['held_out']:.3f} ± {facts['held_out_error']:.3f}", others or "-",
             f"{facts['seconds']:.1f}")
        )  # fmt: skip
    title = (
        f"{bundle.name}: {rows} rows of {bundle.training['source']}\n"
        "log likelihood per row of the test rows, in nat; its error; that of the other candidate"
    )
    table(title, ("variable", "mechanism", "rows", "gaps", "held out", "other", "s"), lines)
