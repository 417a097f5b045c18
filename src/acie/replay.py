"""Functions of tensors that are written down once and played back without Python.

An answer about one galaxy is thousands of operations on a few hundred numbers each; calling them
from Python takes longer than computing them. A :class:`Replay` has torch trace a function once it
has been called a few times, and from then on runs the trace. Playing back gives the same numbers
bit for bit, because it calls the same operations in the same order.

What a plain trace gets wrong is looked after here. A condition on the numbers becomes a guard: the
trace returns it, and where it is not what it was, the function itself is called. Whatever else
would be frozen in silence (random draws, loops over a tensor's length, numbers read off it) makes
the function one that is never recorded.

``torch.jit`` is no longer developed. Where it is missing or fails, every function is called as it
is: slower, with the same result.
"""

__all__ = ["Constant", "Replay", "call", "recordings_off"]

import contextlib
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

#: Calls of one kind before a recording, which costs what about as many recorded ones save: whoever
#: asks a few questions only does not pay for it.
_PATIENCE = 64
#: Recordings of one :class:`Replay` that are kept, those used last.
_KEPT = 32
#: What reads numbers or sizes off a tensor.
_READ = (
    Tensor.__len__, Tensor.__float__, Tensor.__int__, Tensor.__index__, Tensor.item,
    Tensor.tolist, Tensor.numpy,
)  # fmt: skip

#: What is not taken apart, beside what has no attributes.
_WHOLE = (nn.Module, FunctionType, type, Enum)

_off = threading.local()
# One at a time: what is done to the warnings meanwhile holds for the whole process.
_recording = threading.Lock()


class Constant:
    """What is the same in every call: a recording holds for one of these, whatever is in it."""


def call(key: Hashable, function: Callable[..., Any], *arguments: Any) -> Any:
    """``function(*arguments)``: takes the place of a :class:`Replay` where there is none."""
    return function(*arguments)


@contextlib.contextmanager
def recordings_off() -> Iterator[None]:
    """Within it every function is called as it is, by this thread."""
    before, _off.value = getattr(_off, "value", False), True
    try:
        yield
    finally:
        _off.value = before


class Replay:
    """Calls functions of tensors, and plays them back once they have been called often.

    Only on the CPU and without gradients; elsewhere functions are called as they are.

    Arguments:
        patience: Calls of one kind before it is recorded.
    """

    def __init__(self, patience: int = _PATIENCE) -> None:
        self.patience = patience
        self._kept: OrderedDict[Hashable, _Recording | int | None] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, key: Hashable, function: Callable[..., Any], *arguments: Any) -> Any:
        """``function(*arguments)``.

        Arguments:
            key: Names the function and what it depends on beside its arguments.
            function: Maps its arguments to a tensor, or to tuples, lists, dictionaries and
                objects of tensors, and changes none of them.
            arguments: Of the same kinds. A recording holds for tensors of any size with the same
                axes, but for one value only of all else that is in them.
        """
        if torch.is_grad_enabled() or getattr(_off, "value", False):
            return function(*arguments)
        leaves: list[Tensor] = []
        fixed: list[Hashable] = []
        rebuild = _take_apart(arguments, leaves, fixed)
        if any(leaf.device.type != "cpu" for leaf in leaves):
            return function(*arguments)
        # An axis of size one broadcasts, so it is not just another size.
        axes = tuple((leaf.dtype, *(n == 1 for n in leaf.shape)) for leaf in leaves)
        known, full = self._look_up((key, *fixed, axes))
        if isinstance(known, _Recording):
            result, valid = known(leaves)
            return result if valid else function(*arguments)
        result = function(*arguments)
        if known == self.patience:
            with _recording:
                recording = _record(function, rebuild, leaves, result)
            with self._lock:
                self._kept[full] = recording
        return result

    def _look_up(self, full: Hashable) -> "tuple[_Recording | int | None, Hashable]":
        """A recording, the number of calls so far, or none where there can be no recording."""
        with self._lock:
            known = self._kept.setdefault(full, 0)
            self._kept.move_to_end(full)
            if isinstance(known, int):
                self._kept[full] = known = known + 1
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return known, full

    def recorded(self) -> list[Hashable]:
        """Keys of what is played back."""
        return [full[0] for full, known in self._kept.items() if isinstance(known, _Recording)]


class _UnrecordableError(Exception):
    """The function does what no recording can."""


@dataclass(frozen=True)
class _Recording:
    """A trace and the form of its result.

    Arguments:
        run: The trace.
        guards: Conditions under which it holds; the trace returns them after its results.
        constants: Tensors of the result that are always the same, and none for each other one.
        rebuild: Makes the result of its tensors.
    """

    run: Callable[..., Any]
    guards: tuple[bool, ...]
    constants: tuple[Tensor | None, ...]
    rebuild: Callable[[Iterator[Tensor]], Any]

    def __call__(self, leaves: list[Tensor]) -> tuple[Any, bool]:
        """The result, and whether it is one."""
        try:
            *found, guards = self.run(*leaves)
        except RuntimeError:
            # The function itself says better what is wrong, if anything is.
            return None, False
        if self.guards and tuple(guards.tolist()) != self.guards:
            return None, False
        rest = iter(found)
        return self.rebuild(next(rest) if c is None else c for c in self.constants), True


