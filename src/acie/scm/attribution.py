r"""Sharing a difference among its causes: Shapley values over noises, edges and causes.

References:
    Shapley 1953, in Contributions to the Theory of Games II, 307 (the value and its axioms).
    Janzing et al. 2024, AISTATS, PMLR 238, 2188 (arXiv:2007.00714): contributions of a node are
    those of its own noise, not of what it inherits.
    Budhathoki et al. 2022, ICML, PMLR 162, 2357: the same for one event against a reference.
    Castro, Gomez & Tejada 2009, Computers & Operations Research 36, 1726 (permutation sampling).
"""

__all__ = ["Attribution", "attribute_causes", "attribute_difference", "attribute_edges", "shapley"]

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from acie.errors import CausalError, ConfigurationError
from acie.scm.language import parse_interventions
from acie.scm.mediation import predict_through
from acie.scm.model import StructuralCausalModel
from acie.scm.outcomes import Outcome, causes_of, evaluate_outcome, reached
from acie.scm.simple_mechanisms import DeterministicMechanism

State = Mapping[str, Tensor]
#: ``(coalition, player)`` of booleans to ``(coalition, *shape)``.
Game = Callable[[Tensor], Tensor]
#: Up to this many players every coalition is computed: 2^12 = 4096.
EXACT_PLAYERS = 12
_ROWS = 64


@dataclass(frozen=True, eq=False)
class Attribution:
    """Shares that add up to the whole.

    Arguments:
        players: Who gets a share.
        shares: ``(player, *shape)``, for example one column for each draw.
        total: The whole, ``(*shape)``; the shares add up to it (efficiency).
        error: Standard error of the shares from sampling coalitions; zero when all were computed.
        exact: Whether all coalitions were computed.
    """

    players: tuple[str, ...]
    shares: Tensor
    total: Tensor
    error: Tensor
    exact: bool


