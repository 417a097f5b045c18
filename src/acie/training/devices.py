"""Which devices a training run uses, checked before anything is computed."""

__all__ = ["DevicePlan", "from_environment"]

import importlib.util
import os
import shutil
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch

from acie.device import pick_device
from acie.errors import ConfigurationError
from acie.training.config import TrainConfig

_PRECISIONS = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
#: How long a process waits for the others: the first one builds templates and components alone.
_PATIENCE = timedelta(hours=2)


@dataclass(frozen=True)
class DevicePlan:
    """Devices and processes of a run.

    Arguments:
        device: The first device, or that of every process where there are several.
        devices: Processes per machine, each with a device of its own.
        nodes: Machines.
        precision: Lightning's name of it.
        deterministic: Whether torch is asked for algorithms that repeat themselves.
    """

    device: torch.device
    devices: int
    nodes: int
    precision: str
    deterministic: bool

    @classmethod
    def of(cls, config: TrainConfig) -> "DevicePlan":
        """The plan of a configuration.

        Raises:
            ConfigurationError: A device that is not there, more devices than there are, a
                precision that the device lacks, a batch that the processes cannot share, no
                compiler.
        """
        device = pick_device(config.device)
        _check_count(device, config.devices, config.nodes)
        _check_precision(device, config.precision)
        _check_compiler(device, config.compile)
        plan = cls(device, config.devices, config.nodes, config.precision, config.deterministic)
        plan._check_batch(config)
        return plan

    @property
    def processes(self) -> int:
        """Processes on all machines."""
        return self.devices * self.nodes

    @property
    def backend(self) -> str:
        """What carries messages between the processes."""
        return "nccl" if self.device.type == "cuda" else "gloo"

    @property
    def accelerator(self) -> str:
        """Lightning's name of the kind of device."""
        return {"cuda": "gpu"}.get(self.device.type, self.device.type)

    def trainer_arguments(self) -> dict[str, Any]:
        """What ``lightning.Trainer`` must be told."""
        # On CUDA the running sum in the splines has no deterministic kernel: torch warns.
        strict = "warn" if self.device.type == "cuda" else True
        one = self.processes == 1 and self.device.index is not None
        return {
            "accelerator": self.accelerator,
            "devices": [self.device.index] if one else self.devices,
            "num_nodes": self.nodes,
            "strategy": "auto" if self.processes == 1 else self._strategy("pytorch"),
            "precision": self.precision,
            "deterministic": strict if self.deterministic else None,
            # Batches are shared by rank already.
            "use_distributed_sampler": False,
        }

    def launcher(self) -> Any:
        """Lightning's Fabric, which starts the other processes."""
        from lightning import Fabric

        return Fabric(
            accelerator=self.accelerator,
            devices=self.devices,
            num_nodes=self.nodes,
            strategy=self._strategy("fabric"),
        )

    def _strategy(self, part: str) -> Any:
        module = importlib.import_module(f"lightning.{part}.strategies")
        return module.DDPStrategy(
            process_group_backend=self.backend,
            timeout=_PATIENCE,
            gradient_as_bucket_view=True,
        )

    def _check_batch(self, config: TrainConfig) -> None:
        parts = self.processes * config.accumulate
        if config.batch % parts:
            raise ConfigurationError(
                "batch",
                expected=f"a multiple of {parts}: {self.processes} processes"
                f" times {config.accumulate} parts of each",
                found=str(config.batch),
                remedy=f"The batch is that of all processes; the nearest smaller one that they"
                f" can share is {config.batch // parts * parts or parts}.",
            )
        if config.validation < self.processes:
            raise ConfigurationError(
                "validation",
                expected=f"at least one row for each of {self.processes} processes",
                found=str(config.validation),
            )


def _check_count(device: torch.device, devices: int, nodes: int) -> None:
    if device.type == "cpu":
        return
    present = torch.cuda.device_count() if device.type == "cuda" else 1
    if devices > present:
        raise ConfigurationError(
            "devices",
            expected=f"at most {present}, the number of {device.type} devices of this machine",
            found=str(devices),
            remedy="Ask for fewer with --gpus, or for processes of the CPU with"
            " --device cpu --processes N.",
        )
    if device.index is not None and devices * nodes > 1:
        raise ConfigurationError(
            "device", expected=f"{device.type}, for several processes", found=str(device)
        )


def _check_precision(device: torch.device, precision: str) -> None:
    if precision not in _PRECISIONS:
        raise ConfigurationError(
            "precision", expected=", ".join(_PRECISIONS), found=repr(precision)
        )
    if not _computes_in(device, _PRECISIONS[precision]):
        raise ConfigurationError(
            "precision",
            expected=f"one that {device} computes in",
            found=precision,
            remedy="Use --precision 32-true"
            + (", or bf16-mixed." if precision == "16-mixed" else "."),
        )


def _computes_in(device: torch.device, dtype: torch.dtype) -> bool:
    if dtype == torch.float32:
        return True
    if device.type == "cuda" and dtype == torch.bfloat16:
        # Older cards emulate it, which is slower than single precision.
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu" and dtype == torch.float16:
        # Lightning would quietly take bfloat16 instead.
        return False
    try:
        one = torch.ones(1, 1, dtype=dtype, device=device)
        return bool((one @ one == 1.0).all())
    except (RuntimeError, TypeError):
        return False


def _check_compiler(device: torch.device, wanted: bool) -> None:
    if not wanted or device.type == "mps":
        return
    if device.type == "cuda":
        name, there = "triton", importlib.util.find_spec("triton") is not None
    else:
        names = [os.environ[k] for k in ("CXX",) if k in os.environ] or ["g++", "clang++"]
        name, there = " or ".join(names), any(shutil.which(entry) for entry in names)
    if not there:
        raise ConfigurationError(
            "compile",
            expected=f"a compiler, {name}, for {device.type}",
            found="none",
            remedy="Install it, or set compile to false.",
        )


def from_environment() -> tuple[int, int] | None:
    """Processes per machine and machines, as torchrun or SLURM has started them, if it has."""
    from lightning.fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

    if TorchElasticEnvironment.detect():
        total, own = (int(os.environ[k]) for k in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
        return own, total // own
    if SLURMEnvironment.detect():
        nodes = int(os.environ.get("SLURM_NNODES", os.environ.get("SLURM_JOB_NUM_NODES", "1")))
        return SLURMEnvironment().world_size() // nodes, nodes
    return None
