"""Safetensors files that are whole or not there."""

__all__ = ["find_tensors", "read_tensors", "write_tensors"]

import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from acie.errors import DataError


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a file aside and rename it: a kill leaves a whole file or none."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial)
    partial.replace(path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a file.

    Raises:
        DataError: The file is not there or not whole.
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise DataError(
            str(path),
            expected="a whole safetensors file of this run",
            found=str(error).splitlines()[0],
            remedy="Delete it and start again: it will be made anew.",
        ) from None


def find_tensors(path: Path) -> dict[str, Tensor] | None:
    """Tensors of a file; None where it is missing or torn, and so is to be made again."""
    try:
        return read_tensors(path)
    except DataError:
        return None
