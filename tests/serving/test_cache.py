"""Keys, bytes, the store of the process, and one computation per question."""

import asyncio
import dataclasses
import pickle
import time

import numpy as np
import pytest
import torch
from examples import an_answer, an_observation, run
from hypothesis import given
from hypothesis import strategies as st

from acie.errors import OutsideSupport
from acie.scm import Do, Policy, Scale, Shift, parse_interventions
from acie.serving.batching import Overloaded, TooLate
from acie.serving.caching import AnswerCache, answer_key, observation_digest
from acie.serving.caching.codec import compact, decode, encode
from acie.serving.caching.memory import MemoryStore
from acie.serving.query import Answer
from acie.variables import Variable

KEY = "a" * 64


def key_of(**changes):
    question = {
        "model": "m", "observation": "o", "actions": {"a": Do(1.0), "b": Scale(2.0)},
        "hold": ("c", "d"), "samples": 64, "seed": None, "check_redshift": False,
    }  # fmt: skip
    return answer_key(**(question | changes))


def same(one: Answer, other: Answer) -> bool:
    """Equal in every field, arrays bit for bit."""
    return all(
        np.array_equal(a, b) and a.dtype == b.dtype if isinstance(a, np.ndarray) else a == b
        for a, b in (
            (getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(Answer)
        )
    )


# -- keys -----------------------------------------------------------------------------------------


def test_equal_questions_in_other_words_share_a_key():
    assert key_of() == key_of(actions={"b": Scale(torch.tensor(2.0)), "a": Do(1)})
    assert key_of() == key_of(hold=["d", "c", "d"])
    assert key_of(actions={"a": Do(0.0)}) == key_of(actions={"a": Do(-0.0)})


def test_what_people_write_for_the_same_action_is_one_question():
    names = ("stellar_mass", "metallicity", "dust_av", "age")
    variables = {name: Variable(name, transform="log10") for name in names}

    def key(text):
        return key_of(actions=parse_interventions(text, variables, {"mass": "stellar_mass"}))

    groups = [
        ["stellar_mass*=1.5", "stellar_mass=x1.5", "mass*=1.5", {"mass": {"scale": 1.5}},
         '{"stellar_mass": {"scale": 1.50}}'],
        ["metallicity+=0.1dex", {"metallicity": {"shift_dex": 0.1}}],
        [["dust_av=0", "age-=1"], {"age": {"shift": -1.0}, "dust_av": 0.0}],
        ["stellar_mass*=1.5000000000000002"],
        ["", {}, []],
    ]  # fmt: skip
    keys = [{key(text) for text in group} for group in groups]
    assert [len(group) for group in keys] == [1] * len(groups)
    assert len(set.union(*keys)) == len(groups)


def test_every_part_of_a_question_counts():
    others = [
        {"model": "n"}, {"observation": "p"}, {"actions": {"a": Do(1.0)}},
        {"actions": {"a": Do(np.nextafter(1.0, 2.0)), "b": Scale(2.0)}},
        {"actions": {"a": Do(1.0), "b": Shift(2.0)}},
        {"actions": {"a": Do(1.0), "b": Shift(2.0, dex=True)}},
        {"actions": {"a": Do(2.0), "b": Scale(1.0)}}, {"actions": {}}, {"hold": ()},
        {"hold": ("c",)}, {"hold": ("cd",)}, {"samples": 65}, {"seed": 0}, {"seed": 64},
        {"check_redshift": True},
    ]  # fmt: skip
    keys = [key_of(), *(key_of(**one) for one in others)]
    assert len(set(keys)) == len(keys)


def test_actions_that_are_no_numbers_have_no_key():
    assert key_of(actions={"a": Policy(lambda state: state["b"])}) is None
    assert key_of(actions={"a": Do(torch.ones(2))}) is None


def test_an_observation_is_its_pixels_and_redshift():
    first = an_observation()
    digest = observation_digest(first)
    # Single precision is what is inferred from, and a name is not.
    assert digest == observation_digest(an_observation(dtype=torch.float32))
    assert digest == observation_digest(dataclasses.replace(first, names=("x",), meta={"a": 1}))
    assert digest == observation_digest(first[0])
    changed = []
    for name in ("flux", "ivar", "lsf"):
        values = getattr(first, name).clone()
        values[0, 17] += 1.0
        changed.append(dataclasses.replace(first, **{name: values}))
    changed.append(dataclasses.replace(first, redshift=first.redshift + 1e-9))
    changed.append(dataclasses.replace(first, redshift=first.redshift * 0.0))
    changed.append(dataclasses.replace(first, redshift=first.redshift * torch.nan))
    changed.append(dataclasses.replace(first, quality=torch.tensor([32])))
    digests = {observation_digest(one) for one in changed}
    assert len(digests | {digest}) == len(changed) + 1


# -- bytes ----------------------------------------------------------------------------------------


def test_an_answer_survives_its_bytes():
    answer = compact(an_answer())
    found, until = decode(KEY, encode(KEY, answer, 12.5))
    assert same(found, answer)
    assert until == 12.5
    assert len(encode(KEY, answer, 0.0)) < 3 * 24000 + 2000
    assert not found.counterfactual.flags.writeable


@given(st.integers(0, 72000), st.integers(1, 255))
def test_one_damaged_byte_is_no_answer(place, change):
    value = bytearray(_VALUE)
    value[place % len(value)] ^= change
    assert decode(KEY, bytes(value)) is None


@given(st.binary(max_size=300))
def test_foreign_bytes_are_no_answer(value):
    assert decode(KEY, value) is None
    assert decode(KEY, _VALUE[:5] + value) is None


_VALUE = encode(KEY, compact(an_answer()), 1.0)


def test_what_is_not_an_answer_under_this_key_is_no_answer():
    assert decode("b" * 64, _VALUE) is None
    assert decode(KEY, _VALUE[:-1]) is None
    assert decode(KEY, _VALUE + b"x") is None
    assert decode(KEY, b"ACIE\xff" + _VALUE[5:]) is None
    assert decode(KEY, pickle.dumps(an_answer())) is None


# -- the store of the process ---------------------------------------------------------------------


def test_the_least_used_and_the_expired_are_forgotten():
    now = [0.0]
    store = MemoryStore(2, lambda: now[0])
    for name in "ab":
        store.put(name, an_answer(), 10.0)
    assert store.get("a") is not None  # now b is the least recently used
    store.put("c", an_answer(), 20.0)
    assert [store.get(name) is not None for name in "abc"] == [True, False, True]
    now[0] = 10.0
    assert [store.get(name) is not None for name in "ac"] == [False, True]
    assert len(store) == 1
    none = MemoryStore(0)
    none.put("a", an_answer(), 1e12)
    assert none.get("a") is None


# -- one computation ------------------------------------------------------------------------------


class Computer:
    """Counts how often it is asked, and answers when told to."""

    def __init__(self, *outcomes) -> None:
        self.outcomes, self.calls, self.cancelled = list(outcomes), 0, 0
        self.go = asyncio.Event()

    async def __call__(self) -> Answer:
        self.calls += 1
        outcome = self.outcomes.pop(0) if self.outcomes else an_answer(self.calls)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def a_cache(ttl_s: float = 100.0) -> AnswerCache:
    return AnswerCache(MemoryStore(8), None, ttl_s)


async def started(*calls) -> list[asyncio.Task]:
    """Tasks that all wait by now, in this order."""
    tasks = []
    for call in calls:
        tasks.append(asyncio.create_task(call))
        for _ in range(5):
            await asyncio.sleep(0)
    return tasks


def test_simultaneous_equal_questions_are_computed_once():
    async def check():
        cache, compute = a_cache(), Computer()
        tasks = await started(*(cache.get_or_compute(KEY, compute) for _ in range(20)))
        compute.go.set()
        answers = await asyncio.gather(*tasks)
        assert compute.calls == 1
        assert [answer.cached for answer in answers] == [False] + [True] * 19
        assert all(same(dataclasses.replace(a, cached=False), answers[0]) for a in answers)
        later = await cache.get_or_compute(KEY, compute)
        assert later.cached
        assert compute.calls == 1
        assert cache.counts == {"memory": 1, "redis": 0, "shared": 19, "computed": 1}

    run(check())


def test_other_questions_do_not_wait():
    async def check():
        cache, slow, quick = a_cache(), Computer(), Computer()
        quick.go.set()
        tasks = await started(cache.get_or_compute(KEY, slow))
        await cache.get_or_compute("b" * 64, quick)
        assert not tasks[0].done()
        tasks[0].cancel()

    run(check())


def test_a_question_without_key_is_computed_every_time():
    async def check():
        cache, compute = a_cache(), Computer()
        compute.go.set()
        answers = [await cache.get_or_compute(None, compute) for _ in range(2)]
        assert compute.calls == 2
        assert not any(answer.cached for answer in answers)

    run(check())


def test_a_caller_who_leaves_does_not_take_the_answer_along():
    async def check():
        cache, compute = a_cache(), Computer()
        leader, follower = await started(*(cache.get_or_compute(KEY, compute) for _ in "12"))
        leader.cancel()
        await asyncio.gather(leader, return_exceptions=True)
        assert leader.cancelled()
        compute.go.set()
        assert (await follower).cached
        assert (compute.calls, compute.cancelled) == (1, 0)

    run(check())


def test_the_last_caller_who_leaves_ends_the_computation():
    async def check():
        cache, compute = a_cache(), Computer()
        tasks = await started(*(cache.get_or_compute(KEY, compute) for _ in "123"))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)
        assert compute.cancelled == 1
        compute.go.set()
        answer = await cache.get_or_compute(KEY, compute)
        assert not answer.cached
        assert compute.calls == 2

    run(check())


