"""How many operations a computation takes and how many bytes it moves."""

__all__ = ["Work", "count_work"]

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from acie.native import kernels_off


@dataclass(frozen=True)
class Work:
    """What a computation asks of the machine.

    Arguments:
        operations: Floating point operations: exact for products of matrices, 2.5 n log2 n for a
            real Fourier transform of n numbers, one per number for everything else.
        moved: Bytes that each operation reads and writes, as if nothing stayed in a cache between
            two operations.
        calls: Operations of torch, whatever their size.
    """

    operations: float
    moved: float
    calls: int


def count_work(function: Callable[[], object]) -> Work:
    """Run once on this thread and count.

    Work that :func:`acie.threads.spread` would hand to other threads is done by this one, and what
    compiled kernels would do (:mod:`acie.native`) by the operations of torch that they stand for.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with kernels_off(), _Counter() as counter:
            function()
    finally:
        torch.set_num_threads(threads)
    return Work(counter.operations, counter.moved, counter.calls)


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operations, self.moved, self.calls = 0.0, 0.0, 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if not func.is_view:
            inputs, outputs = _tensors((args, kwargs)), _tensors(out)
            self.calls += 1
            self.moved += sum(_bytes(tensor) for tensor in (*inputs, *outputs))
            self.operations += _operations(func, args, kwargs, inputs, outputs, out)
        return out


def _operations(
    func: Any, args: tuple, kwargs: dict, inputs: list[Tensor], outputs: list[Tensor], out: Any
) -> float:
    packet = func._overloadpacket
    if packet in flop_registry:
        return float(flop_registry[packet](*args, **kwargs, out_val=out))
    largest = max((tensor.numel() for tensor in (*inputs, *outputs)), default=0)
    if "_fft_" in packet.__name__:
        length = max(tensor.shape[-1] for tensor in (*inputs, *outputs) if tensor.ndim)
        return largest * 2.5 * math.log2(max(length, 2))
    return float(largest)


def _bytes(tensor: Tensor) -> int:
    """Bytes that are really there: an expanded axis is read from the cache."""
    sizes = [
        size for size, step in zip(tensor.shape, tensor.stride(), strict=True) if step or size == 1
    ]
    return math.prod(sizes) * tensor.element_size()


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return []
    return [tensor for item in value for tensor in _tensors(item)]
