"""Answers to causal questions as tables and as JSON."""

__all__ = [
    "FileQuestion",
    "ask_files",
    "facts",
    "heading",
    "interval",
    "names_of",
    "number",
    "percent",
    "read_draws",
    "sensitivity_json",
    "sensitivity_table",
    "wrong_usage",
]

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from acie.cli.output import complain, table
from acie.errors import ACIEError, ConfigurationError
from acie.seeds import SeedStream


@dataclass(frozen=True)
class FileQuestion:
    """What every question about files needs.

    Arguments:
        redshift: Redshift, when the file has none.
        samples: Posterior draws per galaxy.
        seed: Seed of everything random.
        json_output: JSON instead of tables.
    """

    redshift: float | None = None
    samples: int = 256
    seed: int = 0
    json_output: bool = False


def number(value: float) -> str:
    """A number as a narrow column shows it."""
    if not math.isfinite(value):
        return "-"
    if abs(value) < 1e-12:
        return "0"
    text = f"{value:.4g}" if 1e-3 <= abs(value) < 1e5 or value == 0.0 else f"{value:.3g}"
    return re.sub(r"e\+?(-?)0*(\d)", r"e\1\2", text)


def percent(share: float) -> str:
    """A share as people read it; never 0 % or 100 % unless it is."""
    if 0.0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1.0 else f"{share:.0%}"


def interval(low: float, high: float) -> str:
    """An interval as people read it."""
    return f"{number(low)} to {number(high)}"


def ask_files(
    engine: Any,
    files: Sequence[str],
    options: FileQuestion,
    answer: Callable[[Any, str, Any], list[dict[str, Any]]],
    show: Callable[[dict[str, Any]], None],
) -> int:
    """Answer a question about every galaxy of every file; a failed file does not stop the rest.

    Arguments:
        engine: The engine.
        files: Paths.
        options: Options of the question.
        answer: ``(draws, file, abduction) -> answers``.
        show: Prints one answer for people.

    Returns:
        0 when all are answered and 1 when some failed.
    """
    failed = 0
    for file in files:
        try:
            answers = [
                item
                for draws, abduction in read_draws(engine, file, options)
                for item in answer(draws, file, abduction)
            ]
        except ACIEError as error:
            failed += 1
            complain(file, error, options.json_output)
            continue
        for item in answers:
            typer.echo(json.dumps(item)) if options.json_output else show(item)
    return 1 if failed else 0


def read_draws(engine: Any, file: str, options: FileQuestion) -> list[tuple[Any, Any]]:
    """Posterior draws and abduction of every galaxy of a file."""
    import acie.io
    from acie.questions import draws_of
    from acie.redshift import settle_redshift

    loaded = acie.io.read(file, redshift=options.redshift)
    observations = [loaded[i : i + 1] for i in range(len(loaded))] if loaded.is_batch else [loaded]
    found = []
    for count, observation in enumerate(observations):
        if bool(observation.redshift.isnan().any()):
            observation, _ = settle_redshift(observation, engine)
        generator = SeedStream(options.seed).generator(f"{Path(file).name}-{count}")
        abduction = engine.abduct(observation, options.samples, generator)
        found.append((draws_of(abduction), abduction))
    return found


def facts(engine: Any, file: str, abduction: Any) -> dict[str, Any]:
    """What every answer about a file says of the file and the model."""
    from acie.results import QualityFlag

    posterior, bundle = abduction.posterior, engine.bundle
    return {
        "input": file,
        "model": {"name": bundle.name, "version": bundle.version, "digest": bundle.digest},
        "redshift": float(posterior.values["redshift"].flatten()[0]),
        "confidence": float(posterior.confidence[0]),
        "quality": list(QualityFlag(int(posterior.quality[0])).names),
    }


def heading(answer: dict[str, Any], question: str) -> str:
    """Title of a table about one file."""
    flags = ", ".join(answer["quality"]) or "none"
    return (
        f"{answer['input']}   z = {answer['redshift']:.4f}   {question}\n"
        f"confidence {answer['confidence']:.2f}   flags: {flags}"
    )


def sensitivity_json(found: Any) -> dict[str, Any]:
    """The sensitivity of an answer as plain data."""
    return {
        "statistical": found.statistical.to_json(),
        "effective_size": found.size if math.isfinite(found.size) else None,
        "sensitivity_interval": list(found.interval),
        "envelope": list(found.envelope),
        "refused": list(found.refused),
        "alternatives": [
            {
                "name": row.name,
                "description": row.description,
                "effect": None if row.effect is None else row.effect.to_json(),
                "effective_size": row.size if math.isfinite(row.size) else None,
                "note": row.note,
            }
            for row in found.rows
        ],
    }


def sensitivity_table(data: dict[str, Any]) -> None:
    """Print the answer under every alternative."""
    base = data["statistical"]
    own = "" if data["effective_size"] is None else f"{data['effective_size']:.0f}"
    rows = [("the model", number(base["value"]), interval(base["low"], base["high"]), own)]
    for row in data["alternatives"]:
        size = "" if row["effective_size"] is None else f"{row['effective_size']:.0f}"
        effect = row["effect"]
        if effect is None:
            rows.append((row["name"], "refused", "too few draws", size))
        else:
            text = interval(effect["low"], effect["high"])
            rows.append((row["name"], number(effect["value"]), text, size))
    table(
        "\nUnder other assumptions", ("name", "effect", f"{base['level']:.0%}", "eff. draws"), rows
    )
    typer.echo(
        f"statistical  {interval(base['low'], base['high'])}\n"
        f"sensitivity  {interval(*data['sensitivity_interval'])} (central values)\n"
        f"together     {interval(*data['envelope'])}"
    )


def names_of(text: str) -> tuple[str, ...]:
    """Names separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def wrong_usage(option: str, expected: str, found: str, remedy: str = "") -> ConfigurationError:
    """The error of a contradictory command line."""
    return ConfigurationError(option, expected=expected, found=found, remedy=remedy)
