"""Tables for people."""

__all__ = ["complain", "make_folder", "state_table", "table"]

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from acie.errors import ACIEError, ConfigurationError

#: Units as a narrow column shows them.
_SHORT = {"mass fraction": "by mass"}
#: Columns of a table in a file or a pipe.
_WIDE = 400


def make_folder(path: Path) -> None:
    """Make the output folder.

    Raises:
        ConfigurationError: There is a file of that name, or the place cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            "--out", expected="a folder", found=f"{path} ({error.strerror})",
            remedy="Choose another folder.",
        ) from None  # fmt: skip


def complain(file: str, error: ACIEError, json_output: bool) -> None:
    """Say why one input failed: as JSON on standard output, or for people on standard error."""
    record = {"type": type(error).__name__, "message": str(error)}
    if json_output:
        typer.echo(json.dumps({"input": file, "error": record}))
    else:
        typer.echo(f"{file}: {record['type']}: {record['message']}", err=True)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on standard output."""
    grid = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for column in columns:
        first = column in ("variable", "name")
        grid.add_column(column, justify="left" if first else "right", no_wrap=first)
    for row in rows:
        grid.add_row(*row)
    console = Console(soft_wrap=True)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        # What reads it is not a screen: nothing is cut off to fit 80 columns.
        console.width = _WIDE
    console.print(grid)


def _interval(state: dict[str, Any]) -> str:
    low, middle, high = (state[key] for key in ("p16", "median", "p84"))
    text = f"{middle:.4g}" if abs(middle) < 1e4 else f"{middle:.3g}"
    if high > low:
        text += f" -{middle - low:.2g} +{high - middle:.2g}"
    # 1.5e+09 is 1.5e9 to people, and the table fits 80 columns.
    return re.sub(r"e\+?(-?)0*(\d)", r"e\1\2", text)


def state_table(answer: dict[str, Any]) -> None:
    """Print the state of one galaxy, factual and counterfactual."""
    rows = [
        (
            name,
            _SHORT.get(state["unit"], state["unit"]),
            _interval(state),
            _interval(answer["counterfactual_state"][name]),
        )
        for name, state in answer["latent_state"].items()
    ]
    question = ", ".join(answer["interventions"]) or "no intervention"
    flags = ", ".join(answer["quality"]) or "none"
    title = (
        f"{answer['input']}   z = {answer['redshift']:.4f}   {question}\n"
        f"confidence {answer['confidence']:.2f}   flags: {flags}   {answer['timing_ms']:.0f} ms"
    )
    if "redshift_estimate" in answer:
        found = answer["redshift_estimate"]
        title += f"\nredshift estimated: {found['value']:.5f} +- {found['error']:.5f}"
        if found["second"] is not None:
            title += f"   next best {found['second']:.4f}, chi2 +{found['delta_chi2']:.0f}"
    columns = ("variable", "unit", "inferred (68 %)", "counterfactual")
    table(title, columns, rows)
