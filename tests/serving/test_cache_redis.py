"""Answers that replicas share through a real Redis, well, damaged, frozen and dead."""

import asyncio
import time

import pytest
import redis
from examples import an_answer, run
from test_cache import KEY, Computer, same, started

from acie.errors import ConfigurationError
from acie.serving.caching import AnswerCache
from acie.serving.caching.codec import encode
from acie.serving.caching.memory import MemoryStore
from acie.serving.caching.remote import RedisStore

#: Generous, because a busy machine must not make a test fail that is not about time.
PATIENCE_S = 2.0


def replica(url: str, timeout_s: float = PATIENCE_S, rest_s: float = 0.2) -> AnswerCache:
    """A cache that keeps nothing itself, so that what it knows it has from Redis."""
    return AnswerCache(MemoryStore(0), RedisStore(url, timeout_s, rest_s), 100.0)


async def settled(cache: AnswerCache) -> None:
    """Writes beside the path of requests are done."""
    await asyncio.gather(*cache._remote._writes)


def ready() -> Computer:
    compute = Computer()
    compute.go.set()
    return compute


def test_replicas_share_answers(redis_url):
    async def check():
        one, other, compute = replica(redis_url), replica(redis_url), ready()
        first = await one.get_or_compute(KEY, compute)
        await settled(one)
        second = await other.get_or_compute(KEY, compute)
        assert compute.calls == 1
        assert (first.cached, second.cached) == (False, True)
        assert same(first, type(first)(**(vars(second) | {"cached": False})))
        await one.close()
        await other.close()
        with redis.Redis.from_url(redis_url) as client:
            (name,) = client.keys()
            assert name == f"acie:answer:{KEY}".encode()
            assert 90 < client.ttl(name) <= 100

    run(check())


def test_damaged_foreign_and_swapped_values_are_misses(redis_url):
    good = encode(KEY, an_answer(7.0), time.time() + 50)
    values = [b"", b"x", good[:-1], good[:20] + b"\0" + good[21:], good.replace(b"m", b"n"),
              encode("b" * 64, an_answer(7.0), time.time() + 50),
              encode(KEY, an_answer(7.0), time.time() - 1)]  # fmt: skip

    async def check():
        cache, compute = replica(redis_url), ready()
        with redis.Redis.from_url(redis_url) as client:
            for number, value in enumerate(values, 1):
                client.set(f"acie:answer:{KEY}", value)
                answer = await cache.get_or_compute(KEY, compute)
                assert not answer.cached
                assert compute.calls == number
                await settled(cache)
            client.delete(f"acie:answer:{KEY}")
            client.rpush(f"acie:answer:{KEY}", b"a list")
            assert not (await cache.get_or_compute(KEY, compute)).cached
            await settled(cache)  # has replaced it
            assert (await cache.get_or_compute(KEY, compute)).cached
        await cache.close()

    run(check())


def test_a_dead_redis_is_left_alone_and_found_again(redis_server, redis_url):
    async def check():
        cache, compute = replica(redis_url), ready()
        redis_server.kill()
        try:
            for number in range(1, 21):
                assert not (await cache.get_or_compute(KEY, compute)).cached
                assert compute.calls == number
                await settled(cache)
            # Three failures, and then it is not even asked.
            assert cache._remote.failures == 3
            assert cache._remote.resting
        finally:
            redis_server.start()
        await asyncio.sleep(0.25)
        await cache.get_or_compute(KEY, compute)
        await settled(cache)
        assert not cache._remote.resting
        assert (await cache.get_or_compute(KEY, compute)).cached
        await cache.close()

    run(check())


def test_a_frozen_redis_costs_its_patience_and_never_a_wrong_answer(redis_server, redis_url):
    names = [f"{number:064d}" for number in range(12)]

    async def ask(cache: AnswerCache, number: int):
        compute = Computer(an_answer(number))
        compute.go.set()
        answer = await cache.get_or_compute(names[number], compute)
        assert answer.counterfactual[0] == number
        return answer

    async def check():
        cache = replica(redis_url, timeout_s=0.1, rest_s=0.05)
        for number in range(12):
            await ask(cache, number)
            await settled(cache)
        redis_server.freeze()
        try:
            start = time.monotonic()
            answers = await asyncio.gather(*(ask(cache, number) for number in range(12)))
            assert not any(answer.cached for answer in answers)
            # All at once: one patience, not twelve (the rest is for a busy machine).
            assert time.monotonic() - start < 0.1 + 3.0
        finally:
            redis_server.thaw()
        # Replies to questions that were given up must not be taken for those to later ones.
        await asyncio.sleep(0.3)
        for _ in range(3):
            for number in range(12):
                await ask(cache, number)
        await cache.close()

    run(check())


def test_two_callers_of_one_process_ask_redis_once(redis_url):
    async def check():
        one, other = replica(redis_url), replica(redis_url)
        await one.get_or_compute(KEY, ready())
        await settled(one)
        compute = Computer()
        tasks = await started(*(other.get_or_compute(KEY, compute) for _ in range(5)))
        answers = await asyncio.gather(*tasks)
        assert all(answer.cached for answer in answers)
        assert compute.calls == 0
        assert other.counts["redis"] == 1
        await one.close()
        await other.close()

    run(check())


def test_what_is_no_url_is_refused_without_being_shown():
    with pytest.raises(ConfigurationError, match="redis://") as refusal:
        RedisStore("https://user:hunter22@host", 0.1)
    assert "hunter22" not in str(refusal.value)
