"""Choice of device: CUDA, then Apple's MPS, then the CPU."""

__all__ = ["pick_device"]

import torch

from acie.errors import ConfigurationError


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
        raise ConfigurationError(
            "device",
            expected="auto, cpu, mps, cuda or cuda:N, present on this machine",
            found=str(device),
            remedy=f"Use device='auto' ({str(error).splitlines()[0]}).",
        ) from None
    return chosen
