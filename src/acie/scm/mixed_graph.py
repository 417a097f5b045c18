"""Graphs with unobserved common causes: directed arrows and bidirected ones."""

__all__ = ["MixedGraph"]

from collections.abc import Iterable, Mapping, Sequence

from acie.errors import CausalError
from acie.scm.graph import CausalGraph


class MixedGraph:
    """A directed acyclic graph with bidirected arrows, x <-> y, for hidden common causes.

    Arguments:
        parents: Direct causes of every observed variable, by name.
        confounded: Pairs that share a hidden cause.

    Example:
        >>> bow = MixedGraph({"x": (), "y": ("x",)}, [("x", "y")])
        >>> bow.districts()
        (frozenset({'x', 'y'}),)
    """

    def __init__(
        self, parents: Mapping[str, Sequence[str]], confounded: Iterable[Iterable[str]] = ()
    ) -> None:
        self.directed = CausalGraph(parents)
        self.confounded: frozenset[frozenset[str]] = frozenset(
            frozenset(self.directed.require(name) for name in pair) for pair in confounded
        )
        for pair in self.confounded:
            if len(pair) != 2:
                raise CausalError(
                    "confounded", expected="pairs of two different variables",
                    found=", ".join(sorted(pair)),
                )  # fmt: skip

    @classmethod
    def project(
        cls,
        graph: CausalGraph,
        hidden: Iterable[str] = (),
        confounded: Iterable[Iterable[str]] = (),
    ) -> "MixedGraph":
        """The graph of the observed variables when some are hidden (latent projection).

        References:
            Verma & Pearl 1990, UAI 6, 220; Tian & Pearl 2002, UCLA report R-290, section 5.
        """
        unseen = {graph.require(name) for name in hidden}
        seen = [name for name in graph.order if name not in unseen]

        def through(name: str) -> set[str]:
            """Observed variables reached from ``name`` over hidden ones."""
            found, stack = set(), list(graph.children(name))
            while stack:
                child = stack.pop()
                if child in unseen:
                    stack.extend(graph.children(child))
                else:
                    found.add(child)
            return found

        below = {name: through(name) for name in graph.order}
        parents = {n: tuple(p for p in seen if n in below[p]) for n in seen}
        ends = {name: {name} if name not in unseen else below[name] for name in graph.order}
        pairs = {
            frozenset((a, b))
            for name in unseen for a in below[name] for b in below[name] if a != b
        }  # fmt: skip
        pairs |= {
            frozenset((a, b))
            for first, second in confounded
            for a in ends[graph.require(first)] for b in ends[graph.require(second)] if a != b
        }  # fmt: skip
        return cls(parents, pairs)

    @property
    def names(self) -> tuple[str, ...]:
        """Variables in topological order."""
        return self.directed.order

    def among(self, names: Iterable[str]) -> "MixedGraph":
        """The graph of some of the variables, with the arrows between them."""
        kept = set(names)
        parents = {
            n: tuple(p for p in self.directed.parents(n) if p in kept)
            for n in self.names if n in kept
        }  # fmt: skip
        return MixedGraph(parents, [pair for pair in self.confounded if pair <= kept])

    def without_arrows_into(self, names: Iterable[str]) -> "MixedGraph":
        """The graph after an intervention: nothing observed or hidden acts on the names."""
        cut = set(names)
        parents = {n: () if n in cut else self.directed.parents(n) for n in self.names}
        return MixedGraph(parents, [pair for pair in self.confounded if not pair & cut])

    def without_arrows_out_of(self, names: Iterable[str]) -> "MixedGraph":
        """The graph in which the names cause nothing."""
        cut = set(names)
        parents = {
            n: tuple(p for p in self.directed.parents(n) if p not in cut) for n in self.names
        }
        return MixedGraph(parents, self.confounded)

    def ancestors_or_self(self, names: Iterable[str]) -> frozenset[str]:
        """The names and all their causes."""
        kept = frozenset(names)
        return kept | self.directed.ancestors(kept)

    def districts(self) -> tuple[frozenset[str], ...]:
        """Sets of variables connected by bidirected arrows (c-components).

        References:
            Tian & Pearl 2002, AAAI 18, 567.
        """
        left, found = list(self.names), []
        while left:
            district, stack = set(), [left[0]]
            while stack:
                name = stack.pop()
                district.add(name)
                for pair in self.confounded:
                    stack.extend(pair - district if name in pair else ())
            found.append(frozenset(district))
            left = [name for name in left if name not in district]
        return tuple(found)

    def separated(
        self, xs: str | Iterable[str], ys: str | Iterable[str], given: Iterable[str] = ()
    ) -> bool:
        """Whether ``given`` blocks every path, hidden causes included (m-separation)."""
        return self._canonical().d_separated(xs, ys, tuple(given))

    def _canonical(self) -> CausalGraph:
        # One hidden root for each bidirected arrow; the space keeps its name apart from others.
        roots = {f" {' '.join(sorted(pair))}": pair for pair in self.confounded}
        parents = {
            n: (*self.directed.parents(n), *(r for r, pair in roots.items() if n in pair))
            for n in self.names
        }
        return CausalGraph({**dict.fromkeys(roots, ()), **parents})
