r"""Along which paths an effect travels: natural direct, natural indirect, path-specific.

An individual's mechanisms and noise are known here, so nested counterfactuals such as
:math:`Y_{x', M_x}` are computed, not identified from data.

References:
    Pearl 2001, Direct and indirect effects, UAI 17, 411 (natural effects, deactivated edges).
    Avin, Shpitser & Pearl 2005, IJCAI 19, 357 (path-specific effects).
"""

__all__ = [
    "NaturalEffects",
    "directed_paths",
    "natural_effects",
    "path_effect",
    "predict_through",
    "require_mediators",
    "require_paths",
]

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from acie.errors import CausalError
from acie.scm.interventions import Do
from acie.scm.language import parse_interventions
from acie.scm.model import StructuralCausalModel
from acie.scm.outcomes import Outcome, ReadOut, causes_of, evaluate_outcome, reached

State = Mapping[str, Tensor]
Edge = tuple[str, str]


@dataclass(frozen=True, eq=False)
class NaturalEffects:
    r"""Effects of x to x' on the outcome, individual by individual, each ``(individual,)``.

    Arguments:
        total: :math:`Y_{x'} - Y_x`.
        direct: :math:`Y_{x', M_x} - Y_x`: the mediators stay as they were.
        indirect: :math:`Y_{x, M_{x'}} - Y_x`: only the mediators move.
        reverse_indirect: The indirect effect of going back from x' to x. Total is direct minus
            this one; total is direct plus indirect only where the two paths do not interact.
    """

    total: Tensor
    direct: Tensor
    indirect: Tensor
    reverse_indirect: Tensor

    @property
    def interaction(self) -> Tensor:
        """Total minus direct minus indirect."""
        return self.total - self.direct - self.indirect


def natural_effects(
    model: StructuralCausalModel,
    do: Any,
    outcome: Outcome,
    mediators: Iterable[str],
    values: State,
    noise: State,
    control: Any = None,
) -> NaturalEffects:
    """Natural direct and indirect effects, the mediators taken together.

    Arguments:
        model: The causal model.
        do: Action that leads to x'.
        outcome: A variable, or a read-out.
        mediators: Variables between the acted one and the outcome.
        values: Factual individuals, each ``(individual,)``.
        noise: Their noise.
        control: Action that leads to x; the factual world when left out.

    Raises:
        CausalError: A mediator that is acted on, or does not lie in between.
    """
    actions = parse_interventions(do, model.variables, model.aliases)
    reference = parse_interventions(control or {}, model.variables, model.aliases)
    names = require_mediators(model, {*actions, *reference}, outcome, mediators)

    def world(acts: Mapping[str, Any], fixed: State | None = None) -> dict[str, Tensor]:
        held = {name: Do(fixed[name]) for name in names} if fixed is not None else {}
        return model.predict(noise, values, {**acts, **held}, strict=False)

    before, after = world(reference), world(actions)
    mixed = [before, after, world(actions, before), world(reference, after)]
    y, y_do, y_direct, y_indirect = (evaluate_outcome(outcome, state) for state in mixed)
    return NaturalEffects(y_do - y, y_direct - y, y_indirect - y, y_direct - y_do)


def require_mediators(
    model: StructuralCausalModel, actions: Iterable[str], outcome: Outcome, names: Iterable[str]
) -> list[str]:
    """The mediators by their true names.

    Raises:
        CausalError: A mediator that is acted on, or does not lie in between.
    """
    acted = set(actions)
    mediators = [model.graph.require(model.aliases.get(name, name)) for name in names]
    for name in mediators:
        between = name in model.graph.descendants(acted) and reached(model, [name], outcome)
        if name in acted or not between or name == outcome:
            raise CausalError(
                name, expected="a mediator between the acted variable and the outcome",
                found="one that is not in between",
                remedy=f"Mediators of this effect: {', '.join(_between(model, acted, outcome))}",
            )  # fmt: skip
    return mediators


def _between(model: StructuralCausalModel, acted: Iterable[str], outcome: Outcome) -> list[str]:
    below = model.graph.descendants(acted) - set(acted)
    return [n for n in model.graph.order if n in below and reached(model, [n], outcome)
            and n != outcome]  # fmt: skip