def shapley(
    game: Game,
    players: Sequence[str],
    *,
    permutations: int = 64,
    generator: torch.Generator | None = None,
) -> Attribution:
    r"""Shapley values of a game, exact for few players and sampled for many.

    .. math:: \phi_i = \sum_{S \not\ni i} \frac{|S|! (P - |S| - 1)!}{P!} [v(S + i) - v(S)]

    Sampled values come from pairs of a permutation and its reverse; each permutation is
    efficient on its own, so that the shares add up to the whole exactly.

    Arguments:
        game: Value of coalitions, ``(coalition, player)`` to ``(coalition, *shape)``.
        players: Names.
        permutations: Number of permutations for more than 12 players; rounded up to even.
        generator: Source of the permutations.
    """
    count = len(players)
    if count == 0:
        raise ConfigurationError("players", expected="at least one", found="none")
    if count <= EXACT_PLAYERS:
        codes = torch.arange(2**count)
        coalitions = (codes[:, None] >> torch.arange(count)) % 2 == 1
        values = _in_rows(game, coalitions)
        weights = _weights(coalitions).to(values.dtype)
        shares = torch.tensordot(weights, values, dims=1)
        return Attribution(
            tuple(players), shares, values[-1] - values[0], torch.zeros_like(shares), True
        )
    pairs = max(2, (permutations + 1) // 2)
    noise = torch.rand(pairs, count, generator=generator)
    forward = noise.argsort(1)
    orders = torch.cat([forward, forward.flip(1)])
    steps = torch.arange(count + 1)[:, None]
    # Player i has joined before step k of its permutation when its position is below k.
    joined = orders.argsort(1)[:, None, :] < steps
    values = _in_rows(game, joined.flatten(0, 1)).unflatten(0, (2 * pairs, count + 1))
    gains = values[:, 1:] - values[:, :-1]
    index = orders.argsort(1).reshape(2 * pairs, count, *[1] * (gains.ndim - 2))
    own = gains.gather(1, index.expand_as(gains))
    paired = 0.5 * (own[:pairs] + own[pairs:])
    error = paired.std(0) / math.sqrt(pairs)
    total = values[0, -1] - values[0, 0]
    return Attribution(tuple(players), paired.mean(0), total, error, False)


def _weights(coalitions: Tensor) -> Tensor:
    count = coalitions.shape[1]
    size = coalitions.sum(1).tolist()
    whole = math.factorial(count)

    def weight(others: int) -> float:
        return math.factorial(others) * math.factorial(count - others - 1) / whole

    joining = [weight(s - 1) if s else 0.0 for s in size]
    staying = [weight(s) if s < count else 0.0 for s in size]
    inside = torch.tensor(joining, dtype=torch.float64)
    outside = torch.tensor(staying, dtype=torch.float64)
    return torch.where(coalitions.T, inside, -outside)


def _in_rows(game: Game, coalitions: Tensor) -> Tensor:
    # A few at a time: what a coalition computes may be large. Equal ones are computed once.
    distinct, index = coalitions.unique(dim=0, return_inverse=True)
    return torch.cat([game(rows) for rows in distinct.split(_ROWS)])[index]


def attribute_difference(
    model: StructuralCausalModel,
    first: tuple[State, State],
    second: tuple[State, State],
    outcome: Outcome,
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
    permutations: int = 64,
    generator: torch.Generator | None = None,
) -> Attribution:
    """Why the outcome of the second individual differs from that of the first.

    A player is the own noise of a variable, or the value of a given root. In a coalition these
    come from the second individual, all others from the first, and every variable is recomputed.
    What a variable inherits from its causes is credited to them.

    Arguments:
        model: The causal model.
        first: Values and noise of the first individual, each ``(draw,)``.
        second: The same of the second; draws are compared one by one.
        outcome: A variable, or a read-out.
        groups: Players made of several variables; the others play alone.
        permutations: See :func:`shapley`.
        generator: See :func:`shapley`.
    """
    names = [
        name
        for name, mechanism in model.mechanisms.items()
        if not isinstance(mechanism, DeterministicMechanism) and reached(model, [name], outcome)
    ]
    players = _players(names, groups or {})
    (values_a, noise_a), (values_b, noise_b) = first, second

    def game(coalitions: Tensor) -> Tensor:
        fixed: dict[str, Tensor] = {}
        given: dict[str, Tensor] = {}
        own = {name: i for i, members in enumerate(players.values()) for name in members}
        for name, mechanism in model.mechanisms.items():
            a, b, into = (
                (values_a, values_b, given)
                if mechanism.noise_law is None
                else (noise_a, noise_b, fixed)
            )
            if isinstance(mechanism, DeterministicMechanism):
                continue
            if name in own:
                chosen = coalitions[:, own[name], None]
                into[name] = torch.where(chosen, b[name], a[name])
            else:
                into[name] = a[name].expand(len(coalitions), *a[name].shape)
        like = next(iter(values_a.values()))
        shape = (len(coalitions), *like.shape)
        state, _ = model.sample(shape, given=given, noise=fixed, dtype=like.dtype)
        return evaluate_outcome(outcome, state)

    return shapley(game, list(players), permutations=permutations, generator=generator)


def attribute_edges(
    model: StructuralCausalModel, do: Any, outcome: Outcome, values: State, noise: State
) -> Attribution:
    """Which first steps carry the effect of an action: shares of the edges out of it.

    A coalition of edges passes the change on, the other edges out of the acted variables are
    closed, and all edges further down are open. Players are called ``cause>child``.
    """
    actions = parse_interventions(do, model.variables, model.aliases)
    last = outcome if isinstance(outcome, str) else outcome.name
    edges = [
        (name, child)
        for name in actions
        for child in model.graph.children(name)
        if child not in actions and (child == outcome or reached(model, [child], outcome))
    ]
    if not isinstance(outcome, str):
        edges += [(name, last) for name in actions if name in outcome.causes]
    if not edges:
        raise CausalError(
            last, expected="an outcome that follows from the action", found="one that does not",
            remedy="The effect is exactly zero.",
        )  # fmt: skip
    state, moved = _acted(model, actions, values, noise)

    def game(coalitions: Tensor) -> Tensor:
        shape = (len(coalitions), *next(iter(state.values())).shape)
        gates = {edge: coalitions[:, i, None] for i, edge in enumerate(edges)}
        return predict_through(model, noise, state, moved, gates, outcome)[1].expand(shape)

    return shapley(game, [f"{cause}>{child}" for cause, child in edges])


def attribute_causes(
    model: StructuralCausalModel, do: Any, outcome: Outcome, values: State, noise: State
) -> Attribution:
    """Through which of its direct causes the outcome feels an action: shares of the causes.

    In a coalition these causes take their value in the acted world, the others the factual one.
    For a variable its own mechanism is evaluated.
    """
    actions = parse_interventions(do, model.variables, model.aliases)
    state, _ = _acted(model, actions, values, noise)
    after = model.predict(noise, state, actions, strict=False)
    players = [n for n in causes_of(model, outcome) if after[n] is not state[n]]
    if not players or outcome in actions:
        raise CausalError(
            str(getattr(outcome, "name", outcome)),
            expected="an outcome with a cause that the action moves", found="none",
        )  # fmt: skip

    def game(coalitions: Tensor) -> Tensor:
        mixed = dict(state)
        for i, name in enumerate(players):
            mixed[name] = torch.where(coalitions[:, i, None], after[name], state[name])
        if not isinstance(outcome, str):
            return outcome.function(mixed)
        causes = {name: mixed[name] for name in model.graph.parents(outcome)}
        return model.mechanisms[outcome].assign(noise.get(outcome), causes)

    return shapley(game, players)


def _acted(
    model: StructuralCausalModel, actions: Mapping[str, Any], values: State, noise: State
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    state = model.complete(values)
    world = model.predict(noise, state, actions)
    return state, {name: world[name] for name in actions}


def _players(
    names: Sequence[str], groups: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    taken = [name for members in groups.values() for name in members]
    if len(set(taken)) != len(taken):
        raise ConfigurationError(
            "groups", expected="every variable in at most one group", found=", ".join(taken)
        )
    players = {
        label: tuple(name for name in members if name in names)
        for label, members in groups.items()
    }
    players = {label: members for label, members in players.items() if members}
    return {**players, **{name: (name,) for name in names if name not in taken}}
