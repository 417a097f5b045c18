import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acie.errors import CyclicGraph, UnknownVariable
from acie.scm import CausalGraph


@st.composite
def graphs(draw):
    """Random acyclic graphs, declared in a random order."""
    size = draw(st.integers(1, 7))
    names = [f"v{i}" for i in range(size)]
    parents = {
        name: draw(st.lists(st.sampled_from(names[:i]), unique=True)) if i else []
        for i, name in enumerate(names)
    }
    return {name: parents[name] for name in draw(st.permutations(names))}


@settings(max_examples=50, deadline=None)
@given(graphs())
def test_order_is_topological_and_deterministic(parents):
    graph = CausalGraph(parents)
    place = {name: i for i, name in enumerate(graph.order)}
    assert all(place[cause] < place[name] for name in parents for cause in parents[name])
    assert graph.order == CausalGraph(dict(parents)).order
    assert set(graph.order) == set(parents)


@settings(max_examples=50, deadline=None)
@given(graphs())
def test_adjacency_ancestors_and_descendants_agree(parents):
    graph = CausalGraph(parents)
    adjacency = graph.adjacency()
    assert torch.equal(adjacency, adjacency.tril(-1))
    reach = torch.linalg.matrix_power(adjacency.double() + torch.eye(len(graph)).double(), 8) > 0
    for i, effect in enumerate(graph.order):
        for j, cause in enumerate(graph.order):
            expected = bool(reach[i, j]) and i != j
            assert (cause in graph.ancestors(effect)) == expected
            assert (effect in graph.descendants(cause)) == expected
            assert (effect in graph.children(cause)) == bool(adjacency[i, j])


@settings(max_examples=50, deadline=None)
@given(graphs())
def test_local_markov_property(parents):
    graph = CausalGraph(parents)
    for name in graph.order:
        others = set(graph.order) - graph.descendants(name) - {name} - set(graph.parents(name))
        assert graph.d_separated(name, others, given=graph.parents(name))


@pytest.mark.parametrize(
    ("xs", "ys", "given", "expected"),
    [
        ("a", "c", (), False),
        ("a", "c", "b", True),
        ("a", "d", (), True),
        ("a", "d", "e", False),
        ("a", "d", "f", False),
        ("a", "d", ("e", "b"), True),
    ],
)
def test_d_separation_of_chains_and_colliders(xs, ys, given, expected):
    parents = {"a": [], "b": ["a"], "c": ["b"], "d": [], "e": ["b", "d"], "f": ["e"]}
    assert CausalGraph(parents).d_separated(xs, ys, given) is expected


def test_mutilation_cuts_the_incoming_arrows_only():
    graph = CausalGraph({"a": [], "b": ["a"], "c": ["a", "b"]}).mutilate("b")
    assert graph.parents("b") == ()
    assert graph.parents("c") == ("a", "b")


def test_a_cycle_is_named():
    with pytest.raises(CyclicGraph, match="a -> b -> c -> a|b -> c -> a -> b|c -> a -> b -> c"):
        CausalGraph({"root": [], "a": ["c", "root"], "b": ["a"], "c": ["b"], "leaf": ["c"]})
    with pytest.raises(CyclicGraph, match="a -> a"):
        CausalGraph({"a": ["a"]})


def test_unknown_names_come_with_the_closest():
    with pytest.raises(UnknownVariable, match="Did you mean stellar_mass"):
        CausalGraph({"stellar_mass": [], "age": ["stelar_mass"]})
    with pytest.raises(UnknownVariable, match="Did you mean age"):
        CausalGraph({"age": []}).descendants("agee")


def test_mermaid_lists_every_arrow():
    text = CausalGraph({"a": [], "b": ["a"]}).to_mermaid()
    assert text.splitlines() == ["graph TD", "    a", "    b", "    a --> b"]