def an_error(kind):
    return kind("x", expected="y", found="z")


@pytest.mark.parametrize("kind", [TooLate, Overloaded])
def test_the_troubles_of_one_caller_are_not_those_of_others(kind):
    async def check():
        cache, compute = a_cache(), Computer(an_error(kind))
        leader, *others = await started(*(cache.get_or_compute(KEY, compute) for _ in "1234"))
        compute.go.set()
        with pytest.raises(kind):
            await leader
        answers = await asyncio.gather(*others)
        assert compute.calls == 2
        assert sorted(answer.cached for answer in answers) == [False, True, True]

    run(check())


def test_the_error_of_a_question_is_for_all_who_ask_it_and_never_kept():
    async def check():
        cache, compute = a_cache(), Computer(an_error(OutsideSupport))
        tasks = await started(*(cache.get_or_compute(KEY, compute) for _ in "123"))
        compute.go.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(one) for one in found] == [OutsideSupport] * 3
        assert compute.calls == 1
        assert not (await cache.get_or_compute(KEY, compute)).cached

    run(check())


def test_an_answer_expires():
    async def check():
        cache, compute = a_cache(ttl_s=0.05), Computer()
        compute.go.set()
        await cache.get_or_compute(KEY, compute)
        assert (await cache.get_or_compute(KEY, compute)).cached
        await asyncio.sleep(0.06)
        assert not (await cache.get_or_compute(KEY, compute)).cached

    run(check())


def test_a_hit_costs_less_than_a_millisecond():
    async def check():
        cache, compute, observation = a_cache(), Computer(), an_observation()
        compute.go.set()
        seconds = []
        for _ in range(50):
            # CPU time: what others do on this machine does not count.
            start = time.process_time()
            digest = observation_digest(observation)
            key = answer_key("m", digest, {"a": Do(1.0)}, (), 64, None)
            await cache.get_or_compute(key, compute)
            seconds.append(time.process_time() - start)
        assert compute.calls == 1
        assert sorted(seconds)[25] < 1e-3

    run(check())
