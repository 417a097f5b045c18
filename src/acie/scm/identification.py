"""Can an effect be learned from observing alone, and by which formula?

References:
    Pearl 2009, Causality, 2nd edition, sections 3.3.1 (back door) and 3.3.2 (front door).
    Shpitser & Pearl 2006, AAAI 21, 1219 (the ID algorithm and its completeness).
    Tian & Pearl 2002, AAAI 18, 567.
    van der Zander, Liskiewicz & Textor 2014, UAI (adjustment sets).
"""

__all__ = [
    "IdentificationReport",
    "NotIdentified",
    "back_door_sets",
    "front_door_sets",
    "identify",
    "instruments",
    "report_identification",
]

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

from acie.errors import CausalError, NotIdentifiable
from acie.scm.estimands import Estimand, Marginal, Probability, Product, Quotient
from acie.scm.mixed_graph import MixedGraph

Names = frozenset[str]
#: Sets larger than this are not looked for one by one.
_LARGEST = 3


class NotIdentified(NotIdentifiable):
    """No formula in the observed law gives the effect.

    Arguments:
        hedge: The larger set of confounded variables that stands in the way.
        core: The smaller one inside it.
    """

    def __init__(self, hedge: Names, core: Names) -> None:
        self.hedge, self.core = hedge, core
        super().__init__(
            ", ".join(sorted(hedge)),
            expected="an effect that the observed law determines",
            found=f"a hedge: {{{', '.join(sorted(hedge))}}} around {{{', '.join(sorted(core))}}}",
            remedy="Measure a hidden common cause, or assume more than the graph.",
        )

    def __reduce__(self) -> tuple:
        return type(self), (self.hedge, self.core)


@dataclass(frozen=True)
class IdentificationReport:
    """What can be learned of the effect of x on y by observing.

    Arguments:
        cause: x.
        outcome: y.
        identified: Whether some formula gives P(y | do(x)).
        estimand: The formula, as text; empty without one. That of the smallest back-door set
            where there is one, which is the shortest, and that of the ID algorithm otherwise.
        back_door: Minimal back-door sets, smallest first.
        front_door: Front-door sets, smallest first.
        instruments: Instruments, each with the set to condition on.
        sentences: The same in plain words.
    """

    cause: str
    outcome: str
    identified: bool
    estimand: str
    back_door: tuple[tuple[str, ...], ...]
    front_door: tuple[tuple[str, ...], ...]
    instruments: tuple[tuple[str, tuple[str, ...]], ...]
    sentences: tuple[str, ...]


def back_door_sets(
    graph: MixedGraph, x: str, y: str, *, largest: int = _LARGEST, minimal: bool = True
) -> list[tuple[str, ...]]:
    """Sets of observed variables that satisfy the back-door criterion.

    None of them descends from x, and together they block every path into x. The parents of x
    are tried even when they are more than ``largest``.

    Arguments:
        graph: Observed variables, with bidirected arrows for hidden causes.
        x: Cause.
        y: Outcome.
        largest: Largest size that is searched through.
        minimal: Leave out sets that contain another one of the list.
    """
    below = graph.directed.descendants(x)
    free = [n for n in graph.names if n not in below and n not in (x, y)]
    cut = graph.without_arrows_out_of([x])
    # A variable that causes neither can only open paths, or is not needed for closing them.
    useful = [n for n in free if n in graph.ancestors_or_self([x, y])] if minimal else free
    parents = tuple(n for n in graph.directed.parents(x) if n != y)
    candidates = [c for size in range(largest + 1) for c in combinations(useful, size)]
    found: list[tuple[str, ...]] = []
    for chosen in (*candidates, parents):
        smaller = any(set(other) <= set(chosen) for other in found)
        if chosen in found or (minimal and smaller):
            continue
        if set(chosen) <= set(free) and cut.separated(x, y, chosen):
            found.append(chosen)
    return found


