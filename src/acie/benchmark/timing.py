"""Times, memory and energy of something that is done again and again."""

__all__ = ["Measurement", "measure"]

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from acie.benchmark.machine import synchronise

#: Calls at least, however long they take.
_LEAST = 5
_RAPL = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Measurement:
    """What was measured of one stage.

    Arguments:
        seconds: Duration of each call.
        items: Galaxies, spectra or states per call.
        memory_mb: Most memory in use: of the process, or of what torch had on an accelerator.
        energy_j: Energy of all calls, of the whole processor; None where it cannot be read.
    """

    seconds: tuple[float, ...]
    items: int
    memory_mb: float
    energy_j: float | None

    def percentile(self, share: float) -> float:
        """Duration in seconds that this share of the calls did not exceed."""
        times = sorted(self.seconds)
        return times[min(len(times) - 1, int(share * len(times)))]

    @property
    def per_second(self) -> float:
        """Items per second over all calls."""
        return self.items * len(self.seconds) / sum(self.seconds)


def measure(
    function: Callable[[], object], items: int, device: torch.device, seconds: float
) -> Measurement:
    """Call a function for some time after one call that is not counted.

    Arguments:
        function: What is measured.
        items: What one call does, for the throughput.
        device: Waited for after each call.
        seconds: For how long; five calls at least.
    """
    function()
    synchronise(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    energy, begin, times = _Energy(device), time.perf_counter(), []
    while len(times) < _LEAST or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        function()
        synchronise(device)
        times.append(time.perf_counter() - start)
    return Measurement(tuple(times), items, _memory_mb(device), energy.joules(sum(times)))


def _memory_mb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if device.type == "mps":
        return torch.mps.driver_allocated_memory() / 2**20
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text("utf-8").splitlines()
        return int(next(row for row in lines if row.startswith("VmRSS")).split()[1]) / 1024.0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


class _Energy:
    """Counters of the processor's packages, or the power of an accelerator times the time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before = self._packages()

    def joules(self, seconds: float) -> float | None:
        if self._device.type == "cuda":
            try:
                return torch.cuda.power_draw(self._device) * 1e-3 * seconds
            except Exception:
                # It needs a library of the driver that may be missing.
                return None
        after = self._packages()
        if not self._before or len(after) != len(self._before):
            return None
        used = [late - early for early, late in zip(self._before, after, strict=True)]
        # A counter that started again from zero tells nothing.
        return sum(used) * 1e-6 if min(used) >= 0 else None

    @staticmethod
    def _packages() -> list[int]:
        found = []
        for path in sorted(_RAPL.glob("intel-rapl:[0-9]/energy_uj")):
            try:
                found.append(int(path.read_text()))
            except (OSError, ValueError):
                return []
        return found
