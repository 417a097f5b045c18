"""The smallest change of one variable that brings an outcome to a wished value."""

__all__ = ["TargetSearch", "seek"]

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from acie.errors import CausalError, OutsideSupport
from acie.scm.interventions import Do
from acie.scm.model import StructuralCausalModel
from acie.scm.outcomes import Outcome, evaluate_outcome, reached
from acie.scm.simple_mechanisms import ThresholdMechanism

State = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class TargetSearch:
    """What was found, draw by draw, each ``(draw,)``.

    Arguments:
        reached: Whether any value of the variable brings the outcome to the target.
        value: The value that does, physical; NaN where none does.
        change: Its distance from the factual value on the natural scale of the variable (dex for
            a variable on a log10 scale); NaN where none does.
        closest: The value of the outcome nearest to the target that was met.
        ambiguous: Whether another value does too, further away or on the other side.
    """

    reached: Tensor
    value: Tensor
    change: Tensor
    closest: Tensor
    ambiguous: Tensor

    @property
    def share(self) -> float:
        """Share of the draws for which the target can be reached."""
        return float(self.reached.double().mean())


def seek(
    model: StructuralCausalModel,
    name: str,
    outcome: Outcome,
    target: float | Tensor,
    values: State,
    noise: State,
    *,
    hold: Iterable[str] = (),
    grid: int = 24,
    iterations: int = 30,
) -> TargetSearch:
    """The smallest change of a variable, on its natural scale, that reaches the target.

    The outcome is computed on a grid of values on both sides of the factual one, denser near
    it; the first crossing on each side is refined by bisection, and the nearer one is taken. A
    pair of crossings between two neighbours of the grid is missed, and then counted as not
    reached.

    Arguments:
        model: The causal model.
        name: The variable that is changed; everything that follows from it is recomputed.
        outcome: A variable, or a read-out.
        target: Wished value, a number or one for each draw.
        values: Factual individuals, each ``(draw,)``.
        noise: Their noise.
        hold: Descendants that stay as they are.
        grid: Points on each side.
        iterations: Bisections; each halves the interval.

    Raises:
        CausalError: A variable that cannot be acted on, is binary, or has no effect.
    """
    name = model.graph.require(model.aliases.get(name, name))
    _check(model, name, outcome)
    variable = model.variables[name]
    state, held = model.complete(values), tuple(hold)
    start = variable.forward(state[name])
    goal = torch.as_tensor(target, dtype=start.dtype).expand_as(start)

    def miss(natural: Tensor) -> Tensor:
        asked = {name: Do(variable.inverse(natural))}
        world = model.predict(noise, state, asked, held, strict=False)
        return evaluate_outcome(outcome, world).to(goal.dtype) - goal

    low, high = _range(model, name, state)
    now = evaluate_outcome(outcome, state).to(goal.dtype) - goal
    steps = torch.linspace(0.0, 1.0, grid + 1, dtype=start.dtype)[1:, None] ** 2
    sides = [_first_crossing(miss, start, now, start + steps * (end - start), iterations)
             for end in (low, high)]  # fmt: skip
    roots = torch.stack([side[0] for side in sides])
    distance = (roots - start).abs().nan_to_num(nan=torch.inf)
    change = torch.where(now == 0.0, 0.0, roots.gather(0, distance.argmin(0)[None])[0] - start)
    found = change.isfinite()
    met = torch.cat([now[None], *(side[1] for side in sides)]).nan_to_num(nan=torch.inf)
    best = met.gather(0, met.abs().argmin(0)[None])[0]
    crossings = sum(side[2] for side in sides)
    return TargetSearch(
        reached=found,
        value=torch.where(found, variable.inverse(start + change), torch.nan),
        change=torch.where(found, change, torch.nan),
        closest=goal + torch.where(found, 0.0, best),
        ambiguous=crossings > 1,
    )


def _first_crossing(
    miss: Callable[[Tensor], Tensor], start: Tensor, now: Tensor, points: Tensor, iterations: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Nearest root outward (NaN without one), the misses on the grid, number of crossings."""
    misses = miss(points)
    nodes = torch.cat([start[None], points])
    heights = torch.cat([now[None], misses])
    crosses = heights[1:].sign() * heights[:-1].sign() <= 0.0
    crosses &= heights[1:].isfinite() & heights[:-1].isfinite()
    first = crosses.double().argmax(0)[None]
    near, far = nodes.gather(0, first)[0], nodes.gather(0, first + 1)[0]
    sign = heights.gather(0, first)[0].sign()
    for _ in range(iterations):
        middle = 0.5 * (near + far)
        same = miss(middle).sign() == sign
        near, far = torch.where(same, middle, near), torch.where(same, far, middle)
    root = torch.where(crosses.any(0), 0.5 * (near + far), torch.nan)
    return root, misses, crosses.sum(0)


def _range(model: StructuralCausalModel, name: str, state: State) -> tuple[Tensor, Tensor]:
    """Ends of the search on the natural scale, each ``(draw,)``."""
    variable = model.variables[name]
    # Just inside, so that rounding on the way to the natural scale and back is no offence.
    inside = torch.tensor(variable.support, dtype=state[name].dtype)
    ends = variable.forward(inside)
    if not bool(ends.isfinite().all()):
        spread = 10.0 * variable.forward(state[name]).std().clamp(min=1.0)
        middle = variable.forward(state[name]).median()
        ends = torch.stack([middle - spread, middle + spread]).where(~ends.isfinite(), ends)
    slack = 1e-9 * (ends[1] - ends[0])
    shape = state[name].shape
    return (ends[0] + slack).expand(shape), (ends[1] - slack).expand(shape)


def _check(model: StructuralCausalModel, name: str, outcome: Outcome) -> None:
    variable = model.variables[name]
    if not variable.intervenable or isinstance(model.mechanisms[name], ThresholdMechanism):
        raise CausalError(
            name, expected="a continuous variable that may be acted on",
            found="a given, derived or binary one", remedy="Choose another variable.",
        )  # fmt: skip
    if not reached(model, [name], outcome):
        label = outcome if isinstance(outcome, str) else outcome.name
        raise OutsideSupport(
            label, expected=f"an outcome that follows from {name}",
            found="one that does not, so that no change of it can reach the target",
            remedy="Choose another variable.",
        )  # fmt: skip
