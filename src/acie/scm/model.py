"""Structural causal models: sample, abduct, act, predict."""

__all__ = ["StructuralCausalModel"]

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from acie.errors import (
    CausalError,
    ConfigurationError,
    ConflictingInterventions,
    NotInvertible,
)
from acie.scm.checks import (
    UNBOUNDED,
    Bound,
    Family,
    allowed,
    missing,
    refuse_impossible,
    refuse_nan,
    refuse_value,
)
from acie.scm.graph import CausalGraph
from acie.scm.interventions import Intervention, Replace
from acie.scm.language import describe, parse_interventions
from acie.scm.mechanisms import (
    AbstractDrawnMechanism,
    AbstractInvertibleMechanism,
    AbstractMechanism,
)
from acie.scm.simple_mechanisms import (
    DeterministicMechanism,
    ExogenousMechanism,
    ThresholdMechanism,
)
from acie.scm.unconstrained import from_real, to_real
from acie.scm.worlds import Worlds
from acie.variables import Variable

State = Mapping[str, Tensor]


class StructuralCausalModel(nn.Module):
    """Variables, who causes them, and how.

    Values and noises are dictionaries of tensors whose shapes broadcast to ``(*shape)``, for
    example ``(sample, batch)``. The type of the tensors is kept; double precision is recommended.

    Arguments:
        variables: Declarations; their parents make the graph.
        mechanisms: One mechanism per variable, by name.
        aliases: Other names that users may give to variables.
        laws: Variables whose mechanism's bounds hold under actions too, because they are not
            habits of the mechanism but laws: no age exceeds that of the universe.

    Laws: an empty action returns the very same tensors; doing and undoing returns the factual
    values; variables that are not descendants of an action are the very same tensors.
    """

    def __init__(
        self,
        variables: Sequence[Variable],
        mechanisms: Mapping[str, AbstractMechanism],
        aliases: Mapping[str, str] | None = None,
        laws: Sequence[str] = (),
    ) -> None:
        super().__init__()
        declared = {variable.name: variable for variable in variables}
        if len(declared) != len(variables) or set(declared) != set(mechanisms):
            raise ConfigurationError(
                "mechanisms",
                expected=f"one for each of the variables {', '.join(declared)}",
                found=", ".join(mechanisms),
            )
        self.graph = CausalGraph({name: v.parents for name, v in declared.items()})
        self.variables = {name: declared[name] for name in self.graph.order}
        self.aliases = dict(aliases or {})
        #: Variables whose bounds hold under actions too.
        self.laws = frozenset(self.graph.require(name) for name in laws)
        # Prefixed, because a module dictionary refuses names such as "type" or "values".
        self._mechanisms = nn.ModuleDict({f"v_{n}": mechanisms[n] for n in self.graph.order})
        self._by_name = {n: mechanisms[n] for n in self.graph.order}

    @property
    def mechanisms(self) -> Mapping[str, AbstractMechanism]:
        """Mechanisms by name, in topological order."""
        return MappingProxyType(self._by_name)

    def __repr__(self) -> str:
        width = max(map(len, self.graph.order), default=0)
        lines = []
        for name, mechanism in self.mechanisms.items():
            variable = self.variables[name]
            unit = f" [{variable.unit}]" if variable.unit else ""
            causes = ", ".join(variable.parents)
            detail = mechanism.extra_repr()
            lines.append(
                f"  {name:<{width}} = {type(mechanism).__name__}({causes})"
                f"{unit}{' ' + detail if detail else ''}"
            )
        return f"{type(self).__name__}(\n" + "\n".join(lines) + "\n)"

    def sample(
        self,
        shape: Sequence[int] = (),
        given: State | None = None,
        generator: torch.Generator | None = None,
        noise: State | None = None,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Draw from the joint law.

        Arguments:
            shape: Shape of every draw.
            given: Values that are fixed, broadcastable to ``shape``. The noise of a given value
                is the one that reproduces it.
            generator: Source of randomness.
            noise: Noises that are fixed, by name; the others are drawn.
            dtype: Type of the draws.
            device: Device of the draws.

        Returns:
            Values of every variable and noises of every random one, each of shape ``shape``.
        """
        given, fixed = dict(given or {}), dict(noise or {})
        for name in (*given, *fixed):
            self.graph.require(name)
        values: dict[str, Tensor] = {}
        drawn: dict[str, Tensor] = {}
        for name, mechanism in self.mechanisms.items():
            parents = self._parents(name, values)
            if name in given:
                value = torch.as_tensor(given[name], dtype=dtype, device=device)
                values[name] = value.expand(tuple(shape))
                if mechanism.noise_law is not None:
                    drawn[name] = self._abduct_one(name, mechanism, values, generator)
                continue
            if isinstance(mechanism, ExogenousMechanism):
                raise missing(name)
            u = fixed.get(name)
            if u is None:
                u = mechanism.sample_noise(shape, generator, dtype, device)
            values[name] = refuse_nan(name, mechanism.assign(u, parents))
            if mechanism.noise_law is not None:
                drawn[name] = u
        return values, drawn

    def complete(self, values: State) -> dict[str, Tensor]:
        """The values with missing derived variables filled in, in topological order.

        Raises:
            CausalError: A variable with noise is missing.
        """
        for name in values:
            self.graph.require(name)
        state: dict[str, Tensor] = {}
        for name, mechanism in self.mechanisms.items():
            if name in values:
                state[name] = values[name]
            elif isinstance(mechanism, DeterministicMechanism):
                state[name] = mechanism.assign(None, self._parents(name, state))
            else:
                raise missing(name)
        return state

    def log_prob(self, values: State, names: Iterable[str] | None = None) -> Tensor:
        """Sum of the log-densities of the random variables given their parents.

        Arguments:
            values: Every variable; derived ones may be left out.
            names: Restricts the sum to these variables.

        Returns:
            Log-density per product of physical units, shape ``(*shape)``.
        """
        state = self.complete(values)
        chosen = None if names is None else {self.graph.require(name) for name in names}
        random = [
            name
            for name, mechanism in self.mechanisms.items()
            if mechanism.noise_law is not None and (chosen is None or name in chosen)
        ]
        terms = self._of_kinds("log_prob_all", random, state)
        for name in random:
            if name not in terms:
                mechanism = self.mechanisms[name]
                terms[name] = mechanism.log_prob(state[name], self._parents(name, state))
        total = torch.zeros_like(next(iter(state.values())))
        for term in terms.values():
            total = total + term
        return total

    def abduct(
        self,
        values: State,
        generator: torch.Generator | None = None,
        exact: State | None = None,
    ) -> dict[str, Tensor]:
        """The noise behind the values: exact, or drawn from what a discrete value leaves.

        Arguments:
            values: Every variable; derived ones may be left out.
            generator: Source of the drawn noise.
            exact: From :meth:`invert`, where it is known.

        Raises:
            NotInvertible: A mechanism that is neither invertible nor discrete.
            OutsideSupport: A value that its mechanism cannot produce.
        """
        state = self.complete(values)
        exact = self.invert(state) if exact is None else exact
        return {
            name: refuse_impossible(name, exact[name])
            if name in exact
            else self._abduct_one(name, mechanism, state, generator)
            for name, mechanism in self.mechanisms.items()
            if mechanism.noise_law is not None
        }

    def invert(self, values: State) -> dict[str, Tensor]:
        """The noise of all invertible mechanisms; NaN where none gives the value.

        Arguments:
            values: Every variable; derived ones may be left out.
        """
        state = self.complete(values)
        random = [n for n, mechanism in self.mechanisms.items() if mechanism.noise_law is not None]
        return self._of_kinds("invert_all", random, state)

    def predict(
        self,
        noise: State,
        factual: State,
        interventions: Mapping[str, Intervention],
        hold: Iterable[str] = (),
        *,
        strict: bool = True,
    ) -> dict[str, Tensor]:
        """The state after the actions, with the same noise.

        Only descendants of the actions are recomputed; every other variable is the very same
        tensor.

        Arguments:
            noise: From ``abduct``.
            factual: Every variable; derived ones may be left out.
            interventions: Actions by name.
            hold: Variables that keep their factual value although a cause of theirs moves.
            strict: Refuse everything as soon as one sample has no allowed value; otherwise that
                sample is NaN, with all that follows from it.

        Raises:
            ConflictingInterventions: A held variable is acted on.
            OutsideSupport: An action leads outside the support of its variable, breaks a law,
                or leaves a descendant without any allowed value.
        """
        state = self.complete(factual)
        held = self._held(hold, interventions)
        for name in interventions:
            self.graph.require(name)
        moved: set[str] = set()
        result: dict[str, Tensor] = {}
        for name, mechanism in self.mechanisms.items():
            action = interventions.get(name)
            if action is not None and not isinstance(action, Replace):
                value = action.apply(state[name], state)
                bounds = self._bounds(name, self._parents(name, result))
                value = self._checked(name, value, action, bounds, strict)
            elif name not in held and (
                action is not None or not moved.isdisjoint(self.graph.parents(name))
            ):
                used = mechanism if action is None else action.mechanism
                if used.noise_law is not None and name not in noise:
                    raise missing(name, "noise")
                value = used.assign(noise.get(name), self._parents(name, result))
                if strict:
                    refuse_nan(name, value)
                if action is not None:
                    value = self._checked(name, value, action, UNBOUNDED, strict)
            else:
                result[name] = state[name]
                continue
            result[name] = value
            moved.add(name)
        return result

    def counterfactual(
        self,
        values: State,
        do: Any,
        hold: Iterable[str] = (),
        generator: torch.Generator | None = None,
    ) -> Worlds:
        """Abduction, action and prediction for one or several action sets.

        Arguments:
            values: Factual values; derived variables may be left out.
            do: One action set (text, a list of texts, or a mapping), or a list of mappings, one
                per world; see ``parse_interventions``.
            hold: Variables that keep their factual value, in every world.
            generator: Draws the noise of binary variables within their intervals.

        Returns:
            Worlds that share their noise, the factual one first.
        """
        many = isinstance(do, list | tuple) and not all(isinstance(item, str) for item in do)
        actions = [
            parse_interventions(one, self.variables, self.aliases)
            for one in (do if many else [do])
        ]
        state = self.complete(values)
        noise = self.abduct(state, generator)
        held = tuple(hold)
        return Worlds(
            [state, *(self.predict(noise, state, action, held) for action in actions)], actions
        )

    def enumerate_binary(self, values: State, name: str) -> Tensor:
        """Joint log-density with a binary variable at 0 and at 1, all else equal.

        Derived variables are recomputed for each setting.

        Returns:
            Shape ``(2, *shape)``; ``logsumexp`` over the first axis marginalises the variable.
        """
        self.graph.require(name)
        if not isinstance(self.mechanisms[name], ThresholdMechanism):
            raise CausalError(name, expected="a binary variable", found="another kind")
        # Only what follows from the variable without noise in between changes with it.
        stale = {name}
        for key, mechanism in self.mechanisms.items():
            follows = not stale.isdisjoint(self.graph.parents(key))
            if follows and isinstance(mechanism, DeterministicMechanism):
                stale.add(key)
        state = {key: value for key, value in values.items() if key not in stale}
        like = next(iter(state.values()))
        settings = torch.tensor([0.0, 1.0], dtype=like.dtype, device=like.device)
        state = self.complete({**state, name: settings.reshape(2, *[1] * like.ndim)})
        touched = {
            key
            for key in self.mechanisms
            if key in stale or not stale.isdisjoint(self.graph.parents(key))
        }
        common = self.log_prob(state, set(self.mechanisms) - touched)
        return common + self.log_prob(state, touched)

    def to_unconstrained(self, values: State, names: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Physical values to real numbers, bounds that depend on parents included.

        Arguments:
            values: Every variable; derived ones may be left out.
            names: Continuous random variables, in the order of the last axis.

        Returns:
            Real numbers ``(*shape, variable)`` and the log of the absolute determinant of
            d real / d physical, ``(*shape)``.
        """
        self._check_continuous(names)
        state = self.complete(values)
        reals, logs = {}, []
        for name in names:
            bounds = self.mechanisms[name].support(self._parents(name, state))
            reals[name], log = to_real(state[name], self.variables[name], bounds)
            logs.append(log)
        stacked = torch.stack(torch.broadcast_tensors(*reals.values()), dim=-1)
        return stacked, torch.stack(torch.broadcast_tensors(*logs)).sum(0)

    def from_unconstrained(
        self, x: Tensor, names: Sequence[str], given: State | None = None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Real numbers to physical values, in topological order.

        Arguments:
            x: Real numbers, shape ``(*shape, variable)``.
            names: Continuous random variables, in the order of the last axis.
            given: Values of the other variables; those that no bound needs may be left out.

        Returns:
            Values of the named, given and derived variables, and the log of the absolute
            determinant of d real / d physical, ``(*shape)``.
        """
        self._check_continuous(names)
        columns = dict(zip(names, x.unbind(-1), strict=True))
        state: dict[str, Tensor] = {}
        total = torch.zeros(x.shape[:-1], dtype=x.dtype, device=x.device)
        for name, mechanism in self.mechanisms.items():
            if name in columns:
                bounds = mechanism.support(self._parents(name, state))
                state[name], log = from_real(columns[name], self.variables[name], bounds)
                total = total + log
            elif given is not None and name in given:
                state[name] = given[name]
            elif isinstance(mechanism, DeterministicMechanism) and all(
                cause in state for cause in self.graph.parents(name)
            ):
                state[name] = mechanism.assign(None, self._parents(name, state))
        return state, total

    def _bounds(self, name: str, parents: Family) -> tuple[Bound, Bound]:
        return self.mechanisms[name].support(parents) if name in self.laws else UNBOUNDED

    def _checked(
        self,
        name: str,
        value: Tensor,
        action: Intervention,
        bounds: tuple[Bound, Bound],
        strict: bool,
    ) -> Tensor:
        variable = self.variables[name]
        if strict:
            refuse_value(variable, value, _asked(action, name), bounds)
            return value
        return torch.where(allowed(variable, value, bounds), value, torch.nan)

    def _parents(self, name: str, state: State) -> dict[str, Tensor]:
        # Only declared parents are shown, so a mechanism cannot listen to anything else.
        return Family(name, {p: state[p] for p in self.graph.parents(name) if p in state})

    def _abduct_one(
        self,
        name: str,
        mechanism: AbstractMechanism,
        state: State,
        generator: torch.Generator | None,
    ) -> Tensor:
        parents = self._parents(name, state)
        if isinstance(mechanism, AbstractDrawnMechanism):
            return mechanism.abduct(state[name], parents, generator)
        if not isinstance(mechanism, AbstractInvertibleMechanism):
            raise NotInvertible(
                name,
                expected="an invertible mechanism or a discrete one",
                found=type(mechanism).__name__,
            )
        return refuse_impossible(name, mechanism.invert(state[name], parents))

    def _of_kinds(self, method: str, names: Iterable[str], state: State) -> dict[str, Tensor]:
        """What ``method`` gives for those that are invertible, all of one kind in one call."""
        kinds: dict[type, list[str]] = {}
        for name in names:
            kind = type(self.mechanisms[name])
            if issubclass(kind, AbstractInvertibleMechanism):
                kinds.setdefault(kind, []).append(name)
        found: dict[str, Tensor] = {}
        for kind, own in kinds.items():
            values = [state[name] for name in own]
            parents = [self._parents(name, state) for name in own]
            mechanisms = [self.mechanisms[name] for name in own]
            found.update(zip(own, getattr(kind, method)(mechanisms, values, parents), strict=True))
        return found

    def _held(
        self, hold: Iterable[str], interventions: Mapping[str, Intervention]
    ) -> frozenset[str]:
        names = (hold,) if isinstance(hold, str) else tuple(hold)
        held = frozenset(self.graph.require(self.aliases.get(name, name)) for name in names)
        for name in sorted(held & set(interventions)):
            raise ConflictingInterventions(
                name,
                expected="a held variable that is not acted on",
                found=describe(interventions[name], name),
                remedy="Drop the action or the hold.",
            )
        return held

    def _check_continuous(self, names: Sequence[str]) -> None:
        for name in names:
            self.graph.require(name)
            if not isinstance(self.mechanisms[name], AbstractInvertibleMechanism):
                raise CausalError(
                    name,
                    expected="a continuous random variable",
                    found=type(self.mechanisms[name]).__name__,
                )


def _asked(action: Intervention, name: str) -> str:
    return f"Asked for by {describe(action, name)}."
