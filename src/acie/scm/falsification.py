"""Can the data refute the graph?

A graph says that every variable is independent of what does not follow from it, given its
parents. Each of these statements is tested; that a graph survives does not make it true.

References:
    Pearl 2009, Causality, 2nd edition, theorem 1.2.7 (parental Markov condition).
    Eulig, Mastakouri, Bloebaum, Hardt & Janzing 2023, arXiv:2305.09565 (node permutations).
    Holm 1979, Scandinavian Journal of Statistics 6, 65.
    Richardson 2003, Scandinavian Journal of Statistics 30, 145 (hidden common causes).
"""

__all__ = ["Falsification", "MarkovTest", "falsify"]

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from acie.errors import DataError
from acie.scm.graph import CausalGraph
from acie.scm.independence import gcm_p_values, partial_correlation_p_values
from acie.scm.mixed_graph import MixedGraph
from acie.scm.smoothing import SmoothResiduals, smooth_residuals

Method = Literal["gcm", "partial_correlation"]
Data = Mapping[str, Tensor]


@dataclass(frozen=True)
class MarkovTest:
    """One statement of the graph: a variable is independent of another, given its parents.

    Arguments:
        variable: The variable.
        other: One that neither follows from it nor causes it directly.
        given: The parents of the variable.
        p_value: Probability of data at least this extreme when the statement holds.
    """

    variable: str
    other: str
    given: tuple[str, ...]
    p_value: float


@dataclass(frozen=True)
class Falsification:
    """What the data say about a graph.

    Arguments:
        tests: Every statement that was tested.
        level: Probability of refuting a right graph, over all statements together.
        refuted: Statements refuted at this level (Holm's correction).
        permutation_p: Share of graphs with the same shape and shuffled names that the data
            refute in no more statements; small means that the names matter, close to one that
            the graph fits no better than chance. NaN without permutations.
        permutations: Number of shuffled graphs.
    """

    tests: tuple[MarkovTest, ...]
    level: float
    refuted: tuple[MarkovTest, ...]
    permutation_p: float
    permutations: int

    @property
    def rejected(self) -> bool:
        """Whether the data refute the graph at the stated level."""
        return bool(self.refuted)

    @property
    def sentence(self) -> str:
        """The result in plain words."""
        if not self.tests:
            return "This graph says nothing that data could refute: every pair is connected."
        if self.rejected:
            worst = min(self.refuted, key=lambda test: test.p_value)
            given = f" given {', '.join(worst.given)}" if worst.given else ""
            return (
                f"The data refute the graph: {len(self.refuted)} of {len(self.tests)} statements "
                f"fail; worst, {worst.variable} is not independent of {worst.other}{given} "
                f"(p = {worst.p_value:.1e})."
            )
        return (
            f"The data do not refute the graph: none of {len(self.tests)} statements fails at "
            f"level {self.level:g}. That does not make it true."
        )


def falsify(
    graph: CausalGraph | MixedGraph,
    data: Data,
    *,
    method: Method = "gcm",
    level: float = 0.05,
    permutations: int = 0,
    ignore: Iterable[str] = (),
    generator: torch.Generator | None = None,
) -> Falsification:
    """Test every local Markov statement of a graph, and shuffled graphs for comparison.

    Arguments:
        graph: The graph; a mixed one when common causes are hidden.
        data: One column for each variable, ``(row,)``.
        method: ``gcm`` finds dependence of the residuals of smooth regressions, of any shape
            whose covariance does not vanish; ``partial_correlation`` is for linear relations.
        level: Probability of refuting a right graph, over all its statements.
        permutations: Number of shuffled graphs; 0 leaves the comparison out.
        ignore: Variables whose own statements are not tested, such as derived ones: what their
            parents determine has no residual.
        generator: Source of the regression's features and of the permutations.
    """
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    mixed = graph if isinstance(graph, MixedGraph) else MixedGraph(
        {name: graph.parents(name) for name in graph.order}
    )  # fmt: skip
    residuals = _Residuals(data, mixed.names, method, generator)
    skipped = frozenset(mixed.directed.require(name) for name in ignore)
    tests = _markov_tests(mixed, residuals, skipped)

    def failing(found: list[MarkovTest]) -> float:
        return sum(test.p_value < level for test in found) / max(len(found), 1)

    names = [name for name in mixed.names if name not in skipped]
    no_worse = 0
    for _ in range(permutations):
        order = torch.randperm(len(names), generator=generator).tolist()
        shuffled = _renamed(mixed, {a: names[i] for a, i in zip(names, order, strict=True)})
        no_worse += failing(_markov_tests(shuffled, residuals, skipped)) <= failing(tests)
    share = no_worse / permutations if permutations else math.nan
    return Falsification(tuple(tests), level, tuple(_holm(tests, level)), share, permutations)


