"""``acie active`` with a model learned from a catalogue: which rows to complete next."""

__all__ = ["run_rows"]

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from acie.cli.answers import number, wrong_usage
from acie.cli.output import complain, make_folder, table
from acie.errors import ACIEError
from acie.seeds import SeedStream

_SCORES = {
    "posterior_variance": "variance left, mean over the variables, as a share of the population's",
    "effect_variance": "variance of the effect of {do} on {on}",
    "random": "no score: order by chance",
}
_COLUMNS = ("rank", "input", "score", "missing", "confidence", "quality")


def run_rows(files: Sequence[str], options: Any, by: str) -> int:
    """Rank the incomplete rows; returns 0 when all files could be read and 1 when some failed."""
    from acie.active import RowPoolBuilder, UncertaintySelector
    from acie.cli.infer import expand
    from acie.io import read_catalogue
    from acie.results import QualityFlag
    from acie.tabular import TabularEngine

    if by not in _SCORES:
        raise wrong_usage("--by", " or ".join(_SCORES), f"{by} with a model of a table",
                          "Rows of a catalogue have no exposure.")  # fmt: skip
    if options.redshift is not None:
        raise wrong_usage("--redshift", "no such option for a model of a table",
                          f"{options.redshift:g}", "Put the value into its column.")  # fmt: skip
    selector = UncertaintySelector(by, options.batch)
    engine = TabularEngine.load(options.model)
    builder = RowPoolBuilder(engine, options.do, options.on, options.samples)
    if options.out is not None:
        make_folder(options.out)
    stream, failed, found = SeedStream(options.seed), 0, expand(files)
    for file in found:
        try:
            generator = stream.generator(Path(file).name)
            builder.add(read_catalogue(file), file, generator)
        except ACIEError as error:
            failed += 1
            complain(file, error, options.json_output)
    if failed == len(found):
        return 1
    pool = builder.build()
    if options.n > len(pool) and not failed:
        raise wrong_usage("--n", f"from 1 to {len(pool)}, the rows with missing values",
                          str(options.n), "Ask for fewer, or give a larger pool.")  # fmt: skip
    count = min(options.n, len(pool))
    chosen = selector.select(pool, count, stream.generator("active"))
    ranking = [
        {
            "rank": rank,
            "input": pool.names[i],
            "score": score,
            "missing": list(pool.missing[i]),
            "confidence": float(pool.confidence[i]),
            "quality": list(QualityFlag(int(pool.quality[i])).names),
        }
        for rank, (i, score) in enumerate(
            zip(chosen.index.tolist(), chosen.scores.tolist(), strict=True), 1
        )
    ]
    bundle = engine.bundle
    answer = {
        "by": by,
        "batch": options.batch,
        "interventions": list(options.do),
        "outcome": options.on or None,
        "model": {"name": bundle.name, "version": bundle.version, "digest": bundle.digest},
        "pool": len(pool),
        "failed": failed,
        "ranking": ranking,
    }
    _report(answer, options)
    return 1 if failed else 0


def _report(answer: dict[str, Any], options: Any) -> None:
    if options.out is not None:
        (options.out / "ranking.json").write_text(json.dumps(answer), "utf-8")
        with (options.out / "ranking.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(_COLUMNS)
            writer.writerows(
                ["|".join(v) if isinstance(v, list) else v for v in map(row.get, _COLUMNS)]
                for row in answer["ranking"]
            )
    if options.json_output:
        typer.echo(json.dumps(answer))
        return
    meaning = _SCORES[answer["by"]].format(do=", ".join(options.do), on=options.on)
    title = (
        f"{len(answer['ranking'])} of {answer['pool']} incomplete rows, {answer['batch']} batch\n"
        f"score: {meaning}"
    )
    rows = [
        (str(row["rank"]), Path(row["input"]).name, number(row["score"]),
         ", ".join(row["missing"]), ", ".join(row["quality"]) or "-")
        for row in answer["ranking"]
    ]  # fmt: skip
    table(title, ("rank", "name", "score", "missing", "flags"), rows)
