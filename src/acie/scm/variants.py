r"""Other assumptions about the same variables: mechanisms, edges, hidden common causes.

A variant knows how its prior differs from that of the model it came from, so that draws from a
posterior under the one can be weighted into draws under the other.
"""

__all__ = ["Variant", "common_cause", "correlated_noise", "other_mechanisms"]

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from acie.errors import ConfigurationError
from acie.scm.mechanisms import AbstractInvertibleMechanism, AbstractMechanism, Bound, Parents
from acie.scm.model import StructuralCausalModel
from acie.scm.noise import NormalNoise
from acie.scm.simple_mechanisms import DeterministicMechanism, ExogenousMechanism
from acie.variables import Variable

State = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Variant:
    """A model under other assumptions.

    Arguments:
        name: What to call it.
        description: The assumption in plain words.
        model: The causal model under it.
        changed: Variables whose law given their parents differs.
        correlated: Pairs of variables whose normal noises have a correlation.
        anchors: Added roots that stand for a hidden common cause, with the variable whose factual
            value they take.
    """

    name: str
    description: str
    model: StructuralCausalModel
    changed: tuple[str, ...] = ()
    correlated: tuple[tuple[str, str, float], ...] = ()
    anchors: Mapping[str, str] = field(default_factory=dict)

    def complete(self, values: State) -> dict[str, Tensor]:
        """Values of the variables of this model: derived ones that changed are recomputed."""
        kept = {
            name: value
            for name, value in values.items()
            if not isinstance(self.model.mechanisms.get(name), DeterministicMechanism)
        }
        kept.update({anchor: kept[cause] for anchor, cause in self.anchors.items()})
        return self.model.complete(kept)

    def log_ratio(self, base: StructuralCausalModel, values: State) -> Tensor:
        """Log of the prior density under this variant over that under ``base``, ``(draw,)``.

        Minus infinity where the variant cannot produce the values.
        """
        state = self.complete(values)
        total = torch.zeros_like(next(iter(values.values())))
        if self.changed:
            total = self.model.log_prob(state, self.changed) - base.log_prob(values, self.changed)
        total = torch.where(total.isnan(), -math.inf, total)
        if self.correlated:
            noise = base.abduct(values)
            for first, second, rho in self.correlated:
                total = total + _log_copula(noise[first], noise[second], rho)
        return total

    def sample(
        self, noise: State, given: State | None = None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The individuals of the population under this variant, and their noise.

        The same independent noises give comparable populations under all variants.

        Arguments:
            noise: Independent noise of every random variable, each ``(individual,)``, for example
                from sampling the model that the variant came from.
            given: Values of roots.
        """
        fixed = dict(noise)
        for first, second, rho in self.correlated:
            fixed[second] = rho * fixed[first] + math.sqrt(1.0 - rho**2) * fixed[second]
        shape = next(iter(noise.values())).shape
        given = dict(given or {})
        # An anchor is what its variable turns out to be: draw with any value, then with that one.
        trial = {a: torch.tensor(self._middle(cause)) for a, cause in self.anchors.items()}
        values, drawn = self.model.sample(shape, given={**given, **trial}, noise=fixed)
        if self.anchors:
            anchored = {anchor: values[cause] for anchor, cause in self.anchors.items()}
            values, drawn = self.model.sample(shape, given={**given, **anchored}, noise=fixed)
        return values, drawn

    def _middle(self, name: str) -> float:
        variable = self.model.variables[name]
        ends = torch.tensor(variable.support, dtype=torch.float64)
        middle = variable.forward(ends).mean()
        return float(variable.inverse(middle)) if bool(middle.isfinite()) else 1.0


def other_mechanisms(
    model: StructuralCausalModel,
    name: str,
    description: str,
    mechanisms: Mapping[str, AbstractMechanism],
    parents: Mapping[str, tuple[str, ...]] | None = None,
) -> Variant:
    """The model with some mechanisms replaced; edges are added or removed with ``parents``.

    Arguments:
        model: The model to start from.
        name: What to call the variant.
        description: The assumption in plain words.
        mechanisms: New mechanisms by variable.
        parents: New direct causes of these variables, where they differ.
    """
    for changed in (*mechanisms, *(parents or {})):
        model.graph.require(changed)
    variables = [
        replace(variable, parents=(parents or {}).get(key, variable.parents))
        for key, variable in model.variables.items()
    ]
    return Variant(name, description, _rebuilt(model, variables, mechanisms), tuple(mechanisms))


def correlated_noise(
    model: StructuralCausalModel, first: str, second: str, correlation: float
) -> Variant:
    """A hidden common cause that makes the noises of two variables correlated.

    The mechanisms stay as they are, so the law of the second given its parents is another one:
    individuals that are high in the first for their causes tend to be high in the second.

    Raises:
        ConfigurationError: A correlation outside (-1, 1), or noise that is not normal.
    """
    for name in (first, second):
        if not isinstance(model.mechanisms[model.graph.require(name)].noise_law, NormalNoise):
            raise ConfigurationError(
                name, expected="a variable with normal noise", found="another kind"
            )
    if not -1.0 < correlation < 1.0 or first == second:
        raise ConfigurationError(
            "correlation", expected="two variables and a number between -1 and 1",
            found=f"{first}, {second}, {correlation:g}",
        )  # fmt: skip
    label = f"{first}~{second}:{correlation:g}"
    text = f"a hidden common cause: noises of {first} and {second} correlated {correlation:+g}"
    return Variant(label, text, model, correlated=((first, second, correlation),))


def common_cause(model: StructuralCausalModel, cause: str, effect: str, share: float) -> Variant:
    r"""Part of the relation between a cause and its effect belongs to a hidden common cause.

    All that is seen stays as it is: the factual law, and so the posterior, is the same. Of what
    the relation says about a change of the cause, an action on it brings about only the share
    that is left:

    .. math:: T(p) \to (1 - s)\,T(p') + s\,T(p) ,

    with p the factual and p' the new value of the cause on its natural scale T. In a linear
    Gaussian model this is the counterfactual of a hidden common cause that carries the share s of
    the regression slope (tested).

    Arguments:
        model: The model to start from.
        cause: The cause.
        effect: One of its direct effects.
        share: s, between 0 (no hidden cause) and 1 (the arrow is only apparent).
    """
    if cause not in model.graph.parents(effect) or not 0.0 <= share <= 1.0:
        raise ConfigurationError(
            "common_cause", expected="a direct cause, its effect, and a share between 0 and 1",
            found=f"{cause}, {effect}, {share:g}",
            remedy=f"Direct causes of {effect}: {', '.join(model.graph.parents(effect))}.",
        )  # fmt: skip
    base = model.mechanisms[effect]
    if not isinstance(base, AbstractInvertibleMechanism):
        raise ConfigurationError(
            effect, expected="a continuous effect with noise", found=type(base).__name__
        )
    anchor = f"hidden_{cause}_{effect}"
    source = model.variables[cause]
    hidden = replace(
        source, name=anchor, symbol="", description="Hidden common cause", parents=(),
        intervenable=False, source="assumed",
    )  # fmt: skip
    variables = [hidden] + [
        replace(v, parents=(*v.parents, anchor)) if key == effect else v
        for key, v in model.variables.items()
    ]
    blended = _Blended(base, source, anchor, share)
    rebuilt = _rebuilt(model, variables, {effect: blended, anchor: ExogenousMechanism()})
    text = f"{share:.0%} of the relation {cause} > {effect} is a hidden common cause"
    return Variant(f"{cause}>{effect}:{share:g}", text, rebuilt, anchors={anchor: cause})


class _Blended(AbstractInvertibleMechanism):
    """A mechanism that sees its cause moved by a part of what it moved."""

    def __init__(
        self, base: AbstractInvertibleMechanism, cause: Variable, anchor: str, share: float
    ) -> None:
        super().__init__()
        self._base, self._cause, self._anchor, self._share = base, cause, anchor, share
        self.noise_law = base.noise_law

    def _seen(self, parents: Parents) -> dict[str, Tensor]:
        now, then = parents[self._cause.name], parents[self._anchor]
        mixed = (1.0 - self._share) * self._cause.forward(now)
        mixed = self._cause.inverse(mixed + self._share * self._cause.forward(then))
        # Where nothing moved, the very same number and not one rounded on the way.
        rest = {key: value for key, value in parents.items() if key != self._anchor}
        return {**rest, self._cause.name: torch.where(now == then, now, mixed)}

    def assign(self, noise: Tensor, parents: Parents) -> Tensor:
        return self._base.assign(noise, self._seen(parents))

    def invert(self, value: Tensor, parents: Parents) -> Tensor:
        return self._base.invert(value, self._seen(parents))

    def log_prob(self, value: Tensor, parents: Parents) -> Tensor:
        return self._base.log_prob(value, self._seen(parents))

    def support(self, parents: Parents) -> tuple[Bound, Bound]:
        return self._base.support(self._seen(parents))


def _rebuilt(
    model: StructuralCausalModel,
    variables: list[Variable],
    mechanisms: Mapping[str, AbstractMechanism],
) -> StructuralCausalModel:
    together = {**model.mechanisms, **mechanisms}
    return StructuralCausalModel(variables, together, model.aliases, tuple(model.laws))


def _log_copula(first: Tensor, second: Tensor, rho: float) -> Tensor:
    """Log density of the Gaussian copula at two standard normal noises."""
    rest = 1.0 - rho**2
    square = rho**2 * (first.square() + second.square()) - 2.0 * rho * first * second
    return -0.5 * math.log(rest) - 0.5 * square / rest
