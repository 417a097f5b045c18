"""``acie explain``: what carries an effect or a difference, what would reach a target."""

__all__ = ["ExplainOptions", "run"]

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typer

from acie.cli.answers import (
    FileQuestion,
    ask_files,
    facts,
    heading,
    interval,
    number,
    percent,
    read_draws,
    sensitivity_json,
    sensitivity_table,
    wrong_usage,
)
from acie.cli.output import table
from acie.errors import ACIEError


@dataclass(frozen=True)
class ExplainOptions:
    """The options of the command; see its help."""

    do: tuple[str, ...] = ()
    on: str = ""
    path: tuple[str, ...] = ()
    through: tuple[str, ...] = ()
    target: str = ""
    by: tuple[str, ...] = ()
    hold: tuple[str, ...] = ()
    identify: str = ""
    falsify: str = ""
    permutations: int = 0
    hidden: tuple[str, ...] = ()
    confounded: tuple[str, ...] = ()
    sensitivity: bool = False
    alternative: tuple[str, ...] = ()
    redshift: float | None = None
    samples: int = 256
    model: str = "galaxy-v1"
    json_output: bool = False
    seed: int = 0

    @property
    def files(self) -> FileQuestion:
        """The part that reading files needs."""
        return FileQuestion(self.redshift, self.samples, self.seed, self.json_output)


def run(files: Sequence[str], options: ExplainOptions) -> int:
    """Answer one question; which one follows from the options."""
    import acie

    engine = acie.load(options.model)
    if options.identify or options.falsify:
        from acie.cli.graph_questions import falsify_catalogue, identify

        if files:
            raise wrong_usage("FILE", "no spectrum: this is about the graph", ", ".join(files))
        return (
            identify(engine, options) if options.identify else falsify_catalogue(engine, options)
        )
    if not files:
        raise wrong_usage("FILE", "a file, --identify 'cause>outcome' or --falsify CSV", "none")
    if options.target:
        return _target(engine, files, options)
    if options.do:
        return _effect(engine, files, options)
    if len(files) != 2:
        raise wrong_usage(
            "FILE", "two files to compare, or --do for one", f"{len(files)} files and no --do"
        )
    return _difference(engine, files[0], files[1], options)


def _outcome(engine: Any, name: str) -> Any:
    from acie.questions import galaxy_outcome

    if not name:
        raise wrong_usage("--on", "what the question is about", "nothing", "For example dn4000.")
    return galaxy_outcome(engine.scm, engine.physics, name)


def _shares(explanation: Any) -> dict[str, Any]:
    return {
        "total": explanation.total.to_json(),
        "shares": {name: share.to_json() for name, share in explanation.shares.items()},
        "exact": explanation.exact,
        "sampling_error": explanation.error,
    }


