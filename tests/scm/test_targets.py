"""Target seeking: closed forms, the nearer of two roots, targets out of reach."""

import pytest
import torch

from acie.errors import CausalError, OutsideSupport
from acie.scm import AdditiveNoiseMechanism, StructuralCausalModel, ThresholdMechanism
from acie.scm.outcomes import ReadOut
from acie.scm.targets import seek
from acie.variables import Variable

ADD = AdditiveNoiseMechanism
MODEL = StructuralCausalModel(
    [Variable("x", support=(-3.0, 3.0)), Variable("m", parents=("x",)),
     Variable("y", parents=("x", "m")), Variable("s", parents=("x",)),
     Variable("q", support=(0, 1), kind="binary", parents=("x",)),
     Variable("k", support=(1e-3, 1e3), transform="log10"), Variable("f", parents=("k",))],
    {
        "x": ADD(0.0, 0.5),
        "m": ADD(lambda p: 2.0 * p["x"]),
        "y": ADD(lambda p: p["x"] + p["m"]),
        "s": ADD(lambda p: p["x"] ** 2, 1e-12),
        "q": ThresholdMechanism(lambda p: torch.sigmoid(p["x"])),
        "k": ADD(0.0, 0.3, transform="log10"),
        "f": ADD(lambda p: torch.log10(p["k"]), 1e-12),
    },
)  # fmt: skip


@pytest.fixture(scope="module")
def drawn():
    return MODEL.sample((200,), generator=torch.Generator().manual_seed(0))


def test_a_linear_target_is_the_closed_form(drawn):
    values, noise = drawn
    # y = 3 x + noise: the change is (target - y) / 3.
    found = seek(MODEL, "x", "y", 1.0, values, noise)
    expected = (1.0 - values["y"]) / 3.0
    inside = (values["x"] + expected).abs() < 3.0
    assert torch.equal(found.reached, inside)
    torch.testing.assert_close(found.change[inside], expected[inside], atol=1e-8, rtol=0)
    torch.testing.assert_close(found.value[inside], (values["x"] + expected)[inside], atol=1e-8,
                               rtol=0)  # fmt: skip
    again = MODEL.counterfactual(
        {n: v[inside] for n, v in values.items()}, {"x": found.value[inside]}
    )
    reached = again.counterfactual()["y"]
    torch.testing.assert_close(reached, torch.ones_like(reached), atol=1e-7, rtol=0)


def test_the_nearer_of_two_roots_is_taken_and_the_other_reported(drawn):
    values, noise = drawn
    found = seek(MODEL, "x", "s", 1.0, values, noise)
    nearer = torch.where(values["x"] > 0, 1.0, -1.0).double()
    torch.testing.assert_close(found.value, nearer, atol=1e-8, rtol=0)
    assert bool(found.ambiguous.all())


def test_a_target_out_of_reach_is_said_to_be(drawn):
    values, noise = drawn
    found = seek(MODEL, "x", "s", -0.5, values, noise)
    assert found.share == 0.0
    assert bool(found.value.isnan().all())
    assert bool(found.change.isnan().all())
    # The nearest that any value comes is about zero, at x = 0.
    assert float(found.closest.min()) > -1e-6
    assert float(found.closest.max()) < 0.05


def test_the_change_is_counted_on_the_natural_scale(drawn):
    values, noise = drawn
    found = seek(MODEL, "k", "f", 1.0, values, noise)
    torch.testing.assert_close(found.change, 1.0 - torch.log10(values["k"]), atol=1e-8, rtol=0)
    torch.testing.assert_close(found.value, torch.full_like(found.value, 10.0), rtol=1e-7, atol=0)


def test_a_target_for_every_draw_and_a_target_that_is_met(drawn):
    values, noise = drawn
    read_out = ReadOut("r", ("y",), lambda state: torch.exp(0.2 * state["y"]))
    now = read_out.function(values)
    found = seek(MODEL, "x", read_out, now, values, noise)
    assert found.share == 1.0
    assert float(found.change.abs().max()) == 0.0
    found = seek(MODEL, "x", read_out, now * 1.1, values, noise)
    expected = torch.log(torch.tensor(1.1, dtype=torch.float64)) / 0.2 / 3.0
    hit = found.reached
    assert found.share > 0.95
    torch.testing.assert_close(found.change[hit], expected.expand(int(hit.sum())), atol=1e-8,
                               rtol=0)  # fmt: skip


def test_holding_a_mediator_changes_what_is_needed(drawn):
    values, noise = drawn
    found = seek(MODEL, "x", "y", 1.0, values, noise, hold=("m",))
    torch.testing.assert_close(
        found.change[found.reached], (1.0 - values["y"])[found.reached], atol=1e-8, rtol=0
    )


def test_what_cannot_be_sought_is_refused(drawn):
    values, noise = drawn
    with pytest.raises(CausalError, match="continuous"):
        seek(MODEL, "q", "y", 1.0, values, noise)
    with pytest.raises(OutsideSupport, match="follows from k"):
        seek(MODEL, "k", "y", 1.0, values, noise)
