"""``acie benchmark``: how fast a model is here."""

__all__ = ["run"]

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from acie.cli.output import table

if TYPE_CHECKING:
    from acie.benchmark import BenchmarkConfig


def run(
    config: "BenchmarkConfig",
    out: Path | None,
    earlier: Path | None,
    json_output: bool,
    track: bool | None = None,
) -> None:
    """Measure, print a table or JSON, and write the JSON."""
    from acie.benchmark import compare, run_benchmark
    from acie.benchmark.report import read_benchmark
    from acie.cli.output import make_folder
    from acie.tracking import note_benchmark, tracked

    before = None if earlier is None else read_benchmark(earlier)
    if out is not None:
        make_folder(out.parent)
    with tracked("benchmark", config.model, asdict(config), wanted=track) as noted:
        with _progress() as progress:
            result = run_benchmark(config, progress=progress)
        if before is not None:
            result["comparison"] = compare(result, before)
        if out is not None:
            out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
        note_benchmark(noted, result, [] if out is None else [out], result["dataset"]["key"])
    if json_output:
        typer.echo(json.dumps(result))
    else:
        _show(result)
        if out is not None:
            typer.echo(f"written: {out}")


def _show(result: dict[str, Any]) -> None:
    for machine in result["machines"]:
        typer.echo(
            f"{machine['device']}: {machine['name']}, {machine['threads']} threads, "
            f"{machine['operations_per_s'] / 1e9:.0f} Gflop/s, "
            f"{machine['bytes_per_s'] / 1e9:.1f} GB/s"
        )
    name = f"{result['model']['name']}, {result['dataset']['galaxies']} galaxies"
    columns, rows = zip(*(zip(*_cells(row, result), strict=True) for row in result["stages"]),
                        strict=True)  # fmt: skip
    table(name, columns[0], rows)
    typer.echo("ops, memory: share of the machine's rates above, if every operation of torch had "
               "to read and write memory; more than 100 % came out of caches.")  # fmt: skip
    for text in result.get("comparison", {}).get("caveats", []):
        typer.echo(f"mind: {text}")


def _cells(row: dict[str, Any], result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Titles and texts of one row; what says nothing here is left out."""
    yield "name", row["stage"]
    if len(result["machines"]) > 1:
        yield "device", row["device"]
    yield "per second", f"{_short(row['per_second'])} {row['unit']}"
    yield "p50, p90 ms", ", ".join(_short(row["latency_ms"][name]) for name in ("p50", "p90"))
    yield "MB", f"{row['memory_mb']:.0f}"
    if any(other["energy_j_per_item"] is not None for other in result["stages"]):
        energy = row["energy_j_per_item"]
        yield "J each", "?" if energy is None else f"{energy:.2g}"
    yield "ops", f"{100 * row['share_of_operations']:.0f} %"
    yield "memory", f"{100 * row['share_of_memory']:.0f} %"
    if "comparison" in result:
        ratio = result["comparison"]["ratios"].get(f"{row['stage']}/{row['device']}")
        yield "earlier", "new" if ratio is None else f"x {ratio:.2f}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100.0 else f"{value:.1f}"


@contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    """A bar on standard error, so that standard output stays clean."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(24), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("loading", total=1.0)
        yield lambda text, share: bar.update(task, completed=share, description=text)
