"""Choice of device: CUDA, then Apple's MPS, then the CPU; and where precision may be lowered."""

__all__ = ["describe_devices", "full_precision", "pick_device"]

import contextlib

import torch

from acie.errors import ConfigurationError

_KINDS = ("cuda", "mps", "cpu")


def pick_device(device: str | torch.device = "auto") -> torch.device:
    """The device to compute on.

    Arguments:
        device: ``"auto"`` takes CUDA, then MPS, then the CPU; anything else is a torch device.

    Raises:
        ConfigurationError: When the device is unknown or not present.

    Example:
        >>> pick_device("cpu")
        device(type='cpu')
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # torch goes on to list all that it knows.
        reason = str(error).splitlines()[0].split(". ")[0].split(" device type at ")[0]
        raise _unusable(device, reason) from None
    if chosen.type not in _KINDS:
        raise _unusable(device, "ACIE does not use this kind of device")
    return chosen


def _unusable(device: str | torch.device, reason: str) -> ConfigurationError:
    return ConfigurationError(
        "device",
        expected="auto, cpu, mps, cuda or cuda:N, present on this machine",
        found=str(device),
        remedy=f"Use device='auto' ({reason}).",
    )


def full_precision(like: torch.Tensor) -> contextlib.AbstractContextManager:
    """A block in which operations keep the precision of their inputs, autocast or not.

    Arguments:
        like: A tensor on the device of the block.
    """
    kind = like.device.type
    if torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return contextlib.nullcontext()


def describe_devices() -> list[tuple[str, str]]:
    """Name of each device of this machine and what it is, the preferred kind first."""
    found = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        facts = torch.cuda.get_device_properties(index)
        bf16 = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no bf16"
        text = f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB, {bf16}"
        found.append((f"cuda:{index}", text))
    if torch.backends.mps.is_available():
        found.append(("mps", "single precision only: simulations are made on the CPU"))
    return [*found, ("cpu", f"{torch.get_num_threads()} threads")]