def _record(
    function: Callable[..., Any], rebuild: Callable, leaves: list[Tensor], expected: Any
) -> _Recording | None:
    """The recording of a function, or none where it cannot have one."""
    conditions, form, constants = _Conditions(), [], []

    def flat(*inputs: Tensor) -> tuple[Tensor, ...]:
        with conditions:
            result = function(*rebuild(iter(inputs)))
        found: list[Tensor] = []
        form.append(_take_apart(result, found, []))
        constants.extend(part if _is_constant(part) else None for part in found)
        moving = [part for part, same in zip(found, constants, strict=True) if same is None]
        guards = [condition.reshape(()) for condition, _ in conditions.met]
        return (*moving, torch.stack(guards) if guards else torch.zeros(0, dtype=torch.bool))

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("error", torch.jit.TracerWarning)
            run = torch.jit.trace(flat, tuple(leaves), check_trace=False)
        guards = tuple(value for _, value in conditions.met)
        recording = _Recording(run, guards, tuple(constants), form[-1])
        again, valid = recording(leaves)
    except Exception:  # Whatever it is, there is an answer without a recording.
        return None
    ours: list[Tensor] = []
    theirs: list[Tensor] = []
    _take_apart(again, ours, [])
    _take_apart(expected, theirs, [])
    return recording if valid and all(map(_same, ours, theirs)) else None


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal, where they are not numbers too."""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    return bool(((one == other) | (one.isnan() & other.isnan())).all())


class _Conditions(TorchFunctionMode):
    """Keeps what a function asks of its tensors while it is traced, and refuses the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.met: list[tuple[Tensor, bool]] = []

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: Mapping | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if kwargs.get("generator") is not None:
            raise _UnrecordableError(f"{func.__name__} draws random numbers")
        if func is Tensor.__bool__:
            with _silence():
                value = func(*args)
            self.met.append((args[0].bool(), value))
            return value
        if func in (torch.as_tensor, torch.tensor):
            return self._constant(func, *args, **kwargs)
        if func in _READ:
            if not _is_constant(args[0]):
                raise _UnrecordableError(f"{func.__name__} of what is not always the same")
            with _silence():
                return func(*args)
        if func.__name__ == "__get__":
            return func(*args, **kwargs)
        # A weight of a network is a constant like any other, once nobody asks for its gradient.
        args = [part.data if isinstance(part, nn.Parameter) else part for part in args]
        kwargs = {n: p.data if isinstance(p, nn.Parameter) else p for n, p in kwargs.items()}
        return func(*args, **kwargs)

    def _constant(self, func: Callable, value: Any, **kwargs: Any) -> Tensor:
        """Numbers as a tensor. A trace would freeze a tensor among them."""
        if isinstance(value, Tensor) and func is torch.as_tensor:
            return value.to(**kwargs)
        parts = value if isinstance(value, tuple | list) else [value]
        if any(isinstance(part, Tensor) for part in parts):
            raise _UnrecordableError("a tensor made of tensors")
        with _silence():
            return func(value, **kwargs)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Torch warns of some things in a trace even where they are right."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        yield


def _is_constant(value: Tensor) -> bool:
    """Whether a tensor of a trace follows from nothing that was given to it."""
    nodes, seen = [torch._C._get_value_trace(value).node()], set()
    while nodes:
        node = nodes.pop()
        if node.kind() == "prim::Param":
            return False
        for part in node.inputs():
            if part.unique() not in seen:
                seen.add(part.unique())
                nodes.append(part.node())
    return True


class _Identity:
    """An object as part of a key: the very same one, which is kept from being replaced."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self._value is other._value

    def __hash__(self) -> int:
        return id(self._value)


def _take_apart(
    tree: Any, leaves: list[Tensor], fixed: list[Hashable]
) -> Callable[[Iterator[Tensor]], Any]:
    """Take the tensors out of a tree.

    Arguments:
        tree: Tensors in tuples, lists, dictionaries and attributes.
        leaves: Gets the tensors.
        fixed: Gets the form of the tree and all else that is in it.

    Returns:
        A function that makes such a tree of other tensors.
    """
    if isinstance(tree, Tensor):
        leaves.append(tree)
        fixed.append(Tensor)
        return next
    if tree is None or isinstance(tree, bool | int | float | str | slice):
        # Slices cannot be hashed before Python 3.12.
        fixed.append(repr(tree))
        return lambda found: tree
    kind = type(tree)
    if kind in (tuple, list):
        fixed.append((kind, len(tree)))
        items = [_take_apart(part, leaves, fixed) for part in tree]
        return lambda found: kind([make(found) for make in items])
    named = tree if isinstance(tree, Mapping) else getattr(tree, "__dict__", None)
    if named is None or isinstance(tree, (*_WHOLE, Constant)):
        fixed.append(_Identity(tree))
        return lambda found: tree
    fixed.append((kind, *named))
    parts = {name: _take_apart(part, leaves, fixed) for name, part in named.items()}
    if isinstance(tree, Mapping):
        return lambda found: {name: make(found) for name, make in parts.items()}

    def rebuild(found: Iterator[Tensor]) -> Any:
        copied = object.__new__(kind)
        copied.__dict__.update({name: make(found) for name, make in parts.items()})
        return copied

    return rebuild