def directed_paths(
    model: StructuralCausalModel, source: str, outcome: Outcome
) -> list[tuple[str, ...]]:
    """Every directed path from a variable to the outcome, shortest first.

    A path to a read-out ends with the name of the read-out.
    """
    last = outcome if isinstance(outcome, str) else outcome.name
    causes = set(causes_of(model, outcome))
    found: list[tuple[str, ...]] = []
    open_paths = [(model.graph.require(source),)]
    while open_paths:
        path = open_paths.pop(0)
        if path[-1] in causes:
            found.append((*path, last))
        ahead = [n for n in model.graph.children(path[-1]) if n != outcome]
        open_paths.extend((*path, n) for n in ahead if reached(model, [n], outcome))
    return sorted(found, key=len)


def predict_through(
    model: StructuralCausalModel,
    noise: State,
    reference: State,
    moved: State,
    gates: Mapping[Edge, Tensor | bool],
    outcome: Outcome,
) -> tuple[dict[str, Tensor], Tensor]:
    """The state and the outcome when a change passes some edges and is stopped at others.

    A variable sees the new value of a cause through an open edge and the reference value through
    a closed one.

    Arguments:
        model: The causal model.
        noise: Noise of every random variable.
        reference: Values that closed edges pass on.
        moved: New values of the acted variables.
        gates: Open (true) or closed edges; tensors broadcast to the shape of the values. Edges
            that are left out are open.
        outcome: A variable, or a read-out, whose edges count too.
    """
    state: dict[str, Tensor] = {}

    def seen(child: str, parent: str) -> Tensor:
        gate = gates.get((parent, child), True)
        if gate is True or state[parent] is reference[parent]:
            return state[parent]
        if gate is False:
            return reference[parent]
        return torch.where(gate, state[parent], reference[parent])

    for name, mechanism in model.mechanisms.items():
        causes = {p: seen(name, p) for p in model.graph.parents(name)}
        if name in moved:
            state[name] = moved[name]
        elif all(value is reference[p] for p, value in causes.items()):
            state[name] = reference[name]
        else:
            state[name] = mechanism.assign(noise.get(name), causes)
    if isinstance(outcome, ReadOut):
        view = {p: seen(outcome.name, p) for p in outcome.causes}
        return state, outcome.function({**state, **view})
    return state, state[outcome]


def require_paths(
    model: StructuralCausalModel,
    actions: Iterable[str],
    outcome: Outcome,
    paths: Iterable[Sequence[str]],
) -> set[tuple[str, ...]]:
    """Every path from the acted variables to the outcome, when the asked ones are among them.

    Raises:
        CausalError: A path that the graph does not have, or paths whose edges also spell a path
            that was not asked for: such a set has no effect of its own.
    """
    acted = set(actions)
    asked = {tuple(path) for path in paths}
    existing = {path for name in acted for path in directed_paths(model, name, outcome)}
    existing = {path for path in existing if set(path[1:]).isdisjoint(acted)}
    for path in asked - existing:
        raise CausalError(
            ">".join(path), expected="a directed path from the acted variable to the outcome",
            found="no such path in the graph",
            remedy="Paths: " + "; ".join(">".join(p) for p in sorted(existing, key=len)[:5]),
        )  # fmt: skip
    edges = {edge for path in asked for edge in zip(path, path[1:], strict=False)}
    for path in existing - asked:
        if all(edge in edges for edge in zip(path, path[1:], strict=False)):
            raise CausalError(
                "paths", expected="paths whose edges spell no other path",
                found=f"edges that also spell {'>'.join(path)}",
                remedy="Add that path, or ask about fewer.",
            )  # fmt: skip
    return existing


def path_effect(
    model: StructuralCausalModel,
    do: Any,
    outcome: Outcome,
    paths: Sequence[Sequence[str]],
    values: State,
    noise: State,
) -> Tensor:
    """The effect along some directed paths, all others closed, ``(individual,)``.

    Arguments:
        model: The causal model.
        do: The action.
        outcome: A variable, or a read-out.
        paths: Paths from an acted variable to the outcome (to its name for a read-out).
        values: Factual individuals, each ``(individual,)``.
        noise: Their noise.

    Raises:
        CausalError: See :func:`require_paths`.
    """
    actions = parse_interventions(do, model.variables, model.aliases)
    existing = require_paths(model, actions, outcome, paths)
    edges = {edge for path in paths for edge in zip(path, path[1:], strict=False)}
    every = {edge for path in existing for edge in zip(path, path[1:], strict=False)}
    state = model.complete(values)
    world = model.predict(noise, state, actions, strict=False)
    moved = {name: world[name] for name in actions}
    gates = {edge: edge in edges for edge in every}
    _, after = predict_through(model, noise, state, moved, gates, outcome)
    return after - evaluate_outcome(outcome, state)