def front_door_sets(
    graph: MixedGraph, x: str, y: str, *, largest: int = 2
) -> list[tuple[str, ...]]:
    """Minimal sets of observed variables that satisfy the front-door criterion.

    They intercept every directed path, have no open back door from x, and x blocks theirs to y.
    """
    between = graph.directed.descendants(x) & graph.directed.ancestors(y) - {x, y}
    from_x = graph.without_arrows_out_of([x])
    found: list[tuple[str, ...]] = []
    ordered = [n for n in graph.names if n in between]
    for chosen in (c for size in range(1, largest + 1) for c in combinations(ordered, size)):
        if any(set(other) <= set(chosen) for other in found):
            continue
        rest = graph.among(n for n in graph.names if n not in chosen)
        intercepts = y not in rest.directed.descendants(x)
        unblocked = all(from_x.separated(x, m) for m in chosen)
        from_m = graph.without_arrows_out_of(chosen)
        if intercepts and unblocked and all(from_m.separated(m, y, [x]) for m in chosen):
            found.append(chosen)
    return found


def instruments(
    graph: MixedGraph, x: str, y: str, *, largest: int = 1
) -> list[tuple[str, tuple[str, ...]]]:
    """Variables that act on y through x only, given a set that follows from neither.

    An instrument gives the effect under a further assumption, such as linearity.

    References:
        Pearl 2009, Causality, 2nd edition, definition 7.4.1 and section 7.4.5.
    """
    below = graph.directed.descendants(x) | graph.directed.descendants(y)
    cut = graph.without_arrows_out_of([x])
    free = [n for n in graph.names if n not in below and n not in (x, y)]
    found = []
    for z in free:
        others = [n for n in free if n != z and n not in graph.directed.descendants(z)]
        for chosen in (c for size in range(largest + 1) for c in combinations(others, size)):
            if cut.separated(z, y, chosen) and not graph.separated(z, x, chosen):
                found.append((z, chosen))
                break
    return found


def identify(graph: MixedGraph, y: Iterable[str], x: Iterable[str]) -> Estimand:
    """P(y | do(x)) in terms of the observed law.

    Arguments:
        graph: Observed variables, with bidirected arrows for hidden causes.
        y: Outcomes.
        x: Variables acted on.

    Raises:
        NotIdentified: No formula exists; the algorithm is complete.
    """
    names = frozenset(graph.names)
    outcomes = frozenset(graph.directed.require(name) for name in y)
    acted = frozenset(graph.directed.require(name) for name in x)
    if outcomes & acted or not outcomes:
        raise CausalError(
            "y", expected="outcomes that are not acted on", found=", ".join(sorted(outcomes))
        )
    return _id(outcomes, acted, _Law(names, None), graph)


@dataclass(frozen=True)
class _Law:
    """The law that the recursion stands on: observed, or an expression over ``names``."""

    names: Names
    expression: Estimand | None

    def marginal(self, kept: Names, order: tuple[str, ...]) -> "_Law":
        if self.expression is None:
            return _Law(kept, None)
        return _Law(kept, _sum_over(self.names - kept, self.expression, order))

    def as_estimand(self, kept: Names, order: tuple[str, ...]) -> Estimand:
        """The marginal of this law as an expression."""
        if self.expression is None:
            return Probability(_sorted(kept, order))
        return _sum_over(self.names - kept, self.expression, order)

    def conditional(self, name: str, given: Names, order: tuple[str, ...]) -> Estimand:
        if self.expression is None:
            return Probability((name,), _sorted(given, order))
        both = self.as_estimand(given | {name}, order)
        return Quotient(both, self.as_estimand(given, order)) if given else both


