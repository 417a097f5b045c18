"""Natural and path-specific effects: identities, linear closed forms, nested worlds by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acie.errors import CausalError
from acie.scm import AdditiveNoiseMechanism, Do, StructuralCausalModel
from acie.scm.attribution import attribute_causes, attribute_edges
from acie.scm.mediation import directed_paths, natural_effects, path_effect
from acie.scm.outcomes import ReadOut
from acie.variables import Variable

ADD = AdditiveNoiseMechanism


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


#: Simpson-like, with an interaction of x and m.
MODEL = StructuralCausalModel(
    [Variable("x"), Variable("m", parents=("x",)), Variable("y", parents=("x", "m")),
     Variable("z", parents=("y",))],
    {
        "x": ADD(0.0),
        "m": ADD(lambda p: torch.tanh(2.0 * p["x"]), 0.5),
        "y": ADD(lambda p: p["x"] * p["m"] + torch.exp(0.3 * p["m"])),
        "z": ADD(lambda p: p["y"] ** 2),
    },
)  # fmt: skip


def test_nested_worlds_by_hand():
    values, noise = MODEL.sample((40,), generator=seeded())
    found = natural_effects(MODEL, "x=1.2", "y", ["m"], values, noise, control="x=-0.4")
    um, uy = noise["m"].numpy(), noise["y"].numpy()

    def m(x):
        return np.tanh(2.0 * x) + 0.5 * um

    def y(x, mediator):
        return x * mediator + np.exp(0.3 * mediator) + uy

    a, b = -0.4, 1.2
    np.testing.assert_allclose(found.total, y(b, m(b)) - y(a, m(a)), atol=1e-12)
    np.testing.assert_allclose(found.direct, y(b, m(a)) - y(a, m(a)), atol=1e-12)
    np.testing.assert_allclose(found.indirect, y(a, m(b)) - y(a, m(a)), atol=1e-12)


def test_total_is_direct_minus_the_indirect_effect_of_going_back():
    values, noise = MODEL.sample((100,), generator=seeded(1))
    there = natural_effects(MODEL, "x=1", "z", ["m"], values, noise, control="x=0")
    back = natural_effects(MODEL, "x=0", "z", ["m"], values, noise, control="x=1")
    torch.testing.assert_close(there.total, there.direct - back.indirect)
    torch.testing.assert_close(there.reverse_indirect, back.indirect)
    torch.testing.assert_close(there.total, -back.total)
    # The interaction is real here: otherwise the law would say little.
    assert float(there.interaction.abs().mean()) > 0.1


def test_holding_the_mediator_is_the_direct_effect_from_the_factual_world():
    values, noise = MODEL.sample((30,), generator=seeded(2))
    found = natural_effects(MODEL, "x+=1", "y", ["m"], values, noise)
    held = MODEL.predict(noise, values, {"x": Do(values["x"] + 1.0)}, hold=("m",))
    torch.testing.assert_close(found.direct, held["y"] - values["y"])


@st.composite
def systems(draw):
    size, seed = draw(st.integers(3, 6)), draw(st.integers(0, 2**31))
    generator = seeded(seed)
    weights = torch.randn(size, size, generator=generator, dtype=torch.float64).tril(-1)
    return weights * (torch.rand(size, size, generator=generator) < 0.7), seed


def linear(weights):
    names = [f"x{i}" for i in range(len(weights))]
    variables, mechanisms = [], {}
    for i, name in enumerate(names):
        causes = [j for j in range(i) if weights[i, j] != 0]

        def location(p, i=i, causes=tuple(causes)):
            return sum((weights[i, j] * p[names[j]] for j in causes), torch.tensor(0.0))

        variables.append(Variable(name, parents=tuple(names[j] for j in causes)))
        mechanisms[name] = ADD(location)
    return StructuralCausalModel(variables, mechanisms), names


@settings(max_examples=25, deadline=None)
@given(systems())
def test_in_linear_models_a_path_carries_the_product_of_its_coefficients(system):
    weights, seed = system
    model, names = linear(weights)
    values, noise = model.sample((3,), generator=seeded(seed))
    last = names[-1]
    paths = directed_paths(model, "x0", last)
    total = torch.zeros(3, dtype=torch.float64)
    for path in paths:
        product = 1.0
        for cause, effect in zip(path, path[1:], strict=False):
            product *= float(weights[int(effect[1:]), int(cause[1:])])
        found = path_effect(model, "x0+=1", last, [path], values, noise)
        torch.testing.assert_close(found, torch.full_like(found, product), atol=1e-10, rtol=1e-8)
        total = total + found
    moved = model.counterfactual(values, "x0+=1").effect(last)
    torch.testing.assert_close(total, moved, atol=1e-10, rtol=1e-8)


def test_all_paths_together_carry_the_whole_effect():
    values, noise = MODEL.sample((30,), generator=seeded(3))
    paths = directed_paths(MODEL, "x", "z")
    assert paths == [("x", "y", "z"), ("x", "m", "y", "z")]
    whole = path_effect(MODEL, "x+=1", "z", paths, values, noise)
    torch.testing.assert_close(whole, MODEL.counterfactual(values, "x+=1").effect("z"))
    one = path_effect(MODEL, "x+=1", "y", [("x", "m", "y")], values, noise)
    torch.testing.assert_close(
        one, natural_effects(MODEL, "x+=1", "y", ["m"], values, noise).indirect
    )


def test_a_read_out_is_a_child_like_any_other():
    read_out = ReadOut("r", ("x", "y"), lambda state: state["x"] * state["y"])
    assert directed_paths(MODEL, "x", read_out) == [
        ("x", "r"), ("x", "y", "r"), ("x", "m", "y", "r"),
    ]  # fmt: skip
    values, noise = MODEL.sample((20,), generator=seeded(4))
    direct = path_effect(MODEL, "x+=1", read_out, [("x", "r")], values, noise)
    torch.testing.assert_close(direct, values["y"])


def test_shares_of_edges_and_of_causes_add_up_to_the_effect():
    read_out = ReadOut("r", ("m", "y"), lambda state: torch.exp(0.1 * state["m"]) * state["y"])
    values, noise = MODEL.sample((20,), generator=seeded(5))
    world = MODEL.counterfactual(values, "x+=1").counterfactual()
    whole = read_out.function(world) - read_out.function(values)
    for found in (
        attribute_edges(MODEL, "x+=1", read_out, values, noise),
        attribute_causes(MODEL, "x+=1", read_out, values, noise),
    ):
        assert found.exact
        torch.testing.assert_close(found.shares.sum(0), whole)
    assert attribute_edges(MODEL, "x+=1", read_out, values, noise).players == ("x>m", "x>y")


def test_what_cannot_be_asked_is_refused():
    values, noise = MODEL.sample((2,), generator=seeded())
    with pytest.raises(CausalError, match="mediator"):
        natural_effects(MODEL, "x+=1", "y", ["z"], values, noise)
    with pytest.raises(CausalError, match="mediator"):
        natural_effects(MODEL, "x+=1", "y", ["x"], values, noise)
    with pytest.raises(CausalError, match="no such path"):
        path_effect(MODEL, "x+=1", "y", [("x", "z", "y")], values, noise)
    with pytest.raises(CausalError, match="follows from the action"):
        attribute_edges(MODEL, "z+=1", "y", values, noise)


def test_paths_whose_edges_spell_another_path_are_refused():
    # a>b>d>e and a>c>d>f also spell a>b>d>f and a>c>d>e.
    names = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c"), "e": ("d",), "f": ("d",)}
    parents = {**names, "y": ("e", "f")}
    model = StructuralCausalModel(
        [Variable(name, parents=causes) for name, causes in parents.items()],
        {name: ADD(lambda p: sum(p.values(), torch.tensor(0.0))) for name in parents},
    )
    values, noise = model.sample((2,), generator=seeded())
    asked = [("a", "b", "d", "e", "y"), ("a", "c", "d", "f", "y")]
    with pytest.raises(CausalError, match="also spell"):
        path_effect(model, "a+=1", "y", asked, values, noise)
