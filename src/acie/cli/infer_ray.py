"""``acie infer --ray``: a catalogue of shards on a Ray cluster."""

__all__ = ["RayOptions", "run"]

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import typer

from acie.cli.infer import InferOptions
from acie.errors import ConfigurationError


@dataclass(frozen=True)
class RayOptions:
    """The options that only ``--ray`` has; see the help of the command."""

    address: str | None = None
    workers: int | None = None
    spectra: bool = False


def run(catalogue: Sequence[str], options: InferOptions, ray: RayOptions) -> int:
    """Answer a catalogue; returns 0 when all shards are answered and 1 when some failed."""
    from acie.cluster import Question, find_shards, infer_catalogue
    from acie.manifest import bundle_kind

    if options.out is None:
        raise ConfigurationError(
            "--out", expected="a folder for the answers with --ray", found="none",
            remedy="Give --out DIR; started again with it, a stopped run goes on.",
        )  # fmt: skip
    if bundle_kind(options.model) == "tabular":
        raise ConfigurationError(
            "--ray", expected="a model of spectra", found=f"{options.model}, of a catalogue",
            remedy="Leave --ray out: one process answers millions of rows of a catalogue.",
        )  # fmt: skip
    question = Question(
        do=options.do, hold=options.hold, samples=options.samples, seed=options.seed,
        model=options.model, redshift=options.redshift, spectra=ray.spectra,
    )  # fmt: skip
    shards = find_shards(catalogue)
    if ray.address is None and not any(shard.path.exists() for shard in shards):
        # Of several, those that are missing are reported with the answers of the others.
        raise ConfigurationError(
            "CATALOGUE", expected="files or folders that exist",
            found=f"nothing at {', '.join(catalogue)}", remedy="Check the path.",
        )  # fmt: skip
    done = 0

    def progress(record: dict[str, Any]) -> None:
        nonlocal done
        done += 1
        if options.json_output:
            typer.echo(json.dumps(record))
        else:
            typer.echo(f"[{done}/{len(shards)}] {_line(record)}", err=True)

    outcome = infer_catalogue(
        shards, options.out, question,
        address=ray.address, workers=ray.workers, progress=progress,
    )  # fmt: skip
    if not options.json_output:
        rate = outcome.total("rows") / outcome.seconds if outcome.seconds else 0.0
        typer.echo(
            f"{outcome.total('rows')} galaxies in {len(outcome.records) - len(outcome.failed)} "
            f"shards, {outcome.total('refused')} refused, {rate:.1f} galaxies/s; "
            f"{outcome.kept} shards were finished before; {len(outcome.failed)} failed: "
            f"{options.out}"
        )
    return 1 if outcome.failed else 0


def _line(record: dict[str, Any]) -> str:
    if record["status"] == "failed":
        return f"{record['shard']}: {record['error']['type']}: {record['error']['message']}"
    refused = f", {record['refused']} refused" if record["refused"] else ""
    return f"{record['shard']}: {record['rows']} galaxies{refused}, {record['seconds']:.1f} s"
