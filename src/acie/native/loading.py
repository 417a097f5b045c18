"""Finds the compiled module, and says when it may be used."""

__all__ = ["available", "kernels", "kernels_off", "usable"]

import contextlib
import importlib
import os
from collections.abc import Iterator
from types import ModuleType

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

#: The compiled module, or None. Its functions check nothing: see :func:`usable`.
kernels: ModuleType | None = None
if os.environ.get("ACIE_NATIVE") != "0":
    # Where the package was built without a compiler there is none.
    with contextlib.suppress(ImportError):
        kernels = importlib.import_module("acie.native._kernels")

_off = False


def available() -> bool:
    """Whether there are compiled kernels here."""
    return kernels is not None and not _off


@contextlib.contextmanager
def kernels_off() -> Iterator[None]:
    """Nothing in this process takes a kernel meanwhile: to compare the two, in time or numbers."""
    global _off
    before, _off = _off, True
    try:
        yield
    finally:
        _off = before


def usable(*tensors: Tensor, dtype: torch.dtype = torch.float32) -> bool:
    """Whether kernels may take these tensors, and nothing is being recorded or differentiated.

    Arguments:
        tensors: What is read; the caller sees to it that they are contiguous.
        dtype: Their precision.
    """
    if not available() or torch.jit.is_tracing() or is_in_torch_dispatch_mode():
        return False
    gradients = torch.is_grad_enabled()
    return all(
        type(tensor) is Tensor
        and tensor.dtype == dtype
        and tensor.device.type == "cpu"
        and not (gradients and tensor.requires_grad)
        for tensor in tensors
    )
