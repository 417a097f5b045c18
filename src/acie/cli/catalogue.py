"""``acie infer`` with a model learned from a catalogue: all rows of a file at once."""

__all__ = ["run"]

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import typer

from acie.cli.output import complain, make_folder, table
from acie.errors import ACIEError, ConfigurationError


def run(files: Sequence[str], options: Any) -> int:
    """Answer every catalogue; returns 0 when all are answered and 1 when some failed."""
    from acie.io import read_catalogue
    from acie.tabular import TabularEngine, answer_catalogue, write_answer
    from acie.tabular.answers import to_plain

    engine = TabularEngine.load(options.model)
    if options.redshift is not None:
        raise ConfigurationError(
            "--redshift", expected="no such option for a model of a catalogue",
            found=f"{options.redshift:g}", remedy="Put the value into its column.",
        )  # fmt: skip
    # A question that cannot be asked is refused once, before any file is read.
    engine.check_hold(engine.act(list(options.do)), options.hold)
    if options.out is not None:
        make_folder(options.out)
    failed = 0
    for file in files:
        try:
            answer = answer_catalogue(
                engine, read_catalogue(file), list(options.do), options.hold, options.samples,
                options.seed,
            )  # fmt: skip
        except ACIEError as error:
            failed += 1
            complain(file, error, options.json_output)
            continue
        answer["input"] = file
        stem = Path(file).stem
        written = [] if options.out is None else write_answer(answer, options.out / stem)
        if options.json_output:
            typer.echo(json.dumps(to_plain(answer)))
        else:
            _show(answer)
            if written:
                typer.echo(f"written: {', '.join(path.name for path in written)}")
    return 1 if failed else 0


def _show(answer: dict[str, Any]) -> None:
    lines = []
    for name, state in answer["latent_state"].items():
        if "label" in state:
            after = answer["counterfactual_state"][name]["label"]
            changed = float((state["label"] != after).mean())
            lines.append((name, _commonest(state["label"]), _commonest(after),
                          f"{changed:.1%} of the rows change"))  # fmt: skip
            continue
        after = answer["counterfactual_state"][name]["median"]
        low, middle, high = np.nanquantile(
            answer["effect"][name]["median"], (0.16, 0.5, 0.84)
        )
        effect = "-" if low == high == 0 else f"{middle:+.3g} ({low:+.3g} to {high:+.3g})"
        lines.append((name, f"{np.nanmedian(state['median']):.4g}", f"{np.nanmedian(after):.4g}",
                      effect))  # fmt: skip
    question = ", ".join(answer["interventions"]) or "no intervention"
    masks, counts = np.unique(answer["quality"], return_counts=True)
    flags = "; ".join(_flag_text(int(m), int(c)) for m, c in zip(masks, counts, strict=True) if m)
    title = (
        f"{answer['input']}   {answer['rows']} rows   {question}\n"
        f"flags: {flags or 'none'}   {answer['timing_ms']:.0f} ms\n"
        "medians over the rows; effect of a row: median (68 % of the rows)"
    )
    table(title, ("variable", "factual", "counterfactual", "effect"), lines)


def _flag_text(mask: int, count: int) -> str:
    from acie.results import QualityFlag

    return f"{', '.join(QualityFlag(mask).names)} in {count}"


def _commonest(labels: np.ndarray) -> str:
    found, counts = np.unique(labels.astype(str), return_counts=True)
    return str(found[counts.argmax()])