def _share_rows(data: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    named = {**data["shares"], "sum": data["total"]}
    return [(n, number(e["value"]), interval(e["low"], e["high"])) for n, e in named.items()]


# -- an effect on one galaxy ------------------------------------------------------------------


def _effect(engine: Any, files: Sequence[str], options: ExplainOptions) -> int:
    from acie.questions import alternatives
    from acie.scm import describe

    outcome, do = _outcome(engine, options.on), list(options.do)
    actions = engine.act(do)
    wanted = options.sensitivity or bool(options.alternative)
    variants = alternatives(engine.scm, options.alternative) if wanted else []
    paths = [tuple(step.strip() for step in path.split(">")) for path in options.path]
    _check_question(engine, actions, outcome, paths, options)

    def answer(draws: Any, file: str, abduction: Any) -> list[dict[str, Any]]:
        found = _explained(engine, draws, do, outcome, paths, variants, options)
        asked = [describe(action, name) for name, action in actions.items()]
        known = facts(engine, file, abduction)
        return [{**known, "interventions": asked, "outcome": options.on, **found}]

    return ask_files(engine, files, options.files, answer, _show_effect)


def _check_question(
    engine: Any,
    actions: Mapping[str, Any],
    outcome: Any,
    paths: list[tuple[str, ...]],
    options: ExplainOptions,
) -> None:
    """Refuse what the graph cannot answer once, before any file is read."""
    from acie.scm.mediation import require_mediators, require_paths
    from acie.scm.outcomes import reached

    if outcome in actions or not reached(engine.scm, actions, outcome):
        raise wrong_usage(
            "--on", f"something that follows from {', '.join(actions)}", options.on,
            "The effect on it is the action itself, or exactly zero.",
        )  # fmt: skip
    require_paths(engine.scm, actions, outcome, paths)
    require_mediators(engine.scm, actions, outcome, options.through)


def _explained(
    engine: Any,
    draws: Any,
    do: list[str],
    outcome: Any,
    paths: list[tuple[str, ...]],
    variants: Sequence[Any],
    options: ExplainOptions,
) -> dict[str, Any]:
    from acie.questions import explain_effect, galaxy_sensitivity, mediated_effect, path_effects

    scm = engine.scm
    found: dict[str, Any] = {
        key: _shares(value) for key, value in explain_effect(scm, draws, do, outcome).items()
    }
    along = path_effects(scm, draws, do, outcome, paths or None)
    found["paths"] = {path: effect.to_json() for path, effect in along.items()}
    if options.through:
        parts = mediated_effect(scm, draws, do, outcome, options.through)
        found["through"] = list(options.through)
        found["mediation"] = {name: effect.to_json() for name, effect in parts.items()}
    if variants:
        found["sensitivity"] = sensitivity_json(
            galaxy_sensitivity(scm, draws, do, outcome, variants)
        )
    return found


def _show_effect(answer: dict[str, Any]) -> None:
    columns = ("name", answer["outcome"], "68 % interval")
    title = heading(answer, ", ".join(answer["interventions"]))
    table(f"{title}\nBy first step", columns, _share_rows(answer["first_steps"]))
    if "causes" in answer:
        table(f"\nBy direct cause of {answer['outcome']}", columns, _share_rows(answer["causes"]))
    rows = [(p, number(e["value"]), interval(e["low"], e["high"]))
            for p, e in answer["paths"].items()]  # fmt: skip
    table("\nAlong single paths (these interact and need not add up)", columns, rows)
    if "mediation" in answer:
        rows = [(n, number(e["value"]), interval(e["low"], e["high"]))
                for n, e in answer["mediation"].items()]  # fmt: skip
        table(f"\nDirect, and through {', '.join(answer['through'])}", columns, rows)
    if "sensitivity" in answer:
        sensitivity_table(answer["sensitivity"])
    typer.echo()


# -- two galaxies -----------------------------------------------------------------------------


def _difference(engine: Any, first: str, second: str, options: ExplainOptions) -> int:
    from acie.questions import explain_difference

    if options.sensitivity or options.alternative or options.path or options.through:
        raise wrong_usage(
            "--on", "two files and nothing else", "an option that needs --do",
            "Two files without --do are compared.",
        )  # fmt: skip
    outcome = _outcome(engine, options.on)
    try:
        pair = [read_draws(engine, file, options.files)[0] for file in (first, second)]
    except ACIEError as error:
        record = {"type": type(error).__name__, "message": str(error)}
        text = json.dumps({"input": f"{first}, {second}", "error": record})
        if options.json_output:
            typer.echo(text)
        else:
            typer.echo(f"{record['type']}: {record['message']}", err=True)
        return 1
    (one, a), (two, b) = pair
    found = explain_difference(engine.scm, one, two, outcome)
    answer = {
        "inputs": [facts(engine, first, a), facts(engine, second, b)],
        "outcome": options.on,
        "difference": _shares(found),
    }
    typer.echo(json.dumps(answer)) if options.json_output else _show_difference(answer)
    return 0


def _show_difference(answer: dict[str, Any]) -> None:
    first, second = answer["inputs"]
    title = (
        f"{heading(first, '(first)')}\n{heading(second, '(second)')}\n"
        f"Why {answer['outcome']} of the second differs: what is its own in every variable"
    )
    columns = ("name", answer["outcome"], "68 % interval")
    table(title, columns, _share_rows(answer["difference"]))
    typer.echo("A variable gets what its causes do not explain; the rest is credited to them.")


# -- a target ---------------------------------------------------------------------------------


def _target(engine: Any, files: Sequence[str], options: ExplainOptions) -> int:
    name, wished = _parse_target(options.target)
    if not options.by:
        raise wrong_usage("--by", "the variable to change", "none", "For example --by dust_av.")
    outcome = _outcome(engine, name)
    goal: Any = wished
    asked = list(files)
    if wished is None:
        if len(files) != 2:
            raise wrong_usage(
                "--target", "a value, or a second file to be like", options.target,
                "For example --target dn4000=1.4.",
            )  # fmt: skip
        from acie.scm.outcomes import evaluate_outcome

        like, _ = read_draws(engine, files[1], options.files)[0]
        goal, asked = float(evaluate_outcome(outcome, like.values).median()), [files[0]]
    names = [engine.scm.graph.require(engine.scm.aliases.get(n, n)) for n in options.by]

    def answer(draws: Any, file: str, abduction: Any) -> list[dict[str, Any]]:
        known = facts(engine, file, abduction)
        rows = {by: _sought(engine, draws, by, outcome, goal, options) for by in names}
        return [{**known, "outcome": name, "target": goal, "hold": list(options.hold), "by": rows}]

    return ask_files(engine, asked, options.files, answer, _show_target)


def _parse_target(text: str) -> tuple[str, float | None]:
    name, equals, value = text.partition("=")
    if not equals:
        return name.strip(), None
    try:
        return name.strip(), float(value)
    except ValueError:
        raise wrong_usage(
            "--target", "NAME=NUMBER, or NAME with a second file", text,
            "For example --target dn4000=1.4.",
        ) from None  # fmt: skip


def _sought(
    engine: Any, draws: Any, by: str, outcome: Any, goal: float, options: ExplainOptions
) -> dict[str, Any]:
    from acie.questions import seek_target
    from acie.questions.galaxies import COVERS
    from acie.scm.intervals import spread_estimate
    from acie.scm.outcomes import evaluate_outcome

    found = seek_target(engine.scm, draws, by, outcome, goal, options.hold)
    variable, hit = engine.scm.variables[by], found.reached

    def spread(values: Any, rows: Any = None) -> dict[str, Any]:
        """Of all draws, or of those for which ``rows`` is true."""
        if rows is None:
            return spread_estimate(values, 0.68, COVERS, effective=draws.effective).to_json()
        size = draws.take(rows.nonzero()[:, 0]).effective
        return spread_estimate(values[rows], 0.68, COVERS, effective=size).to_json()

    some = bool(hit.any())
    return {
        "unit": variable.unit,
        "change_unit": "dex" if variable.transform == "log10" else variable.unit,
        "factual": spread(draws.values[by]),
        "now": spread(evaluate_outcome(outcome, draws.values)),
        "share_reached": found.share,
        "value": spread(found.value, hit) if some else None,
        "change": spread(found.change, hit) if some else None,
        "share_ambiguous": float(found.ambiguous.double().mean()),
        "closest": None if found.share == 1.0 else spread(found.closest, ~hit),
    }


def _show_target(answer: dict[str, Any]) -> None:
    rows, said = [], []
    for by, found in answer["by"].items():
        unit = f" [{found['change_unit']}]" if found["change_unit"] else ""
        now, change, value = found["factual"], found["change"], found["value"]
        rows.append((
            f"{by}{unit}", number(now["value"]), number(value["value"]) if value else "-",
            number(change["value"]) if change else "-",
            interval(change["low"], change["high"]) if change else "not reached",
            percent(found["share_reached"]),
        ))  # fmt: skip
        if found["closest"] is not None:
            near = number(found["closest"]["value"])
            missed = percent(1.0 - found["share_reached"])
            said.append(f"{by}: {missed} of the draws get no nearer than {near} (median).")
        if found["share_ambiguous"] > 0:
            share = percent(found["share_ambiguous"])
            said.append(f"{by}: for {share} of the draws a larger change would do as well.")
    first = next(iter(answer["by"].values()))["now"]
    title = (
        f"{heading(answer, '')}\nThe smallest change that takes {answer['outcome']} from "
        f"{number(first['value'])} to {number(answer['target'])}"
    )
    table(title, ("name", "now", "then", "change", "68 % interval", "reached"), rows)
    for line in said:
        typer.echo(line)
    typer.echo()
