"""Identification: textbook answers, and formulas evaluated on discrete models with known truth."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acie.errors import CausalError, UnknownVariable
from acie.scm import CausalGraph
from acie.scm.identification import (
    NotIdentified,
    back_door_sets,
    front_door_sets,
    identify,
    instruments,
    report_identification,
)
from acie.scm.mixed_graph import MixedGraph

#: Pearl 2009, figure 3.5 / 3.8 and Shpitser & Pearl 2006, figures 1 and 2: name, parents,
#: hidden common causes, whether P(y | do(x)) is identified.
TEXTBOOK = {
    "back door": ({"z": "", "x": "z", "y": "xz"}, [], True),
    "front door": ({"x": "", "m": "x", "y": "m"}, ["xy"], True),
    "napkin": ({"w": "", "z": "w", "x": "z", "y": "x"}, ["wx", "wy"], True),
    "M-bias": ({"m": "", "x": "", "y": "x"}, ["xm", "my"], True),
    "bow arc": ({"x": "", "y": "x"}, ["xy"], False),
    "instrument": ({"z": "", "x": "z", "y": "x"}, ["xy"], False),
    "confounded mediator": ({"x": "", "m": "x", "y": "m"}, ["xm"], False),
    "confounded end": ({"x": "", "m": "x", "y": "m"}, ["my"], True),
    "front door with a second arc": ({"x": "", "m": "x", "y": "m"}, ["xy", "my"], False),
    "front door with a direct edge": ({"x": "", "m": "x", "y": "mx"}, ["xy"], False),
    "bow beside a parent": ({"z": "", "x": "z", "y": "xz"}, ["xz", "zy"], False),
    "collider path": ({"x": "", "z": "", "y": "xz"}, ["xz"], True),
    "mediator with a hidden cause of z": ({"x": "", "z": "x", "y": "xz"}, ["zy"], True),
}


def mixed(parents, arcs):
    return MixedGraph({name: tuple(causes) for name, causes in parents.items()}, arcs)


@pytest.mark.parametrize("name", TEXTBOOK)
def test_textbook_answers(name):
    parents, arcs, identified = TEXTBOOK[name]
    report = report_identification(mixed(parents, arcs), "x", "y")
    assert report.identified is identified
    assert bool(report.estimand) is identified
    plain = "cannot be learned" if not identified else "can be learned"
    assert plain in report.sentences[0]


def test_back_door_sets():
    # Pearl 2009, figure 3.4.
    graph = MixedGraph({
        "x1": (), "x2": (), "x3": ("x1",), "x4": ("x1", "x2"), "x5": ("x2",),
        "xi": ("x3", "x4"), "x6": ("xi",), "xj": ("x4", "x5", "x6"),
    })  # fmt: skip
    sets = {frozenset(chosen) for chosen in back_door_sets(graph, "xi", "xj")}
    # The book names {x3, x4} and {x4, x5}, and says that {x4} alone is not enough.
    assert {frozenset(("x3", "x4")), frozenset(("x4", "x5"))} <= sets
    assert frozenset(("x4",)) not in sets
    assert all(not a < b for a in sets for b in sets)
    every = back_door_sets(graph, "xi", "xj", minimal=False)
    assert ("x3", "x4", "x5") in every
    assert front_door_sets(graph, "xi", "xj") == [("x6",)]


def test_m_bias_needs_no_adjustment_and_forbids_the_collider():
    graph = mixed({"m": "", "x": "", "y": "x"}, ["xm", "my"])
    assert back_door_sets(graph, "x", "y") == [()]
    assert ("m",) not in back_door_sets(graph, "x", "y", minimal=False)
    assert "what is seen is the effect" in " ".join(
        report_identification(graph, "x", "y").sentences
    )


def test_instruments():
    assert instruments(mixed(*TEXTBOOK["instrument"][:2]), "x", "y") == [("z", ())]
    # A direct arrow from z to y spoils it.
    assert instruments(mixed({"z": "", "x": "z", "y": "xz"}, ["xy"]), "x", "y") == []
    # Conditioning on w repairs one that shares a cause with y.
    graph = mixed({"w": "", "z": "w", "x": "z", "y": "xw"}, ["xy"])
    assert ("z", ("w",)) in instruments(graph, "x", "y")


def test_hiding_a_variable_leaves_its_arrows():
    graph = CausalGraph({"h": (), "x": ("h",), "g": ("h",), "y": ("x", "g")})
    projected = MixedGraph.project(graph, ["h", "g"])
    assert projected.directed.parents("y") == ("x",)
    assert projected.confounded == frozenset({frozenset(("x", "y"))})
    # A hidden mediator is an arrow, not a common cause.
    chain = MixedGraph.project(CausalGraph({"x": (), "m": ("x",), "y": ("m",)}), ["m"])
    assert chain.directed.parents("y") == ("x",)
    assert not chain.confounded


def test_an_effect_of_nothing_on_nothing():
    graph = mixed({"x": "", "y": ""}, ["xy"])
    report = report_identification(graph, "x", "y")
    assert report.identified
    assert "does not act" in report.sentences[0]
    with pytest.raises(UnknownVariable):
        report_identification(graph, "x", "nothing")
    with pytest.raises(CausalError):
        report_identification(graph, "x", "x")


class Discrete:
    """A random discrete model with its hidden causes: everything by exact summation."""

    def __init__(self, graph, seed, states=2):
        generator = torch.Generator().manual_seed(seed)
        self.graph, self.states = graph, states
        arcs = {f"u{i}": pair for i, pair in enumerate(sorted(map(sorted, graph.confounded)))}
        self.hidden = list(arcs)
        self.laws = {}
        for name in self.hidden:
            self.laws[name] = ((name,), self.random((states,), generator))
        for name in graph.names:
            causes = (
                *graph.directed.parents(name),
                *(u for u, pair in arcs.items() if name in pair),
            )
            shape = (states,) * (len(causes) + 1)
            self.laws[name] = ((*causes, name), self.random(shape, generator))

    @staticmethod
    def random(shape, generator):
        weights = torch.rand(shape, generator=generator, dtype=torch.float64) + 0.05
        return weights / weights.sum(-1, keepdim=True)

    def joint(self, do=None):
        """Law of the observed variables; those of ``do`` have no law but their value."""
        names = (*self.hidden, *self.graph.names)
        total = torch.ones((1,) * len(names), dtype=torch.float64)
        for name, (axes, table) in self.laws.items():
            if do and name in do:
                axes, table = (name,), torch.eye(self.states, dtype=torch.float64)[do[name]]
            order = sorted(range(len(axes)), key=lambda i: names.index(axes[i]))
            shape = [self.states if n in axes else 1 for n in names]
            total = total * table.permute(order).reshape(shape)
        return self.graph.names, total.sum(list(range(len(self.hidden)))) if self.hidden else total


def check_formula(graph, outcome, acted, seed):
    """The formula on the observed law against the law of the model that is acted on."""
    model = Discrete(graph, seed)
    axes, table = identify(graph, [outcome], acted).evaluate(model.joint())
    assert outcome in axes
    for settings_ in itertools.product(range(2), repeat=len(acted)):
        do = dict(zip(acted, settings_, strict=True))
        names, joint = model.joint(do)
        others = [i for i, n in enumerate(names) if n != outcome]
        truth = joint.sum(others)
        # Axes that are left over (as z in the napkin) must not matter.
        for index in itertools.product(range(2), repeat=len(axes)):
            at = dict(zip(axes, index, strict=True))
            if all(at.get(name, value) == value for name, value in do.items()):
                assert table[index].item() == pytest.approx(truth[at[outcome]].item(), abs=1e-9)


@pytest.mark.parametrize("name", [n for n, case in TEXTBOOK.items() if case[2]])
def test_textbook_formulas_give_the_true_effect(name):
    parents, arcs, _ = TEXTBOOK[name]
    check_formula(mixed(parents, arcs), "y", ["x"], seed=3)


@st.composite
def graphs(draw):
    size = draw(st.integers(3, 5))
    names = [f"v{i}" for i in range(size)]
    pairs = list(itertools.combinations(names, 2))
    edges = [pair for pair in pairs if draw(st.booleans())]
    arcs = [pair for pair in pairs if draw(st.integers(0, 3)) == 0]
    parents = {n: tuple(a for a, b in edges if b == n) for n in names}
    target = draw(st.integers(1, size - 1))
    acted = [n for n in names if n != names[target] and draw(st.integers(0, 2)) == 0]
    return MixedGraph(parents, arcs), names[target], acted or [names[0]], draw(st.integers(0, 99))


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_every_formula_gives_the_true_effect(case):
    graph, outcome, acted, seed = case
    if outcome in acted:
        return
    hedges = []
    try:
        identify(graph, [outcome], acted)
    except NotIdentified as error:
        hedges.append(error)
    for error in hedges:
        # Both sets are districts; the smaller lies inside the larger, which meets the action.
        assert error.core < error.hedge
        assert error.hedge & set(acted)
    if not hedges:
        check_formula(graph, outcome, acted, seed)


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_a_back_door_set_is_never_at_odds_with_the_algorithm(case):
    graph, outcome, acted, seed = case
    x = acted[0]
    if outcome == x or outcome in graph.directed.ancestors(x):
        return
    sets = back_door_sets(graph, x, outcome)
    if not sets:
        return
    # Identified, and the adjustment formula gives the same numbers as acting.
    check_formula(graph, outcome, [x], seed)
    model = Discrete(graph, seed)
    names, joint = model.joint()
    for chosen in sets:
        kept = [n for n in names if n in (*chosen, x, outcome)]
        table = (
            joint.sum([i for i, n in enumerate(names) if n not in kept])
            if len(kept) < len(names)
            else joint
        )
        table = table.movedim((kept.index(x), kept.index(outcome)), (0, 1))
        share = table / table.sum(1, keepdim=True)
        weight = table.sum((0, 1))
        adjusted = (share * weight).reshape(2, 2, -1).sum(-1)
        for value in range(2):
            acted_names, law = model.joint({x: value})
            truth = law.sum([i for i, n in enumerate(acted_names) if n != outcome])
            torch.testing.assert_close(adjusted[value], truth)


def test_an_effect_that_is_not_identified_names_its_hedge():
    with pytest.raises(NotIdentified, match="hedge") as caught:
        identify(mixed(*TEXTBOOK["bow arc"][:2]), ["y"], ["x"])
    assert caught.value.hedge == {"x", "y"}
    assert caught.value.core == {"y"}
