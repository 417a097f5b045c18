"""What a device can do at best: its measured rate of operations and of memory."""

__all__ = ["Machine", "measure_machine", "synchronise"]

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

#: Sides of the matrices, and bytes of the arrays that are added: far beyond any cache.
_SIDES = {"cpu": (1536, 2048), "cuda": (4096, 8192), "mps": (2048, 4096)}
_BYTES = {"cpu": 2**28, "cuda": 2**30, "mps": 2**29}
_REPEATS = 7


@dataclass(frozen=True)
class Machine:
    """A device and the two numbers of its roofline.

    References:
        Williams, Waterman & Patterson 2009, Communications of the ACM 52(4), 65.

    Arguments:
        device: ``cpu``, ``cuda:0``, ...
        name: Of the processor.
        threads: Threads of torch, for the CPU.
        operations_per_s: Best rate of a product of float32 matrices, floating point operations
            per second.
        bytes_per_s: Best rate at which a sum of two long float32 arrays is read and written.
    """

    device: str
    name: str
    threads: int
    operations_per_s: float
    bytes_per_s: float


def measure_machine(device: torch.device) -> Machine:
    """Measure a device; takes about a second."""
    best = 0.0
    for side in _SIDES.get(device.type, _SIDES["cpu"]):
        left, right = (torch.rand(side, side, device=device) for _ in range(2))
        out = torch.empty_like(left)
        best = max(best, 2.0 * side**3 / _shortest(lambda: torch.mm(left, right, out=out), device))  # noqa: B023
    count = _BYTES.get(device.type, _BYTES["cpu"]) // 4
    first, second = (torch.ones(count, device=device) for _ in range(2))
    total = torch.empty_like(first)
    seconds = _shortest(lambda: torch.add(first, second, out=total), device)
    return Machine(
        device=str(device),
        name=_name(device),
        threads=torch.get_num_threads(),
        operations_per_s=best,
        bytes_per_s=3.0 * 4.0 * count / seconds,
    )


def synchronise(device: torch.device) -> None:
    """Wait until a device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _shortest(function: Callable[[], object], device: torch.device) -> float:
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        function()
        synchronise(device)
        times.append(time.perf_counter() - start)
    return min(times)


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model n"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
