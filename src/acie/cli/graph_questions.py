"""``acie explain`` about the graph: can it be learned from, can it be refuted?"""

__all__ = ["falsify_catalogue", "identify"]

import json
import math
from typing import Any

import typer

from acie.cli.answers import wrong_usage
from acie.cli.output import table
from acie.errors import DataError
from acie.seeds import SeedStream


def identify(engine: Any, options: Any) -> int:
    """Whether a catalogue would tell an effect, and by which formula."""
    from acie.questions.identify import identify_in_galaxy

    cause, arrow, outcome = options.identify.partition(">")
    if not arrow:
        raise wrong_usage("--identify", "'cause>outcome'", options.identify)
    pairs = [tuple(n.strip() for n in pair.split("~")) for pair in options.confounded]
    report = identify_in_galaxy(
        engine.scm, engine.physics, cause.strip(), outcome.strip(), options.hidden, pairs
    )
    if options.json_output:
        typer.echo(json.dumps({
            "cause": report.cause, "outcome": report.outcome, "identified": report.identified,
            "estimand": report.estimand, "back_door": [list(s) for s in report.back_door],
            "front_door": [list(s) for s in report.front_door],
            "instruments": [{"name": n, "given": list(g)} for n, g in report.instruments],
            "sentences": list(report.sentences),
        }))  # fmt: skip
        return 0
    for sentence in report.sentences:
        typer.echo(sentence)
    if report.estimand:
        typer.echo(f"P({report.outcome} | do({report.cause})) = {report.estimand}")
    return 0


def falsify_catalogue(engine: Any, options: Any) -> int:
    """Test the graph on a catalogue: CSV with a header of variable names."""
    from acie.questions.falsify import falsify_galaxy_graph

    found = falsify_galaxy_graph(
        engine.scm, _columns(options.falsify), permutations=options.permutations,
        generator=SeedStream(options.seed).generator("falsify"),
    )  # fmt: skip
    if options.json_output:
        shuffled = None if math.isnan(found.permutation_p) else found.permutation_p
        typer.echo(json.dumps({
            "catalogue": options.falsify, "rejected": found.rejected, "level": found.level,
            "sentence": found.sentence, "permutation_p": shuffled,
            "permutations": found.permutations,
            "tests": [
                {"variable": t.variable, "other": t.other, "given": list(t.given),
                 "p_value": t.p_value, "refuted": t in found.refuted}
                for t in found.tests
            ],
        }))  # fmt: skip
        return 0
    typer.echo(found.sentence)
    if found.permutations:
        typer.echo(
            f"Of {found.permutations} graphs with shuffled names, {found.permutation_p:.0%} fail "
            "no more often."
        )
    worst = sorted(found.tests, key=lambda test: test.p_value)[:8]
    rows = [
        (f"{t.variable}, {t.other}", ", ".join(t.given) or "nothing", f"{t.p_value:.1e}",
         "refuted" if t in found.refuted else "")
        for t in worst
    ]  # fmt: skip
    table("\nLeast likely statements", ("name", "independent given", "p", ""), rows)
    return 0


def _columns(path: str) -> dict[str, Any]:
    import numpy as np
    import torch

    try:
        # Letters of names are kept as they are; an empty field is not a number.
        data = np.genfromtxt(path, delimiter=",", names=True, dtype=float, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataError(
            "--falsify", expected="a CSV file with a header of variable names",
            found=f"{path} ({str(error).splitlines()[0]})",
        ) from None  # fmt: skip
    names = data.dtype.names or ()
    table_ = {name: np.atleast_1d(data[name]) for name in names}
    # Columns of text become NaN throughout: they are no numbers to test.
    kept = {name: column for name, column in table_.items() if not np.isnan(column).all()}
    if not kept:
        raise DataError("--falsify", expected="columns of numbers with names", found=path)
    return {name: torch.from_numpy(column.copy()) for name, column in kept.items()}
