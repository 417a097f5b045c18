"""Compiled kernels for what an answer spends its time on, where they were built and may be used.

They do what the torch code beside each of their callers does, in one pass over memory in place of
ten, on the CPU, in single precision, without derivatives. That code remains what counts: it is
taken wherever a kernel may not be, and the tests compare the two. ``ACIE_NATIVE=0`` in the
environment switches the kernels off.
"""

__all__ = ["available", "kernels", "usable"]

import os
from types import ModuleType

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

try:
    from acie.native import _kernels
except ImportError:
    # There was no compiler where the package was built.
    _kernels = None

#: The compiled module, or None. Its functions check nothing: see :func:`usable`.
kernels: ModuleType | None = None if os.environ.get("ACIE_NATIVE") == "0" else _kernels


def available() -> bool:
    """Whether there are compiled kernels here."""
    return kernels is not None


def usable(*tensors: Tensor) -> bool:
    """Whether kernels may take these tensors, and nothing is being recorded or differentiated.

    Arguments:
        tensors: What is read; the caller sees to it that they are contiguous.
    """
    if kernels is None or torch.jit.is_tracing() or is_in_torch_dispatch_mode():
        return False
    gradients = torch.is_grad_enabled()
    return all(
        type(tensor) is Tensor
        and tensor.dtype == torch.float32
        and tensor.device.type == "cpu"
        and not (gradients and tensor.requires_grad)
        for tensor in tensors
    )
