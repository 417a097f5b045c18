"""Independent work of many operations on several threads.

torch spreads single operations over its threads, which gains little when there are thousands of
small ones. Galaxies are independent: each thread takes whole ones, one operation at a time.
"""

__all__ = ["spread", "undivided"]

import contextlib
import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def spread(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """``[function(item) for item in items]`` on as many threads as torch uses.

    The order of the results, and the results, do not depend on the number of threads.

    Arguments:
        function: Must not change what others read, nor draw random numbers from a shared source.
        items: What to call it with.
    """
    items = list(items)
    count = getattr(_local, "count", torch.get_num_threads())
    if count == 1 or len(items) == 1:
        return [function(item) for item in items]
    inference, gradients = torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    def task(item: Item) -> Result:
        # Both modes belong to a thread.
        with torch.inference_mode(inference), torch.set_grad_enabled(gradients):
            return function(item)

    with undivided():
        return list(_pool(count).map(task, items))


@contextlib.contextmanager
def undivided() -> Iterator[None]:
    """Operations of this thread are not divided among threads; :func:`spread` still is.

    After a divided operation the other threads wait busily for the next one, which takes the
    processor from those of :func:`spread`.
    """
    if hasattr(_local, "count"):
        yield
        return
    _local.count = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(_local.count)
        del _local.count


_local = threading.local()


@functools.cache
def _pool(count: int) -> ThreadPoolExecutor:
    def start() -> None:
        _local.count = 1
        torch.set_num_threads(1)

    return ThreadPoolExecutor(count, thread_name_prefix="acie", initializer=start)
