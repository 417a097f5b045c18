"""Recordings: the same numbers as the functions they were made of, or the functions themselves."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources

import pytest
import torch

import acie
from acie import native
from acie.errors import OutsideSupport
from acie.replay import Constant, Replay, recordings_off
from acie.scm import Policy

PATIENCE, OFTEN = 8, 12


class Counted:
    """A function that knows how often Python ran it."""

    def __init__(self, function):
        self.function, self.calls = function, 0

    def __call__(self, *arguments):
        self.calls += 1
        return self.function(*arguments)


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@torch.no_grad()
def recorded(function, *arguments):
    """A replay that has seen a function often, and the counted function."""
    replay, counted = Replay(PATIENCE), Counted(function)
    for _ in range(OFTEN):
        replay("f", counted, *arguments)
    return replay, counted


@torch.no_grad()
def test_a_recording_runs_without_the_function_and_gives_its_bits():
    replay, counted = recorded(lambda x: (x.exp().cumsum(0) / x.std(), {"a": x > 0}), numbers(40))
    assert replay.recorded() == ["f"]
    before = counted.calls
    x = numbers(40, seed=1)
    found = replay("f", counted, x)
    assert counted.calls == before < OFTEN + 2
    expected = counted.function(x)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1]["a"], expected[1]["a"])


@torch.no_grad()
def test_a_condition_that_turns_out_otherwise_calls_the_function():
    def branch(x):
        return x.log() if bool((x > 0).all()) else x * 0.0 - 1.0

    replay, counted = recorded(branch, numbers(9).abs() + 1.0)
    assert replay.recorded() == ["f"]
    other = -numbers(9).abs()
    assert torch.equal(replay("f", counted, other), torch.full((9,), -1.0, dtype=torch.float64))


@torch.no_grad()
def test_a_recording_holds_for_other_sizes_but_not_for_another_broadcast():
    def weigh(x, y):
        return (x * y).sum(0) / len(x.unbind(-1)) + torch.arange(x.shape[0]).sum()

    replay, counted = recorded(weigh, numbers(7, 3), numbers(7, 3))
    assert replay.recorded() == ["f"]
    before = counted.calls
    for rows in (2, 7, 50):
        x, y = numbers(rows, 3), numbers(rows, 3, seed=1)
        assert torch.equal(replay("f", counted, x, y), weigh(x, y))
    assert counted.calls == before
    x, y = numbers(7, 3), numbers(7, 1)
    assert torch.equal(replay("f", counted, x, y), weigh(x, y))
    assert counted.calls == before + 1


@torch.no_grad()
@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * len(x),
        lambda x: x * x.max().item(),
        lambda x: sum(row for row in x),
        lambda x: x + torch.tensor(x.numpy()),
        lambda x: x + torch.randn(5, generator=torch.Generator().manual_seed(int(x.sum()))),
        lambda x: torch.tensor([x[0], x[1]]),
    ],
    ids=["length", "item", "loop", "numpy", "random", "tensor"],
)
def test_what_a_trace_would_freeze_is_never_recorded(function):
    replay, counted = recorded(function, numbers(5))
    assert replay.recorded() == []
    other = numbers(5, seed=1)
    assert torch.equal(replay("f", counted, other), function(other))


@torch.no_grad()
def test_values_beside_tensors_are_part_of_the_key():
    @dataclass(frozen=True)
    class Line:
        slope: float
        offset: torch.Tensor

    replay, counted = recorded(lambda line, x: line.slope * x + line.offset,
                               Line(2.0, numbers(1)), numbers(4))  # fmt: skip
    assert replay.recorded() == ["f"]
    before, x = counted.calls, numbers(4, seed=2)
    other = Line(2.0, numbers(1, seed=3))
    assert torch.equal(replay("f", counted, other, x), 2.0 * x + other.offset)
    assert counted.calls == before
    steep = Line(3.0, numbers(1))
    assert torch.equal(replay("f", counted, steep, x), 3.0 * x + steep.offset)


@torch.no_grad()
def test_an_object_that_is_not_taken_apart_is_not_mistaken_for_a_later_one():
    class Table(Constant):
        def __init__(self, values):
            self.values = values

    replay = Replay(PATIENCE)

    def look(table, x):
        return table.values + x

    # Each table is gone before the next is made, often at the same place in memory.
    for seed in range(4 * OFTEN):
        values, x = numbers(3, seed=seed), numbers(3, seed=seed + 1)
        assert torch.equal(replay("f", look, Table(values), x), values + x)


def test_gradients_pass_and_nothing_is_recorded():
    replay, x = Replay(PATIENCE), numbers(4).requires_grad_()
    for _ in range(OFTEN):
        y = replay("f", torch.exp, x)
    assert replay.recorded() == []
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(slope, y)


@torch.no_grad()
def test_recordings_can_be_switched_off():
    replay, counted = recorded(torch.exp, numbers(4))
    before = counted.calls
    with recordings_off():
        replay("f", counted, numbers(4))
    assert counted.calls == before + 1
    replay("f", counted, numbers(4))
    assert counted.calls == before + 1


def test_threads_share_a_recording():
    replay = Replay(PATIENCE)
    data = [numbers(30, seed=seed) for seed in range(64)]

    def work(x):
        with torch.no_grad():
            return replay("f", lambda x: torch.softmax(x, 0).log() * 2.0, x)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(work, data))
    assert replay.recorded() == ["f"]
    expected = [torch.softmax(x, 0).log() * 2.0 for x in data]
    assert all(map(torch.equal, found, expected))


def test_an_error_is_that_of_the_function():
    with torch.no_grad():
        replay, counted = recorded(lambda x: x @ torch.ones(4, dtype=torch.float64), numbers(3, 4))
        assert replay.recorded() == ["f"]
        with pytest.raises(RuntimeError, match="size"):
            replay("f", counted, numbers(3, 5))


# -- whole answers ------------------------------------------------------------


@pytest.fixture(scope="module")
def engine():
    engine = acie.load()
    engine._replay.patience = PATIENCE
    return engine


@pytest.fixture(scope="module")
def example():
    with resources.as_file(resources.files("acie") / "examples" / "example.fits") as path:
        return acie.io.read(path)


def answer(engine, observation, do, **options):
    generator = torch.Generator().manual_seed(3)
    found = engine.counterfactual(observation, do, generator=generator, **options)
    posterior = found.abduction.posterior
    return [*posterior.values.values(), posterior.spectra, *found.values.values(),
            found.change, posterior.confidence, found.abduction.noise["quenched"]]  # fmt: skip


def agree(engine, observation, do, **options):
    with recordings_off():
        expected = answer(engine, observation, do, **options)
    found = answer(engine, observation, do, **options)
    return all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_answers_are_the_same_bit_for_bit(engine, example):
    for _ in range(10):
        answer(engine, example, "stellar_mass*=1.5", num_samples=16)
    # What compiled kernels compute is not recorded.
    compiled = {"draws", "latent", "reduced"} if native.available() else set()
    assert set(engine._replay.recorded()) == {
        "law", "draws", "latent", "prior", "reduced", "invert", "light", ("predict", ()),
    } - compiled  # fmt: skip
    for samples in (16, 24):
        assert agree(engine, example, "stellar_mass*=1.5", num_samples=samples)
    # Another size of the same action, another action, and one with a held descendant.
    for do in ("stellar_mass*=1.2", "dust_av=0.3", "gas_metallicity+=0.2"):
        assert agree(engine, example, do, num_samples=16)
    hold = {"hold": ["sfr"], "num_samples": 16}
    assert agree(engine, example, "stellar_mass*=1.5", **hold)


def test_an_action_of_another_size_needs_no_new_recording(engine, example):
    before = len(engine._replay._kept)
    for size in (1.1, 1.3, 1.7):
        answer(engine, example, f"stellar_mass*={size}", num_samples=16)
    assert len(engine._replay._kept) == before


def test_a_policy_is_asked_every_time(engine, example):
    asked = []

    def policy(state):
        asked.append(1)
        return state["dust_av"] * 0.5

    for _ in range(OFTEN):
        answer(engine, example, {"dust_av": Policy(policy)}, num_samples=16)
    assert len(asked) >= OFTEN


def test_an_impossible_action_is_refused_in_words_all_the_same(engine, example):
    for _ in range(OFTEN):
        with pytest.raises(OutsideSupport, match="velocity_dispersion"):
            answer(engine, example, "velocity_dispersion*=100", num_samples=16)
