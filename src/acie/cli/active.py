"""``acie active``: which galaxies to observe next, ranked, in a batch without repetition."""

__all__ = ["ActiveOptions", "run"]

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from acie.cli.answers import number, wrong_usage
from acie.cli.output import complain, make_folder, table
from acie.errors import ACIEError
from acie.seeds import SeedStream

#: What each score is, for people.
_SCORES = {
    "posterior_variance": "variance left, mean over the variables, as a share of the population's",
    "variance_reduction": "expected fall of that variance with {exposure:g} times the exposure",
    "information_gain": "expected information in nats of {exposure:g} times the exposure",
    "effect_variance": "variance of the effect of {do} on {on}",
    "random": "no score: order by chance",
}


@dataclass(frozen=True)
class ActiveOptions:
    """The options of the command; see its help."""

    n: int = 100
    by: str | None = None
    do: tuple[str, ...] = ()
    on: str = ""
    batch: str = "determinantal"
    exposure: float = 4.0
    redshift: float | None = None
    samples: int = 256
    model: str = "galaxy-v1"
    out: Path | None = None
    json_output: bool = False
    seed: int = 0


def run(files: Sequence[str], options: ActiveOptions) -> int:
    """Rank the pool; returns 0 when all of it could be used and 1 when some files failed."""
    import acie
    from acie.active import PoolBuilder, UncertaintySelector
    from acie.manifest import bundle_kind, find_bundle

    # Whatever is wrong with the question itself is refused before any file is read.
    by = options.by or ("effect_variance" if options.do else "posterior_variance")
    _check(by, options)
    selector = UncertaintySelector(by, options.batch)
    # Found once: the alias of a registered model may move between two questions.
    options = replace(options, model=str(find_bundle(options.model)))
    if bundle_kind(options.model) == "tabular":
        from acie.cli.active_rows import run_rows

        return run_rows(files, options, by)
    builder = PoolBuilder(acie.load(options.model), options.do, options.on, options.exposure)
    if options.out is not None:
        make_folder(options.out)
    found, failed = _read_all(files, options)
    # Asked for more than there is: said before minutes of inference; failed files are not blamed
    # twice, the rest is ranked.
    if options.n > len(found) and not failed:
        raise wrong_usage("--n", f"from 1 to {len(found)}, the size of the pool", str(options.n),
                          "Ask for fewer, or give a larger pool.")  # fmt: skip
    rows, lost = _infer_all(builder, found, options)
    failed |= lost
    if not rows:
        return 1
    stream = SeedStream(options.seed)
    pool = builder.build(stream.generator("population"))
    count = min(options.n, len(pool))
    chosen = selector.select(pool, count, stream.generator("active"))
    ranking = [
        {"rank": rank, **rows[i], "score": score}
        for rank, (i, score) in enumerate(
            zip(chosen.index.tolist(), chosen.scores.tolist(), strict=True), 1
        )
    ]
    bundle = builder.engine.bundle
    answer = {
        "by": by,
        "batch": options.batch,
        "interventions": list(options.do),
        "outcome": options.on or None,
        "exposure": options.exposure if "{exposure" in _SCORES[by] else None,
        "model": {"name": bundle.name, "version": bundle.version, "digest": bundle.digest},
        "pool": len(pool),
        "failed": len(failed),
        "ranking": ranking,
    }
    _report(answer, options)
    return 1 if failed else 0


def _check(by: str, options: ActiveOptions) -> None:
    if by not in _SCORES:
        raise wrong_usage("--by", " or ".join(_SCORES), repr(by))
    if by == "effect_variance" and not (options.do and options.on):
        raise wrong_usage("--by effect_variance", "an action and an outcome", "none",
                          "For example --do stellar_mass*=1.5 --on dn4000.")  # fmt: skip
    if by != "effect_variance" and (options.do or options.on):
        raise wrong_usage(f"--by {by}", "no --do and no --on", " ".join((*options.do, options.on)),
                          "They belong to --by effect_variance.")  # fmt: skip
    if not options.exposure > 1.0:
        raise wrong_usage("--exposure", "a factor above 1", f"{options.exposure:g}")


def _read_all(
    files: Sequence[str], options: ActiveOptions
) -> tuple[list[tuple[str, int, bool, Any]], set[str]]:
    """Every galaxy as ``(file, number, alone, observation)``, and the files that failed."""
    import acie.io
    from acie.cli.infer import expand

    found, failed = [], set()
    for file in expand(files):
        try:
            loaded = acie.io.read(file, redshift=options.redshift)
        except ACIEError as error:
            failed.add(file)
            complain(file, error, options.json_output)
            continue
        batch = loaded.batched()
        found += [(file, i, len(batch) == 1, batch[i : i + 1]) for i in range(len(batch))]
    return found, failed


def _infer_all(
    builder: Any, found: Sequence[tuple[str, int, bool, Any]], options: ActiveOptions
) -> tuple[list[dict[str, Any]], set[str]]:
    """Put every galaxy into the pool; returns what is known of each, and failed inputs."""
    from acie.redshift import RedshiftScanner, settle_redshift
    from acie.results import QualityFlag

    scanner = RedshiftScanner(builder.engine.bundle.encoder)
    rows, failed = [], set()
    for file, position, alone, observation in found:
        name = file if alone else f"{file}#{position}"
        try:
            observation, _ = settle_redshift(observation, scanner)
            generator = SeedStream(options.seed).generator(f"{Path(file).name}-{position}")
            abduction = builder.engine.abduct(observation, options.samples, generator)
            builder.add(observation, abduction, [name])
        except ACIEError as error:
            failed.add(name)
            complain(name, error, options.json_output)
            continue
        posterior = abduction.posterior
        rows.append(
            {
                "input": name,
                "redshift": float(observation.redshift[0]),
                "signal_to_noise": float(observation.signal_to_noise[0]),
                "confidence": float(posterior.confidence[0]),
                "quality": list(QualityFlag(int(posterior.quality[0])).names),
            }
        )
    return rows, failed


def _report(answer: dict[str, Any], options: ActiveOptions) -> None:
    if options.out is not None:
        (options.out / "ranking.json").write_text(json.dumps(answer), "utf-8")
        with (options.out / "ranking.csv").open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows(_lines(answer))
    if options.json_output:
        typer.echo(json.dumps(answer))
        return
    meaning = _SCORES[answer["by"]].format(
        exposure=options.exposure, do=", ".join(options.do), on=options.on
    )
    title = (
        f"{len(answer['ranking'])} of {answer['pool']} galaxies, {answer['batch']} batch\n"
        f"score: {meaning}"
    )
    rows = [
        (str(row["rank"]), Path(row["input"]).name, number(row["score"]),
         f"{row['redshift']:.4f}", f"{row['signal_to_noise']:.1f}",
         ", ".join(row["quality"]) or "-")
        for row in answer["ranking"]
    ]  # fmt: skip
    table(title, ("rank", "name", "score", "z", "S/N", "flags"), rows)


def _lines(answer: dict[str, Any]) -> Iterator[Sequence[Any]]:
    names = ("rank", "input", "score", "redshift", "signal_to_noise", "confidence")
    yield (*names, "quality")
    for row in answer["ranking"]:
        yield (*(row[name] for name in names), "|".join(row["quality"]))
