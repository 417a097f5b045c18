"""Learning every mechanism of a graph from a catalogue."""

__all__ = ["FitConfig", "fit"]

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from acie.errors import ConfigurationError, MalformedCatalogue
from acie.io import Catalogue
from acie.scm import (
    AbstractMechanism,
    CategoricalMechanism,
    CausalGraph,
    LearnedAdditiveMechanism,
    LearnedProbabilities,
    MixedLocation,
    OrdinalMechanism,
    StructuralCausalModel,
)
from acie.seeds import SeedStream
from acie.tabular.additive_fit import fit_additive
from acie.tabular.bundle import TabularBundle
from acie.tabular.columns import declare, encode
from acie.tabular.network_fit import Rows, fit_probabilities, fit_spline, select
from acie.tabular.screening import noise_depends
from acie.tabular.spec import GraphSpec
from acie.variables import Variable

_PARTS = ("train", "validation", "test")
#: These settle in fewer steps than a location does.
_SPLINE_STEPS, _TABLE_STEPS = 1200, 1000
#: One training row in so many decides when a spline or a table stops. The validation rows must
#: not: a candidate whose state they chose would look better on them than it is.
_STOP = 10


@dataclass(frozen=True)
class FitConfig:
    """Settings of a fit.

    Arguments:
        seed: Seed of everything random.
        validation: Share of the rows that choose among candidates.
        test: Share of the rows that only measure.
        min_rows: A mechanism is refused when fewer rows are complete.
        max_rows: At most as many rows train one mechanism.
        steps: Largest number of gradient steps of a network; fewer are taken where few suffice.
    """

    seed: int = 0
    validation: float = 0.1
    test: float = 0.1
    min_rows: int = 100
    max_rows: int = 100_000
    steps: int = 2000

    def __post_init__(self) -> None:
        if not (self.validation > 0 and self.test > 0 and self.validation + self.test < 1):
            raise ConfigurationError(
                "validation, test", expected="positive shares that sum to less than 1",
                found=f"{self.validation}, {self.test}",
            )  # fmt: skip


