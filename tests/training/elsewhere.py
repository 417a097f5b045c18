"""Tensors that claim to lie on another device, on a machine that has none.

Their numbers are real and are computed on the processor; their ``device`` is torch's ``meta``. An
operation that mixes one of them with a tensor of the processor raises, as it does on a GPU, where
only tensors without axes and indices may come from elsewhere.
"""

from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

ELSEWHERE = torch.device("meta")


class There(torch.Tensor):
    """A tensor of the processor that says it is elsewhere."""

    @staticmethod
    def __new__(cls, real):
        found = torch.Tensor._make_wrapper_subclass(
            cls, real.shape, strides=real.stride(), storage_offset=real.storage_offset(),
            dtype=real.dtype, device=ELSEWHERE,
        )  # fmt: skip
        found.numbers = real
        return found

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})


class _Numbers(TorchFunctionMode):
    """``torch.tensor`` and its kin copy to a device where no dispatch mode sees it."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function is torch.Tensor.new_tensor and type(args[0]) is There:
            kwargs = {"dtype": args[0].dtype, **kwargs}
            return There(torch.tensor(*args[1:], **kwargs))
        if function in (torch.tensor, torch.as_tensor) and _is_there(kwargs.get("device")):
            if type(args[0]) is There:
                return args[0].to(kwargs.get("dtype", args[0].dtype))
            return There(function(*args, **{**kwargs, "device": "cpu"}))
        return function(*args, **kwargs)


def real(value):
    """The numbers of a tensor from elsewhere."""
    return value.numbers if type(value) is There else value


def _is_there(device):
    return device is not None and torch.device(device) == ELSEWHERE


def _wrap(value):
    return There(value) if isinstance(value, torch.Tensor) and type(value) is not There else value


def _run(function, args, kwargs):
    name = function.overloadpacket.__name__
    tensors = [v for v in tree_leaves((args, kwargs)) if isinstance(v, torch.Tensor)]
    there = any(type(v) is There for v in tensors)
    here = [v for v in tensors if type(v) is not There and v.ndim > 0]
    if there and here and name not in ("copy_", "_to_copy", "index"):
        raise RuntimeError(f"{name}: a tensor of shape {tuple(here[0].shape)} is elsewhere")
    device = kwargs.get("device")
    plain = {key: value for key, value in kwargs.items() if key != "pin_memory"}
    if _is_there(device):
        plain["device"] = torch.device("cpu")
    result = function(*tree_map(real, args), **tree_map(real, plain))
    if function._schema.is_mutable and type(args[0]) is There:
        return args[0]
    if device is not None:
        return _wrap(result) if _is_there(device) else result
    return tree_map(_wrap, result) if there else result


@contextmanager
def another_device():
    """A block in which tensors can be made on ``ELSEWHERE``."""
    with _Numbers(), _Operations():
        yield ELSEWHERE
