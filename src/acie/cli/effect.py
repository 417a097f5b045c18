"""``acie effect``: what is seen, what an action does on average, for whom, and for one galaxy."""

__all__ = ["EffectOptions", "run"]

import json
from collections.abc import Sequence
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
    sensitivity_json,
    sensitivity_table,
    wrong_usage,
)
from acie.cli.output import table
from acie.seeds import SeedStream


@dataclass(frozen=True)
class EffectOptions:
    """The options of the command; see its help."""

    do: tuple[str, ...]
    on: tuple[str, ...]
    by: str | None = None
    control: str = ""
    hold: tuple[str, ...] = ()
    redshift: float | None = None
    samples: int | None = None
    level: float = 0.95
    sensitivity: bool = False
    alternative: tuple[str, ...] = ()
    model: str = "galaxy-v1"
    json_output: bool = False
    seed: int = 0


def run(files: Sequence[str], options: EffectOptions) -> int:
    """Answer for the population without files, and for every galaxy with them."""
    import acie
    from acie.questions import alternatives, galaxy_outcome

    engine = acie.load(options.model)
    actions = engine.act(list(options.do))
    engine.check_hold(actions, options.hold)
    if options.by is not None:
        engine.scm.graph.require(engine.scm.aliases.get(options.by, options.by))
    if not 0.0 < options.level < 1.0:
        raise wrong_usage("--level", "a probability between 0 and 1", f"{options.level:g}")
    outcomes = {name: galaxy_outcome(engine.scm, engine.physics, name) for name in options.on}
    wanted = options.sensitivity or bool(options.alternative)
    variants = alternatives(engine.scm, options.alternative) if wanted else []
    if not files:
        for name, outcome in outcomes.items():
            answer = _population(engine, name, outcome, variants, options)
            typer.echo(json.dumps(answer)) if options.json_output else _show_population(answer)
        return 0

    if options.by or options.control:
        raise wrong_usage(
            "FILE", "no file together with --by or --control, which are about the population",
            ", ".join(files), "Ask about the galaxy without them.",
        )  # fmt: skip

    def answer_one(draws: Any, file: str, abduction: Any) -> list[dict[str, Any]]:
        known = facts(engine, file, abduction)
        return [
            {**known, **_individual(engine, draws, name, outcome, variants, options)}
            for name, outcome in outcomes.items()
        ]

    question = FileQuestion(
        options.redshift, options.samples or 256, options.seed, options.json_output
    )
    return ask_files(engine, files, question, answer_one, _show_individual)


def _question(engine: Any, outcome: Any, options: EffectOptions) -> dict[str, Any]:
    from acie.scm import describe
    from acie.scm.outcomes import unit_of

    actions = engine.act(list(options.do))
    return {
        "interventions": [describe(action, name) for name, action in actions.items()],
        "hold": list(options.hold),
        "outcome": outcome if isinstance(outcome, str) else outcome.name,
        "unit": unit_of(engine.scm, outcome),
    }


def _population(
    engine: Any, name: str, outcome: Any, variants: Sequence[Any], options: EffectOptions
) -> dict[str, Any]:
    import torch

    from acie.questions import population_sensitivity
    from acie.questions.population import population_effect

    redshift = 0.1 if options.redshift is None else options.redshift
    samples = options.samples or 4000
    found = population_effect(
        engine.scm, list(options.do), outcome, redshift=redshift, by=options.by,
        hold=options.hold, control=options.control, num_samples=samples, level=options.level,
        generator=SeedStream(options.seed).generator("population"),
    )  # fmt: skip
    answer = {
        "population": {"redshift": redshift, "galaxies": samples, "model": options.model},
        **_question(engine, outcome, options),
        "association": None if found.seen is None else found.seen.to_json(),
        "average_effect": found.average.to_json(),
        "individual_effects": found.spread.to_json(),
        "share_positive": found.positive,
        "share_possible": found.possible,
        "by": options.by,
        "conditional_effects": [
            {"from": group.low, "to": group.high, "effect": group.effect.to_json()}
            for group in found.groups
        ],
    }
    if variants:
        given = {"redshift": torch.tensor(redshift, dtype=torch.float64)}
        answer["sensitivity"] = sensitivity_json(
            population_sensitivity(
                engine.scm, list(options.do), outcome, variants, given=given,
                num_samples=samples, hold=options.hold, control=options.control,
                level=options.level,
                generator=SeedStream(options.seed).generator("population"),
            )
        )  # fmt: skip
    return answer


