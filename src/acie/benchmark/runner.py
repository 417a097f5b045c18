"""A benchmark from its settings to a table of plain numbers."""

__all__ = ["run_benchmark"]

import platform
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import acie
from acie.benchmark.config import BenchmarkConfig
from acie.benchmark.dataset import BenchmarkSet, size_of
from acie.benchmark.machine import Machine, measure_machine
from acie.benchmark.stage import Stage
from acie.benchmark.stages import stages_of
from acie.benchmark.timing import measure
from acie.benchmark.work import count_work
from acie.device import pick_device
from acie.engine import CounterfactualEngine
from acie.errors import ConfigurationError
from acie.folders import cache_folder
from acie.manifest import bundle_kind

#: Raised when the meaning of the numbers changes.
_FORMAT = 1


def run_benchmark(
    config: BenchmarkConfig,
    *,
    folder: Path | None = None,
    progress: Callable[[str, float], None] = lambda text, share: None,
) -> dict[str, Any]:
    """Measure every stage on every device that is asked for.

    Arguments:
        config: Settings.
        folder: Where sets of observations are kept; the cache when left out.
        progress: Called with what is done now, and the share of it that is done.

    Returns:
        Plain data: settings, model, set, machines, and one row for each stage and device.

    Raises:
        ConfigurationError: A setting is wrong, or the model is not of galaxies.
    """
    devices = _devices(config.device)
    count = size_of(config.dataset)
    engine = _engine(config.model)
    data = BenchmarkSet(engine, count, config.seed, folder or cache_folder())
    data.prepare(lambda done: progress(f"observations of {config.dataset}", done / count))
    rows, machines = [], []
    for device in devices:
        progress(f"the machine: {device}", 0.0)
        machines.append(measure_machine(device))
        for number, stage in enumerate(stages_of(engine, data, config, device)):
            progress(f"{stage.name} on {device}", number / len(config.stages))
            rows.append(_measured(stage, machines[-1], config.seconds))
    return {
        "format": _FORMAT,
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "settings": asdict(config),
        "model": {
            "name": engine.bundle.name,
            "version": engine.bundle.version,
            "digest": engine.bundle.digest,
        },
        "dataset": {"galaxies": count, "key": data.key},
        "versions": {
            "acie": acie.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "machines": [asdict(machine) for machine in machines],
        "stages": rows,
    }


def _measured(stage: Stage, machine: Machine, seconds: float) -> dict[str, Any]:
    found = measure(stage.call, stage.items, torch.device(machine.device), seconds)
    work = count_work(stage.counted or stage.call)
    median = found.percentile(0.5)
    return {
        "stage": stage.name,
        "device": machine.device,
        "unit": stage.unit,
        "items": stage.items,
        "calls": len(found.seconds),
        "per_second": found.per_second,
        "latency_ms": {
            name: 1e3 * found.percentile(share)
            for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
        },
        "memory_mb": found.memory_mb,
        "energy_j_per_item": None
        if found.energy_j is None
        else found.energy_j / (len(found.seconds) * stage.items),
        "operations_per_item": work.operations / stage.items,
        "bytes_per_item": work.moved / stage.items,
        "torch_calls": work.calls,
        "share_of_operations": work.operations / machine.operations_per_s / median,
        "share_of_memory": work.moved / machine.bytes_per_s / median,
    }


def _devices(name: str) -> list[torch.device]:
    if name != "all":
        return [pick_device(name)]
    found = [torch.device("cpu")]
    if torch.cuda.is_available():
        found += [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append(torch.device("mps"))
    return found


def _engine(model: str) -> CounterfactualEngine:
    if bundle_kind(model) != "galaxy":
        raise ConfigurationError(
            "--model", expected="a model of galaxies", found=f"{model}, a model of a catalogue"
        )
    return CounterfactualEngine.load(model)