def _id(y: Names, x: Names, law: _Law, graph: MixedGraph) -> Estimand:
    """The seven lines of Shpitser & Pearl 2006, figure 3."""
    order, names = graph.names, frozenset(graph.names)
    if not x:  # line 1
        return law.as_estimand(y, order)
    above = graph.ancestors_or_self(y)
    if names - above:  # line 2
        return _id(y, x & above, law.marginal(above, order), graph.among(above))
    idle = (names - x) - graph.without_arrows_into(x).ancestors_or_self(y)
    if idle:  # line 3
        return _id(y, x | idle, law, graph)
    districts = graph.among(names - x).districts()
    if len(districts) > 1:  # line 4
        factors = tuple(_id(part, names - part, law, graph) for part in districts)
        return _sum_over(names - (y | x), Product(factors), order)
    district = districts[0]
    whole = graph.districts()
    if len(whole) == 1:  # line 5
        raise NotIdentified(names, district)
    around = next(part for part in whole if district <= part)
    pieces = []
    for name in _sorted(around, order):
        before = frozenset(order[: order.index(name)])
        pieces.append(law.conditional(name, before, order))
    product = pieces[0] if len(pieces) == 1 else Product(tuple(pieces))
    if around == district:  # line 6
        return _sum_over(district - y, product, order)
    # line 7
    return _id(y, x & around, _Law(around, product), graph.among(around))


def _sorted(names: Iterable[str], order: tuple[str, ...]) -> tuple[str, ...]:
    wanted = set(names)
    return tuple(name for name in order if name in wanted)


def _sum_over(names: Names, body: Estimand, order: tuple[str, ...]) -> Estimand:
    over = tuple(name for name in order if name in names)
    return Marginal(over, body) if over else body


def report_identification(graph: MixedGraph, x: str, y: str) -> IdentificationReport:
    """Everything this module can say about the effect of x on y."""
    graph.directed.require(x)
    graph.directed.require(y)
    if x == y:
        raise CausalError("y", expected="two different variables", found=f"{x} twice")
    back = tuple(back_door_sets(graph, x, y))
    front = tuple(front_door_sets(graph, x, y))
    helpers = tuple(instruments(graph, x, y))
    reason = ""
    try:
        estimand = str(_adjustment(x, y, back[0]) if back else identify(graph, [y], [x]))
    except NotIdentified as error:
        estimand = ""
        reason = f"{', '.join(sorted(error.hedge))} are tied together by hidden common causes"
    sentences = _sentences(graph, x, y, back, front, helpers, estimand, reason)
    return IdentificationReport(
        x, y, bool(estimand), estimand, back, front, helpers, tuple(sentences)
    )


def _adjustment(x: str, y: str, chosen: tuple[str, ...]) -> Estimand:
    """Pearl 2009, theorem 3.3.2."""
    inside = Probability((y,), (x, *chosen))
    return Marginal(chosen, Product((inside, Probability(chosen)))) if chosen else inside


def _sentences(
    graph: MixedGraph,
    x: str,
    y: str,
    back: tuple[tuple[str, ...], ...],
    front: tuple[tuple[str, ...], ...],
    helpers: tuple[tuple[str, tuple[str, ...]], ...],
    estimand: str,
    reason: str,
) -> list[str]:
    if y not in graph.directed.descendants(x):
        return [f"{x} does not act on {y}: the effect is zero, whatever is observed."]
    said = []
    if estimand:
        said.append(f"The effect of {x} on {y} can be learned from observing alone.")
    else:
        said.append(
            f"The effect of {x} on {y} cannot be learned from observing alone: {reason}. Two "
            "models with this graph agree on everything that is seen and differ in this effect."
        )
    if back == ((),):
        said.append("Back door: nothing needs to be adjusted for; what is seen is the effect.")
    elif back:
        sets = " or ".join(_braces(chosen) for chosen in back[:3])
        said.append(f"Back door: compare like with like in {sets}.")
    elif estimand:
        said.append("No back-door set of observed variables closes every path into the cause.")
    if front:
        said.append(f"Front door: {' or '.join(_braces(c) for c in front[:3])} carries all of it.")
    if helpers and not back:
        named = [
            z + (f" within groups of equal {_braces(g)}" if g else "") for z, g in helpers[:3]
        ]
        said.append(
            f"Instrument: {' or '.join(named)}; this needs a further assumption, e.g. linearity."
        )
    return said


def _braces(names: tuple[str, ...]) -> str:
    return "{" + ", ".join(names) + "}"