def _show_population(answer: dict[str, Any]) -> None:
    asked = ", ".join(answer["interventions"]) or "no intervention"
    unit = f" [{answer['unit']}]" if answer["unit"] else ""
    rows = [_row("done (average effect)", answer["average_effect"], "Monte Carlo")]
    if answer["association"] is not None:
        rows.insert(0, _row("seen (association)", answer["association"], "sampling"))
    else:
        rows.insert(0, ("seen (association)", "-", "-", "nothing like it is seen"))
    rows.append(_row("one by one (median)", answer["individual_effects"], "of galaxies"))
    for group in answer["conditional_effects"]:
        word = "=" if group["from"] == group["to"] else "to"
        label = f"{answer['by']} {word} {number(group['to'])}"
        rows.append(_row(label, group["effect"], "Monte Carlo"))
    population = answer["population"]
    title = (
        f"Effect of {asked} on {answer['outcome']}{unit}\n"
        f"{population['galaxies']} model galaxies at z = {population['redshift']:g}; "
        f"the effect is positive for {percent(answer['share_positive'])}, "
        f"possible for {percent(answer['share_possible'])}"
    )
    table(title, ("name", "effect", "interval", "which covers"), rows)
    if "sensitivity" in answer:
        sensitivity_table(answer["sensitivity"])
    typer.echo()


def _row(label: str, effect: dict[str, Any], covers: str) -> tuple[str, str, str, str]:
    between = interval(effect["low"], effect["high"])
    return label, number(effect["value"]), between, f"{effect['level']:.0%} {covers}"


def _individual(
    engine: Any,
    draws: Any,
    name: str,
    outcome: Any,
    variants: Sequence[Any],
    options: EffectOptions,
) -> dict[str, Any]:
    from acie.questions import galaxy_effect, galaxy_sensitivity
    from acie.questions.galaxies import COVERS
    from acie.scm.intervals import spread_estimate

    do = list(options.do)
    found = galaxy_effect(engine.scm, draws, do, outcome, options.hold)

    def spread(values: Any) -> dict[str, Any]:
        return spread_estimate(values, 0.68, COVERS, effective=found.effective).to_json()

    answer = {
        **_question(engine, outcome, options),
        "individual_effect": spread(found.difference),
        "factual": spread(found.before),
        "counterfactual": spread(found.after),
        "share_positive": float((found.difference > 0).double().mean()),
        "share_possible": found.possible,
    }
    if variants:
        answer["sensitivity"] = sensitivity_json(
            galaxy_sensitivity(engine.scm, draws, do, outcome, variants, options.hold)
        )
    return answer


def _show_individual(answer: dict[str, Any]) -> None:
    asked = ", ".join(answer["interventions"]) or "no intervention"
    unit = f" [{answer['unit']}]" if answer["unit"] else ""
    rows = [
        (label, number(answer[key]["value"]), interval(answer[key]["low"], answer[key]["high"]))
        for label, key in (
            ("as it is", "factual"),
            ("after the action", "counterfactual"),
            ("effect", "individual_effect"),
        )
    ]
    title = heading(answer, asked)
    if answer["share_possible"] < 1.0:
        title += f"\nthe action is possible for {percent(answer['share_possible'])} of the draws"
    table(title, ("name", f"{answer['outcome']}{unit}", "68 % interval"), rows)
    if "sensitivity" in answer:
        sensitivity_table(answer["sensitivity"])
    typer.echo()
