"""A module as a graph, by writing down what it does to an example.

The exporter of torch reasons about every size of every array in symbols, which takes minutes for
the thousands of small steps of the causal model. Here the module runs once, on an example whose
dynamic sizes are prime numbers that occur nowhere else, and each operation of torch becomes the
nodes that :mod:`acie.export.graph.operators` has for it. What the module reads off its numbers,
as a condition would, cannot be part of a graph and is refused.
"""

__all__ = ["Recorder", "record"]

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from acie.errors import ConfigurationError
from acie.export.graph.operators import OPERATORS
from acie.export.graph.tape import Tape

#: Operations that make arrays of constants, whatever they are given.
_CONSTANT = {
    "arange", "empty", "eye", "full", "full_like", "new_full", "new_zeros", "ones_like",
    "scalar_tensor", "zeros_like",
}  # fmt: skip


def record(
    module: nn.Module,
    inputs: Mapping[str, tuple[Tensor, Sequence[str]]],
    outputs: Sequence[str],
) -> onnx.ModelProto:
    """The graph of a module.

    Arguments:
        module: Takes the inputs in this order.
        inputs: For each an example and the names of its axes, empty where the size is fixed. The
            size of a dynamic axis is a prime number of which no other size is a multiple.
        outputs: Their names.

    Returns:
        A model that names its dynamic axes and holds its weights, called as in the module.

    Raises:
        ConfigurationError: The module does what a graph cannot.
    """
    sizes: dict[str, int] = {}
    for example, axes in inputs.values():
        sizes |= {axis: n for axis, n in zip(axes, example.shape, strict=True) if axis}
    recorder = Recorder(sizes, module)
    for name, (example, axes) in inputs.items():
        recorder.add_input(name, example, axes)
    with torch.no_grad(), recorder:
        found = module(*(example for example, _ in inputs.values()))
    found = (found,) if isinstance(found, Tensor) else found
    axes = {n: axis for axis, n in sizes.items()}
    return recorder.tape.model(
        {name: (_kind(example), _axes(example, axes)) for name, (example, _) in inputs.items()},
        {
            name: (recorder.name(part), _kind(part), _axes(part, axes))
            for name, part in zip(outputs, found, strict=True)
        },
    )


def _axes(value: Tensor, axes: Mapping[int, str]) -> list[str | int]:
    """Names or sizes of the axes of an example."""
    return [axes.get(n, n) for n in value.shape]


def _kind(value: Tensor) -> type:
    return torch.empty(0, dtype=value.dtype).numpy().dtype.type


class Recorder(TorchDispatchMode):
    """Writes the operations on what it was given to a tape.

    Arguments:
        sizes: Of the dynamic axes in the example.
        module: Gives the names of its weights.
    """

    def __init__(self, sizes: Mapping[str, int], module: nn.Module) -> None:
        super().__init__()
        self.tape = Tape()
        self._sizes = dict(sizes)
        self._scalars: dict[int, str] = {}
        weights = (*module.named_parameters(), *module.named_buffers())
        self._weights = {id(value): name for name, value in weights}
        # Arrays are kept, so that none takes the place of another in memory.
        self._names: dict[int, tuple[Tensor, str]] = {}

    def add_input(self, name: str, example: Tensor, axes: Sequence[str]) -> None:
        """An input of the graph."""
        self._names[id(example)] = (example, name)
        for place, axis in enumerate(axes):
            if axis and self._sizes[axis] not in self._scalars:
                self._scalars[self._sizes[axis]] = self.tape.size(name, place)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Compute it, and write it down."""
        kwargs = kwargs or {}
        kind = func._schema.name.removeprefix("aten::")
        given = [part for part in _arrays((*args, *kwargs.values())) if id(part) in self._names]
        if not given or kind in _CONSTANT:
            return func(*args, **kwargs)
        if kind not in OPERATORS:
            raise ConfigurationError(
                "module",
                expected="operations that a graph has",
                found=str(func),
                remedy="Add it to acie.export.graph.operators, unless it reads off a number.",
            )
        # Before the example changes, where it is changed in place.
        inputs = {id(part): self.name(part) for part in _arrays((*args, *kwargs.values()))}
        made = func(*args, **kwargs)
        names = OPERATORS[kind](_Call(self, inputs), made, *args, **kwargs)
        many = isinstance(made, tuple | list)
        pairs = zip(made, names, strict=True) if many else [(made, names)]
        for part, name in pairs:
            self._names[id(part)] = (part, name)
        return made

    def name(self, value: Tensor) -> str:
        """What an array is called on the tape; one that depends on no input is a constant."""
        if id(value) in self._names:
            return self._names[id(value)][1]
        if id(value) in self._weights:
            return self.tape.weight(self._weights[id(value)], value.detach().numpy())
        rows = [place for place, n in enumerate(value.shape) if self.scalar(n) is not None]
        constant = value
        for place in rows:
            constant = constant.narrow(place, 0, 1)
        if rows and not torch.equal(constant.expand_as(value), value):
            raise ConfigurationError(
                "module", expected="constants of fixed sizes", found=f"shape {tuple(value.shape)}"
            )
        name = self.tape.constant(constant.detach().numpy())
        return self.tape.Expand(name, self.shape(value)) if rows else name

    def shape(self, value: Tensor) -> str | np.ndarray:
        """The shape of an array, for Expand and Reshape."""
        return self.tape.shape(*(self.scalar(n) or n for n in value.shape))

    def scalar(self, size: int) -> str | None:
        """The name of a size that is dynamic, or of a product of such and a number."""
        if size not in self._scalars and size:
            names = [self._scalars[own] for own in self._sizes.values() if size % own == 0]
            if not names:
                return None
            whole = math.prod(own for own in self._sizes.values() if size % own == 0)
            product = self.tape.constant(np.int64(size // whole))
            for name in names:
                product = self.tape.Mul(product, name)
            self._scalars[size] = product
        return self._scalars.get(size)


class _Call:
    """One operation, for its translation.

    Arguments:
        recorder: Has the tape.
        names: Of its arrays, by identity.
    """

    def __init__(self, recorder: Recorder, names: Mapping[int, str]) -> None:
        self.recorder, self.tape, self._names = recorder, recorder.tape, names

    def of(self, value: Any, dtype: torch.dtype | None = None) -> str:
        """The name of an array or number, cast to a type where one is given."""
        if not isinstance(value, Tensor):
            value = torch.tensor(value, dtype=dtype)
            return self.tape.constant(value.numpy()[()])
        name = self._names[id(value)]
        if dtype is None or value.dtype == dtype:
            return name
        return self.tape.Cast(name, to=onnx_type(dtype))


def onnx_type(dtype: torch.dtype) -> int:
    """The number that ONNX has for a type."""
    kind = torch.empty(0, dtype=dtype).numpy().dtype
    return onnx.helper.np_dtype_to_tensor_dtype(kind)


def _arrays(values: Any) -> list[Tensor]:
    found = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found.extend(_arrays(value))
    return found
