"""``acie infer``: every input is answered or has an error of its own."""

__all__ = ["InferOptions", "expand", "run"]

import glob
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from acie.errors import ACIEError
from acie.seeds import SeedStream


@dataclass(frozen=True)
class InferOptions:
    """The options of the command; see its help."""

    do: tuple[str, ...] = ()
    #: NaN has it estimated, None takes that of the file.
    redshift: float | None = None
    hold: tuple[str, ...] = ()
    samples: int = 256
    model: str = "galaxy-v1"
    out: Path | None = None
    json_output: bool = False
    seed: int = 0
    runtime: str = "torch"


def run(files: Sequence[str], options: InferOptions) -> int:
    """Answer every file; returns 0 when all are answered and 1 when some failed."""
    import acie
    from acie.cli.output import complain, make_folder, state_table
    from acie.manifest import bundle_kind, find_bundle
    from acie.redshift import RedshiftScanner

    # Found once: the alias of a registered model may move between two questions.
    options = replace(options, model=str(find_bundle(options.model)))
    if bundle_kind(options.model) == "tabular":
        from acie.cli.catalogue import run as run_catalogue

        return run_catalogue(expand(files), options)
    engine = acie.load(options.model, options.runtime)
    scanner = RedshiftScanner(engine.bundle.encoder)
    # A question that cannot be asked is refused once, before any file is read.
    engine.check_hold(engine.act(list(options.do)), options.hold)
    if options.out is not None:
        make_folder(options.out)
    failed = 0
    for file in expand(files):
        try:
            answers = _answer(engine, scanner, file, options)
        except ACIEError as error:
            failed += 1
            complain(file, error, options.json_output)
            continue
        for answer in answers:
            if options.json_output:
                typer.echo(json.dumps(answer))
            else:
                state_table(answer)
                typer.echo()
    return 1 if failed else 0


def expand(files: Sequence[str]) -> list[str]:
    """Paths with patterns replaced by what they match."""
    found: list[str] = []
    for file in files:
        matches = sorted(glob.glob(file)) if glob.has_magic(file) else []
        found.extend(matches or [file])
    return found


def _answer(engine: Any, scanner: Any, file: str, options: InferOptions) -> list[dict[str, Any]]:
    import acie.io
    from acie.redshift import settle_redshift
    from acie.report import result_to_fits, result_to_json

    loaded = acie.io.read(file, redshift=options.redshift)
    observations = [loaded[i : i + 1] for i in range(len(loaded))] if loaded.is_batch else [loaded]
    answers = []
    for number, observation in enumerate(observations):
        start = time.perf_counter()
        observation, estimate = settle_redshift(observation, scanner)
        generator = SeedStream(options.seed).generator(f"{Path(file).name}-{number}")
        result = engine.counterfactual(
            observation, list(options.do), options.hold, options.samples, generator
        )
        elapsed = (time.perf_counter() - start) * 1e3
        answer = result_to_json(
            result, engine.bundle, engine.scm.variables, source=file, timing_ms=elapsed
        )
        if estimate is not None:
            answer["redshift_estimate"] = estimate.to_json()
        answers.append(answer)
        if options.out is not None:
            stem = Path(file).stem + (f"-{number}" if len(observations) > 1 else "")
            path = options.out / stem
            Path(f"{path}.json").write_text(json.dumps(answer), "utf-8")
            result_to_fits(answer, f"{path}.fits")
            _figure(result, engine, path, answer)
    return answers


def _figure(result: Any, engine: Any, path: Path, answer: dict[str, Any]) -> None:
    from acie.figures import plot_counterfactual

    flags = ", ".join(answer["quality"]) or "none"
    title = f"{path.name}   z = {answer['redshift']:.4f}   flags: {flags}"
    plot_counterfactual(result, engine.scm.variables, f"{path}.png", title)