def _renamed(graph: MixedGraph, new: Mapping[str, str]) -> MixedGraph:
    parents = {
        new.get(n, n): [new.get(p, p) for p in graph.directed.parents(n)] for n in graph.names
    }
    return MixedGraph(parents, [[new.get(n, n) for n in pair] for pair in graph.confounded])


def _statements(graph: MixedGraph) -> list[tuple[str, list[str], tuple[str, ...]]]:
    """A variable, what it is independent of, and the variables that make it so."""
    found = []
    for position, name in enumerate(graph.names):
        if graph.confounded:
            # The blanket within what comes before it: its district, and the district's parents.
            before = graph.among(graph.names[: position + 1])
            district = next(part for part in before.districts() if name in part)
            blanket = district.union(*(before.directed.parents(n) for n in district)) - {name}
            candidates = set(before.names)
        else:
            blanket = frozenset(graph.directed.parents(name))
            candidates = set(graph.names) - graph.directed.descendants(name)
        others = [n for n in graph.names if n in candidates - blanket and n != name]
        found.append((name, others, tuple(n for n in graph.names if n in blanket)))
    return found


def _markov_tests(
    graph: MixedGraph, residuals: "_Residuals", skipped: frozenset[str]
) -> list[MarkovTest]:
    """Tests of every statement; a pair that two statements share is tested for both."""
    tests = []
    for name, others, given in _statements(graph):
        others = [n for n in others if n not in skipped]
        if name in skipped or not others:
            continue
        values = residuals.p_values(name, others, given)
        # A column that the conditions determine has nothing left to test.
        tests += [
            MarkovTest(name, other, given, p)
            for other, p in zip(others, values.tolist(), strict=True)
            if not math.isnan(p)
        ]
    return tests


class _Residuals:
    """P values of statements; the regression on each set of parents is done once."""

    def __init__(
        self, data: Data, names: Sequence[str], method: Method, generator: torch.Generator
    ) -> None:
        missing = [name for name in names if name not in data]
        if missing:
            raise DataError(
                "data", expected=f"a column for each of {', '.join(names)}",
                found=f"none for {', '.join(missing)}",
                remedy="Project the graph onto the columns there are: MixedGraph.project.",
            )  # fmt: skip
        table = torch.stack([data[name].double() for name in names], 1)
        if table.ndim != 2 or not bool(table.isfinite().all()):
            raise DataError(
                "data", expected="finite numbers, one column for each variable",
                found=f"shape {tuple(table.shape)} or missing values",
                remedy="Drop incomplete rows first.",
            )  # fmt: skip
        constant = [n for n, s in zip(names, table.std(0).tolist(), strict=True) if s == 0.0]
        if constant:
            raise DataError(
                "data", expected="columns that vary", found=f"{', '.join(constant)} constant",
                remedy="A constant column can be independent of everything; leave it out.",
            )  # fmt: skip
        self._table = (table - table.mean(0)) / table.std(0)
        self._column = {name: i for i, name in enumerate(names)}
        self._method, self._generator = method, generator
        self._kept: dict[frozenset[str], SmoothResiduals] = {}

    def p_values(self, name: str, others: list[str], given: tuple[str, ...]) -> Tensor:
        column = self._column
        wanted = [column[other] for other in others]
        conditions = self._table[:, [column[n] for n in sorted(given)]]
        if self._method == "partial_correlation":
            x = self._table[:, column[name]]
            return partial_correlation_p_values(x, self._table[:, wanted], conditions)
        key = frozenset(given)
        if key not in self._kept:
            self._kept[key] = smooth_residuals(self._table, conditions, self._generator)
        return gcm_p_values(self._kept[key], column[name], wanted)


def _holm(tests: list[MarkovTest], level: float) -> list[MarkovTest]:
    ordered = sorted(tests, key=lambda test: test.p_value)
    refuted = []
    for rank, test in enumerate(ordered):
        if test.p_value > level / (len(ordered) - rank):
            break
        refuted.append(test)
    return refuted
