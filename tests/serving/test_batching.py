"""Items that wait for the engine are computed together."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from acie.serving.batching import MicroBatcher


def run(submissions, max_batch=8):
    """Submit ``(turns of the loop before, key, item)``; returns the batches and the results."""
    batches = []

    def compute(key, items):
        batches.append((key, list(items)))
        return [item * 2 for item in items]

    async def main():
        with ThreadPoolExecutor(1) as executor:
            batcher = MicroBatcher(compute, executor, max_batch, 64)

            async def one(turns, key, item):
                for _ in range(turns):
                    await asyncio.sleep(0)
                return await batcher.submit(key, item, time.monotonic() + 10.0)

            results = await asyncio.gather(*(one(*submission) for submission in submissions))
            await batcher.drain()
            return results

    return batches, asyncio.run(main())


def test_those_whose_requests_are_being_read_come_along():
    batches, results = run([(3 * place, "a", place) for place in range(5)])
    assert batches == [("a", [0, 1, 2, 3, 4])]
    assert results == [0, 2, 4, 6, 8]


def test_a_batch_is_never_larger_than_allowed():
    batches, results = run([(0, "a", place) for place in range(7)], max_batch=3)
    assert [len(items) for _, items in batches] == [3, 3, 1]
    assert results == [2 * place for place in range(7)]


def test_items_of_different_keys_are_computed_apart():
    batches, _ = run([(0, "a", 1), (0, "b", 2), (1, "a", 3)])
    assert batches == [("a", [1, 3]), ("b", [2])]


def test_a_lone_item_is_handed_over_at_once():
    # The loop turns a few times and sleeps through nothing: a sleep would be thousands of turns.
    turns, seen = [0], []

    class Executor(ThreadPoolExecutor):
        def submit(self, *arguments):
            seen.append(turns[0])
            return super().submit(*arguments)

    async def main():
        with Executor(1) as executor:
            batcher = MicroBatcher(lambda key, items: items, executor, 8, 64)
            task = asyncio.create_task(batcher.submit("a", 1, time.monotonic() + 10.0))
            while not seen:
                await asyncio.sleep(0)
                turns[0] += 1
            assert await task == 1

    asyncio.run(main())
    assert seen[0] < 20


def test_whoever_leaves_before_the_engine_is_asked_leaves_nothing_behind():
    async def main():
        with ThreadPoolExecutor(1) as executor:
            batcher = MicroBatcher(lambda key, items: items, executor, 8, 64)
            task = asyncio.create_task(batcher.submit("a", 1, time.monotonic() + 10.0))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
            await batcher.drain()
            assert batcher.depth == 0
            assert await batcher.submit("a", 2, time.monotonic() + 10.0) == 2

    asyncio.run(main())