def fit(
    spec: GraphSpec,
    catalogue: Catalogue,
    config: FitConfig | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> TabularBundle:
    """Learn the mechanisms of all variables and measure them on rows that were not used.

    Every mechanism learns from the rows in which its variable and all its causes are present; the
    numbers are in ``bundle.report``. The split into training, validation and test rows is one for
    all mechanisms.

    Arguments:
        spec: The causal graph.
        catalogue: The table.
        config: Settings.
        progress: Called with the name of a variable, its number and the number of variables,
            before each is learned.

    Raises:
        UnknownVariable, MalformedCatalogue, UnitMismatch: A column cannot be used.
        MalformedCatalogue: Too few rows are complete.
    """
    config = config or FitConfig()
    variables = declare(spec, catalogue)
    values = encode(spec, variables, catalogue)
    seeds = SeedStream(config.seed)
    parts = _split(len(catalogue), config, seeds.generator("split"))
    tables = {name: _usable(name, variables, values, parts, config) for name in variables}
    mechanisms: dict[str, AbstractMechanism] = {}
    report: dict[str, Any] = {}
    order = CausalGraph({name: v.parents for name, v in variables.items()}).order
    for number, name in enumerate(order):
        if progress is not None:
            progress(name, number, len(order))
        start = time.perf_counter()
        rows, counts = tables[name]
        chosen, candidates = _learn_one(
            spec.variables[name].mechanism, variables[name],
            tuple(variables[p] for p in variables[name].parents), rows, seeds.generator(name),
            config.steps,
        )  # fmt: skip
        mechanisms[name] = candidates[chosen]
        report[name] = {
            "kind": variables[name].kind, "mechanism": chosen, **counts,
            **_measure(candidates, chosen, rows["test"]),
            "seconds": time.perf_counter() - start,
        }  # fmt: skip
    scm = StructuralCausalModel(list(variables.values()), mechanisms, spec.aliases)
    return TabularBundle(
        spec, scm, report, _ranges(variables, values),
        {"rows": len(catalogue), "source": catalogue.source, "seed": config.seed},
    )  # fmt: skip


def _split(count: int, config: FitConfig, generator: torch.Generator) -> dict[str, Tensor]:
    order = torch.randperm(count, generator=generator)
    test, validation = round(config.test * count), round(config.validation * count)
    sizes = (count - test - validation, validation, test)
    return dict(zip(_PARTS, order.split(sizes), strict=True))


def _usable(
    name: str,
    variables: Mapping[str, Variable],
    values: Mapping[str, Tensor],
    parts: Mapping[str, Tensor],
    config: FitConfig,
) -> tuple[dict[str, Rows], dict[str, int]]:
    """The complete rows of one mechanism by part, with their numbers."""
    parents = variables[name].parents
    complete = torch.stack([values[n].isfinite() for n in (name, *parents)]).all(0)
    everything = Rows(values[name], {p: values[p] for p in parents})
    rows = {part: everything.take(index[complete[index]]) for part, index in parts.items()}
    used = int(complete.sum())
    if used < config.min_rows or min(map(len, rows.values())) < 2:
        raise MalformedCatalogue(
            name,
            expected=f"at least {config.min_rows} rows with {', '.join((name, *parents))}",
            found=f"{used} of {len(complete)}",
            remedy="Give more rows, or drop causes that are mostly missing.",
        )
    _check_varies(name, rows["train"])
    available = len(rows["train"])
    rows["train"] = rows["train"].take(torch.arange(min(available, config.max_rows)))
    counts = {f"rows_{part}": len(found) for part, found in rows.items()}
    return rows, counts | {"rows_incomplete": len(complete) - used}


def _check_varies(name: str, rows: Rows) -> None:
    for column, values in ((name, rows.value), *rows.causes.items()):
        if bool((values == values[0]).all()):
            raise MalformedCatalogue(
                name,
                expected=f"values of {column!r} that vary where {name!r} and its causes are known",
                found=f"{float(values[0]):g} in all of them",
                remedy="Drop the arrow, or fill the gaps.",
            )


def _learn_one(
    wanted: str,
    variable: Variable,
    parents: tuple[Variable, ...],
    rows: Mapping[str, Rows],
    generator: torch.Generator,
    steps: int,
) -> tuple[str, dict[str, AbstractMechanism]]:
    """Name of the chosen candidate, and all candidates."""
    fitted, checked = rows["train"], rows["validation"]
    order = torch.arange(len(fitted))
    inner = fitted.take(order[order % _STOP > 0]), fitted.take(order[order % _STOP == 0])
    if variable.kind != "continuous":
        return _learn_discrete(wanted, variable, parents, inner, checked, generator, steps)
    if wanted == "spline":
        return "spline", {"spline": _spline(variable, parents, inner, generator, steps)}
    additive = fit_additive(variable, parents, fitted, checked, generator, steps)
    candidates: dict[str, AbstractMechanism] = {"additive": additive}
    # Additive noise that is independent of the causes leaves a spline nothing to gain.
    if wanted == "auto" and parents and _depends(additive, fitted):
        candidates["spline"] = _spline(variable, parents, inner, generator, steps)
    scores = [_score(mechanism, checked) for mechanism in candidates.values()]
    return list(candidates)[select(scores)], candidates


def _spline(
    variable: Variable,
    parents: tuple[Variable, ...],
    inner: tuple[Rows, Rows],
    generator: torch.Generator,
    steps: int,
) -> AbstractMechanism:
    return fit_spline(variable, parents, *inner, generator, min(steps, _SPLINE_STEPS))


@torch.no_grad()
def _depends(additive: LearnedAdditiveMechanism, rows: Rows) -> bool:
    location = additive.location
    features = (
        location.kernel.features if isinstance(location, MixedLocation) else location.features
    )
    return noise_depends(
        additive.invert(rows.value, rows.causes), features(rows.causes, rows.value)
    )


def _learn_discrete(
    wanted: str,
    variable: Variable,
    parents: tuple[Variable, ...],
    inner: tuple[Rows, Rows],
    checked: Rows,
    generator: torch.Generator,
    steps: int,
) -> tuple[str, dict[str, AbstractMechanism]]:
    kinds = {"logistic": (), "network": (64, 64)}
    if wanted != "auto":
        kinds = {wanted: kinds[wanted]}
    elif not parents:
        kinds.pop("network")
    candidates = {
        kind: _discrete(
            variable,
            fit_probabilities(
                variable, parents, *inner, generator, hidden, min(steps, _TABLE_STEPS)
            ),
        )
        for kind, hidden in kinds.items()
    }
    scores = [_score(mechanism, checked) for mechanism in candidates.values()]
    return list(candidates)[select(scores)], candidates


def _discrete(variable: Variable, table: LearnedProbabilities) -> AbstractMechanism:
    if variable.kind == "categorical":
        return CategoricalMechanism(len(variable.categories), table)
    return OrdinalMechanism(variable.values, table)


@torch.no_grad()
def _score(mechanism: AbstractMechanism, rows: Rows) -> Tensor:
    return mechanism.log_prob(rows.value, rows.causes)


def _measure(
    candidates: Mapping[str, AbstractMechanism], chosen: str, test: Rows
) -> dict[str, Any]:
    """Mean log likelihood of the test rows, in nat per row and per unit of the variable."""
    scores = {name: _score(mechanism, test) for name, mechanism in candidates.items()}
    return {
        "held_out": float(scores[chosen].mean()),
        "held_out_error": float(scores[chosen].std() / len(test) ** 0.5),
        "candidates": {name: float(score.mean()) for name, score in scores.items()},
    }


def _ranges(
    variables: Mapping[str, Variable], values: Mapping[str, Tensor]
) -> dict[str, tuple[float, float]]:
    """Smallest and largest value seen of every continuous variable."""
    found = {}
    for name, variable in variables.items():
        if variable.kind == "continuous":
            present = values[name][values[name].isfinite()]
            found[name] = (float(present.min()), float(present.max()))
    return found
