"""Causal graphs: who causes whom."""

__all__ = ["CausalGraph"]

import difflib
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from acie.errors import CyclicGraph, UnknownVariable


class CausalGraph:
    """A directed acyclic graph of named variables.

    The order of the variables is topological and deterministic: among the variables whose
    parents are all placed, the one declared first comes first.

    Arguments:
        parents: Direct causes of every variable, by name.

    Example:
        >>> graph = CausalGraph({"z": ["y"], "y": ["x"], "x": []})
        >>> graph.order
        ('x', 'y', 'z')
        >>> graph.d_separated("x", "z", given="y")
        True
    """

    def __init__(self, parents: Mapping[str, Sequence[str]]) -> None:
        self._parents = {name: tuple(causes) for name, causes in parents.items()}
        for causes in self._parents.values():
            for cause in causes:
                self.require(cause)
        self._children: dict[str, tuple[str, ...]] = {
            name: tuple(child for child, causes in self._parents.items() if name in causes)
            for name in self._parents
        }
        self.order: tuple[str, ...] = self._sort()

    def _sort(self) -> tuple[str, ...]:
        order: list[str] = []
        waiting = dict(self._parents)
        while waiting:
            placed = set(order)
            ready = next((n for n, causes in waiting.items() if placed.issuperset(causes)), None)
            if ready is None:
                raise CyclicGraph(
                    "parents",
                    expected="a graph without cycles",
                    found=" -> ".join(self._cycle(waiting)),
                    remedy="Remove one of these arrows.",
                )
            order.append(ready)
            del waiting[ready]
        return tuple(order)

    def _cycle(self, waiting: Mapping[str, Sequence[str]]) -> list[str]:
        # Every waiting variable has a waiting parent, so walking up must meet itself.
        path = [next(iter(waiting))]
        while path.count(path[-1]) == 1:
            path.append(next(cause for cause in waiting[path[-1]] if cause in waiting))
        return path[path.index(path[-1]) :][::-1]

    def require(self, name: str) -> str:
        """The name itself when the graph has it.

        Raises:
            UnknownVariable: With the closest names.
        """
        if name in self._parents:
            return name
        close = difflib.get_close_matches(name, self._parents, n=3, cutoff=0.5)
        raise UnknownVariable(
            name,
            expected=f"one of {', '.join(self._parents)}",
            found=repr(name),
            remedy=f"Did you mean {' or '.join(close)}?" if close else "",
        )

    def __contains__(self, name: object) -> bool:
        return name in self._parents

    def __len__(self) -> int:
        return len(self._parents)

    def __repr__(self) -> str:
        arrows = "; ".join(f"{', '.join(self._parents[n]) or '()'} -> {n}" for n in self.order)
        return f"CausalGraph({arrows})"

    def parents(self, name: str) -> tuple[str, ...]:
        """Direct causes, in the order of their declaration."""
        return self._parents[self.require(name)]

    def children(self, name: str) -> tuple[str, ...]:
        """Direct effects, in the order of their declaration."""
        return self._children[self.require(name)]

    def ancestors(self, names: str | Iterable[str]) -> frozenset[str]:
        """All causes, direct or not, of any of the names; a name only if it causes another."""
        return self._reach(names, self._parents)

    def descendants(self, names: str | Iterable[str]) -> frozenset[str]:
        """All effects, direct or not, of any of the names; a name only if another causes it."""
        return self._reach(names, self._children)

    def _reach(
        self, names: str | Iterable[str], neighbours: Mapping[str, Sequence[str]]
    ) -> frozenset[str]:
        reached: set[str] = set()
        stack = list(self._names(names))
        while stack:
            fresh = set(neighbours[stack.pop()]) - reached
            reached |= fresh
            stack.extend(fresh)
        return frozenset(reached)

    def _names(self, names: str | Iterable[str]) -> tuple[str, ...]:
        listed = (names,) if isinstance(names, str) else tuple(names)
        return tuple(self.require(name) for name in listed)

    def adjacency(self) -> Tensor:
        """Boolean matrix in topological order, ``[effect, cause]``, strictly lower triangular.

        Returns:
            Shape ``(variable, variable)``.
        """
        rows = [[cause in self._parents[name] for cause in self.order] for name in self.order]
        return torch.tensor(rows, dtype=torch.bool).reshape(len(self), len(self))

    def mutilate(self, names: str | Iterable[str]) -> "CausalGraph":
        """The graph after an intervention: the arrows into the names are cut."""
        cut = set(self._names(names))
        return CausalGraph({n: () if n in cut else pa for n, pa in self._parents.items()})

    def d_separated(
        self,
        xs: str | Iterable[str],
        ys: str | Iterable[str],
        given: str | Iterable[str] = (),
    ) -> bool:
        """Whether every path between ``xs`` and ``ys`` is blocked by ``given``.

        References:
            Lauritzen et al. 1990, Networks 20, 491: separation in the moral graph of the
            smallest ancestral set.
        """
        sources, targets, blocked = set(self._names(xs)), set(self._names(ys)), self._names(given)
        kept = sources | targets | set(blocked)
        kept |= self.ancestors(kept)
        neighbours: dict[str, set[str]] = {name: set() for name in kept}
        for name in kept:
            family = {name, *self._parents[name]}
            for member in family:
                neighbours[member] |= family - {member}
        reached = sources - set(blocked)
        stack = list(reached)
        while stack:
            fresh = neighbours[stack.pop()] - reached - set(blocked)
            reached |= fresh
            stack.extend(fresh)
        return not reached & targets

    def to_mermaid(self) -> str:
        """The graph as a Mermaid flowchart, for documentation and dashboards."""
        lines = ["graph TD"]
        for name in self.order:
            lines.append(f"    {name}")
            lines.extend(f"    {cause} --> {name}" for cause in self._parents[name])
        return "\n".join(lines)
