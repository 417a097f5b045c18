"""Operations of torch as nodes of a graph, for :mod:`acie.export.graph.recorder`.

They are written for what the encoder and the causal model ask of them, and avoid what ONNX
Runtime lacks in double precision. Each takes the call, the example of its result and the
arguments of the operation, and gives the name of the result.
"""

__all__ = ["OPERATORS"]

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor

from acie.errors import ConfigurationError
from acie.export.graph.tables import LogNormalTail
from acie.export.graph.tape import Tape

_INT64, _INT32, _BOOL = onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.BOOL
_TAIL = LogNormalTail().scaled
OPERATORS: dict[str, Callable[..., Any]] = {}


def _translation(*kinds: str) -> Callable[[Callable], Callable]:
    def add(function: Callable) -> Callable:
        OPERATORS.update(dict.fromkeys(kinds, function))
        return function

    return add


def _number(like: Tensor, value: float) -> np.generic:
    """A number of the type of an array."""
    return torch.tensor(value, dtype=like.dtype).numpy()[()]


# -- element by element ---------------------------------------------------------------------------


def _of_one(node: str) -> Callable[..., str]:
    def translate(call: Any, made: Tensor, value: Tensor) -> str:
        return getattr(call.tape, node)(call.of(value, made.dtype))

    return translate


def _of_two(node: str) -> Callable[..., str]:
    def translate(call: Any, made: Tensor, first: Any, second: Any, *, alpha: Any = 1) -> str:
        right = call.of(second, made.dtype)
        if alpha != 1:
            right = call.tape.Mul(right, _number(made, alpha))
        return getattr(call.tape, node)(call.of(first, made.dtype), right)

    return translate


def _comparison(node: str) -> Callable[..., str]:
    def translate(call: Any, made: Tensor, first: Any, second: Any) -> str:
        kind = torch.result_type(first, second)
        return getattr(call.tape, node)(call.of(first, kind), call.of(second, kind))

    return translate


for _kind, _node in {
    "abs": "Abs", "exp": "Exp", "floor": "Floor", "log": "Log", "neg": "Neg",
    "reciprocal": "Reciprocal", "sigmoid": "Sigmoid", "sqrt": "Sqrt", "tanh": "Tanh",
}.items():  # fmt: skip
    OPERATORS[_kind] = _of_one(_node)
for _kind, _node in {
    "add": "Add", "div": "Div", "maximum": "Max", "minimum": "Min", "mul": "Mul", "sub": "Sub",
    "mm": "MatMul", "mv": "MatMul", "bmm": "MatMul", "clamp_min": "Max", "clamp_max": "Min",
}.items():  # fmt: skip
    OPERATORS[_kind] = _of_two(_node)
for _kind, _node in {
    "eq": "Equal", "ge": "GreaterOrEqual", "gt": "Greater", "le": "LessOrEqual", "lt": "Less",
}.items():  # fmt: skip
    OPERATORS[_kind] = _comparison(_node)
for _kind, _node in {"bitwise_and": "And", "bitwise_or": "Or"}.items():
    OPERATORS[_kind] = _of_two(_node)
OPERATORS["bitwise_not"] = _of_one("Not")


@_translation("isnan")
def _isnan(call: Any, made: Tensor, value: Tensor) -> str:
    return call.tape.IsNaN(call.of(value))


@_translation("silu")
def _silu(call: Any, made: Tensor, value: Tensor) -> str:
    name = call.of(value)
    return call.tape.Mul(name, call.tape.Sigmoid(name))


@_translation("rsub")
def _rsub(call: Any, made: Tensor, value: Tensor, other: Any) -> str:
    return call.tape.Sub(call.of(other, made.dtype), call.of(value, made.dtype))


@_translation("rsqrt")
def _rsqrt(call: Any, made: Tensor, value: Tensor) -> str:
    return call.tape.Reciprocal(call.tape.Sqrt(call.of(value)))


@_translation("log10")
def _log10(call: Any, made: Tensor, value: Tensor) -> str:
    return call.tape.Div(call.tape.Log(call.of(value)), _number(made, math.log(10.0)))


@_translation("clamp")
def _clamp(call: Any, made: Tensor, value: Tensor, low: Any = None, high: Any = None) -> str:
    name = call.of(value, made.dtype)
    for node, bound in (("Max", low), ("Min", high)):
        if bound is not None:
            name = getattr(call.tape, node)(name, call.of(bound, made.dtype))
    return name


@_translation("pow")
def _pow(call: Any, made: Tensor, base: Any, power: Any) -> str:
    name = call.of(base, made.dtype)
    if isinstance(power, int | float) and power == 2:
        return call.tape.Mul(name, name)
    return call.tape.Pow(name, call.of(power, made.dtype))


@_translation("where")
def _where(call: Any, made: Tensor, condition: Tensor, first: Any, second: Any) -> str:
    return call.tape.Where(
        call.of(condition), call.of(first, made.dtype), call.of(second, made.dtype)
    )


@_translation("masked_fill")
def _masked_fill(call: Any, made: Tensor, value: Tensor, mask: Tensor, other: Any) -> str:
    return call.tape.Where(call.of(mask), call.of(other, made.dtype), call.of(value))


@_translation("nan_to_num")
def _nan_to_num(
    call: Any, made: Tensor, value: Tensor, nan: float | None = None, posinf: float | None = None,
    neginf: float | None = None,
) -> str:  # fmt: skip
    tape, name, limits = call.tape, call.of(value), torch.finfo(made.dtype)
    name = tape.Where(tape.IsNaN(name), _number(made, nan or 0.0), name)
    for sign, other in ((1, posinf), (-1, neginf)):
        other = sign * limits.max if other is None else other
        beyond = tape.Equal(name, _number(made, sign * math.inf))
        name = tape.Where(beyond, _number(made, other), name)
    return name


@_translation("lerp")
def _lerp(call: Any, made: Tensor, start: Tensor, end: Tensor, share: Any) -> str:
    first = call.of(start)
    step = call.tape.Sub(call.of(end), first)
    return call.tape.Add(first, call.tape.Mul(call.of(share, made.dtype), step))


@_translation("log1p")
def _log1p(call: Any, made: Tensor, value: Tensor) -> str:
    return _log_of_one_and(call.tape, made, call.of(value))


def _log_of_one_and(tape: Tape, like: Tensor, x: str) -> str:
    """What is lost when one is added is lost from the divisor as well."""
    one = _number(like, 1.0)
    total = tape.Add(x, one)
    rest = tape.Sub(total, one)
    lost = tape.Equal(rest, _number(like, 0.0))
    ratio = tape.Div(x, tape.Where(lost, one, rest))
    return tape.Where(lost, x, tape.Mul(tape.Log(total), ratio))


@_translation("expm1")
def _expm1(call: Any, made: Tensor, value: Tensor) -> str:
    tape, x, one = call.tape, call.of(value), _number(made, 1.0)
    whole = tape.Exp(x)
    rest = tape.Sub(whole, one)
    # Far from zero nothing is lost; there the logarithm might be infinite.
    near = tape.Less(tape.Abs(x), _number(made, 0.5))
    lost = tape.Equal(rest, _number(made, 0.0))
    log = tape.Log(tape.Where(near, whole, _number(made, 2.0)))
    ratio = tape.Div(x, tape.Where(lost, one, log))
    return tape.Where(near, tape.Where(lost, x, tape.Mul(rest, ratio)), rest)


@_translation("logaddexp")
def _logaddexp(call: Any, made: Tensor, first: Tensor, second: Tensor) -> str:
    tape, a, b = call.tape, call.of(first, made.dtype), call.of(second, made.dtype)
    smaller = tape.Exp(tape.Neg(tape.Abs(tape.Sub(a, b))))
    return tape.Add(tape.Max(a, b), _log_of_one_and(tape, made, smaller))


@_translation("softplus")
def _softplus(call: Any, made: Tensor, value: Tensor) -> str:
    """As torch has it, which leaves large numbers as they are."""
    tape, x = call.tape, call.of(value)
    tail = _log_of_one_and(tape, made, tape.Exp(tape.Neg(tape.Abs(x))))
    total = tape.Add(tape.Max(x, _number(made, 0.0)), tail)
    return tape.Where(tape.Greater(x, _number(made, 20.0)), x, total)


@_translation("asinh")
def _asinh(call: Any, made: Tensor, value: Tensor) -> str:
    """Of any sign, without cancellation."""
    tape, x, one = call.tape, call.of(value), _number(made, 1.0)
    size = tape.Abs(x)
    square = tape.Mul(size, size)
    # The root without one, which must not be added to a small number.
    rest = tape.Div(square, tape.Add(one, tape.Sqrt(tape.Add(square, one))))
    return tape.Mul(tape.Sign(x), _log_of_one_and(tape, made, tape.Add(size, rest)))


@_translation("erf")
def _erf(call: Any, made: Tensor, value: Tensor) -> str:
    """The error function, in double precision."""
    if made.dtype != torch.float64:
        return call.tape.Erf(call.of(value))
    tape, x = call.tape, call.of(value)
    size = tape.Min(tape.Mul(tape.Abs(x), np.float64(math.sqrt(2.0))), np.float64(39.0))
    position = tape.Mul(size, np.float64(_TAIL.per_unit))
    piece = tape.Floor(position)
    share = tape.Sub(position, piece)
    terms = tape.Gather(_TAIL.table.numpy(), tape.Cast(piece, to=_INT64), axis=0)
    columns = [tape.Gather(terms, np.int64(k), axis=-1) for k in range(_TAIL.table.shape[1])]
    total = columns.pop()
    for column in reversed(columns):
        total = tape.Add(tape.Mul(total, share), column)
    tail = tape.Exp(tape.Sub(total, tape.Mul(tape.Mul(size, size), np.float64(0.5))))
    return tape.Mul(tape.Sign(x), tape.Sub(np.float64(1.0), tape.Mul(tail, np.float64(2.0))))


# -- shapes ---------------------------------------------------------------------------------------


@_translation("clone", "detach", "alias")
def _same(call: Any, made: Tensor, value: Tensor, **_: Any) -> str:
    return call.of(value)


@_translation("_to_copy")
def _cast(call: Any, made: Tensor, value: Tensor, **_: Any) -> str:
    return call.of(value, made.dtype)


@_translation("view", "_unsafe_view")
def _view(call: Any, made: Tensor, value: Tensor, size: Sequence[int]) -> str:
    return call.tape.Reshape(call.of(value), call.recorder.shape(made))


@_translation("expand")
def _expand(call: Any, made: Tensor, value: Tensor, size: Sequence[int], **_: Any) -> str:
    return call.tape.Expand(call.of(value), call.recorder.shape(made))


@_translation("unsqueeze")
def _unsqueeze(call: Any, made: Tensor, value: Tensor, dim: int) -> str:
    return call.tape.Unsqueeze(call.of(value), np.array([dim]))


@_translation("squeeze")
def _squeeze(call: Any, made: Tensor, value: Tensor, dim: int) -> str:
    name = call.of(value)
    return call.tape.Squeeze(name, np.array([dim])) if value.shape[dim] == 1 else name


@_translation("permute")
def _permute(call: Any, made: Tensor, value: Tensor, dims: Sequence[int]) -> str:
    return call.tape.Transpose(call.of(value), perm=[d % value.ndim for d in dims])


@_translation("t")
def _transposed(call: Any, made: Tensor, value: Tensor) -> str:
    return call.tape.Transpose(call.of(value))


@_translation("transpose")
def _swapped(call: Any, made: Tensor, value: Tensor, first: int, second: int) -> str:
    perm = list(range(value.ndim))
    perm[first], perm[second] = perm[second], perm[first]
    return call.tape.Transpose(call.of(value), perm=perm)


@_translation("select")
def _select(call: Any, made: Tensor, value: Tensor, dim: int, index: int) -> str:
    return call.tape.Gather(call.of(value), np.int64(index), axis=dim)


@_translation("unbind")
def _unbind(call: Any, made: Sequence[Tensor], value: Tensor, dim: int = 0) -> list[str]:
    return [_select(call, part, value, dim, index) for index, part in enumerate(made)]


@_translation("slice")
def _slice(
    call: Any, made: Tensor, value: Tensor, dim: int = 0, start: int | None = None,
    end: int | None = None,
) -> str:  # fmt: skip
    end = np.iinfo(np.int64).max if end is None else end
    return call.tape.part(call.of(value), start or 0, end, dim)


@_translation("split")
def _split(
    call: Any, made: Sequence[Tensor], value: Tensor, size: int, dim: int = 0
) -> list[str]:
    """Parts of a fixed size; an axis of any length is one part, as it is in the example."""
    if len(made) == 1:
        return [call.of(value)]
    return [
        call.tape.part(call.of(value), size * turn, size * (turn + 1), dim)
        for turn in range(len(made))
    ]


@_translation("stack")
def _stack(call: Any, made: Tensor, values: Sequence[Tensor], dim: int = 0) -> str:
    axis = np.array([dim % made.ndim])
    parts = [call.tape.Unsqueeze(call.of(value, made.dtype), axis) for value in values]
    return call.tape.Concat(*parts, axis=int(axis[0]))


@_translation("cat")
def _cat(call: Any, made: Tensor, values: Sequence[Tensor], dim: int = 0) -> str:
    return call.tape.Concat(*(call.of(value, made.dtype) for value in values), axis=dim)


@_translation("constant_pad_nd")
def _pad(call: Any, made: Tensor, value: Tensor, pad: Sequence[int], fill: float = 0.0) -> str:
    axes = [value.ndim - 1 - place for place in range(len(pad) // 2)]
    pads = np.array([*pad[::2], *pad[1::2]])
    return call.tape.Pad(call.of(value), pads, _number(made, fill), np.array(axes))


# -- along an axis --------------------------------------------------------------------------------


@_translation("sum")
def _sum(
    call: Any, made: Tensor, value: Tensor, dim: Sequence[int] | None = None,
    keepdim: bool = False, **_: Any,
) -> str:  # fmt: skip
    axes = np.array(list(range(value.ndim) if dim is None else dim))
    return call.tape.ReduceSum(call.of(value, made.dtype), axes, keepdims=int(keepdim))


def _reduced(node: str) -> Callable[..., str]:
    def translate(
        call: Any, made: Tensor, value: Tensor, dim: int, keepdim: bool = False
    ) -> str:
        number = call.tape.Cast(call.of(value), to=_INT32)
        found = getattr(call.tape, node)(number, np.array([dim]), keepdims=int(keepdim))
        return call.tape.Cast(found, to=_BOOL)

    return translate


OPERATORS["any"], OPERATORS["all"] = _reduced("ReduceMax"), _reduced("ReduceMin")


@_translation("native_layer_norm")
def _layer_norm(
    call: Any, made: Sequence[Tensor], value: Tensor, shape: Sequence[int], weight: Tensor,
    bias: Tensor, epsilon: float,
) -> list[str]:  # fmt: skip
    names = call.of(value), call.of(weight), call.of(bias)
    return call.tape.LayerNormalization(*names, outputs=3, axis=-len(shape), epsilon=epsilon)


@_translation("index_select")
def _index_select(call: Any, made: Tensor, value: Tensor, dim: int, index: Tensor) -> str:
    return call.tape.Gather(call.of(value), call.of(index), axis=dim)


@_translation("gather")
def _gather(call: Any, made: Tensor, value: Tensor, dim: int, index: Tensor) -> str:
    return call.tape.GatherElements(call.of(value), call.of(index), axis=dim)


@_translation("scatter_add_")
def _scatter_add(
    call: Any, made: Tensor, value: Tensor, dim: int, index: Tensor, other: Tensor
) -> str:
    names = call.of(value), call.of(index), call.of(other)
    return call.tape.ScatterElements(*names, axis=dim, reduction="add")


@_translation("index")
def _index(call: Any, made: Tensor, value: Tensor, indices: Sequence[Tensor | None]) -> str:
    """Rows by their numbers, along the first axes or along one."""
    places = [place for place, index in enumerate(indices) if index is not None]
    chosen = [index for index in indices if index is not None]
    if any(index.dtype == torch.bool for index in chosen) or len(chosen) < len(indices) > 1:
        raise ConfigurationError(
            "module",
            expected="indices by number along the first axes or along one",
            found=f"{chosen[0].dtype} along {places}",
        )
    if len(chosen) == 1:
        return call.tape.Gather(call.of(value), call.of(chosen[0]), axis=places[0])
    whole = torch.broadcast_tensors(*chosen)[0]
    shape = call.recorder.shape(whole)
    parts = [
        call.tape.Unsqueeze(call.tape.Expand(call.of(index), shape), np.array([whole.ndim]))
        for index in chosen
    ]
    return call.tape.GatherND(call.of(value), call.tape.Concat(*parts, axis=whole.ndim))


@_translation("searchsorted")
def _searchsorted(
    call: Any, made: Tensor, sequence: Tensor, value: Tensor, *, right: bool = False, **_: Any
) -> str:
    """How many of an ascending sequence lie before each value, along the last axis."""
    tape = call.tape
    before = tape.Unsqueeze(call.of(sequence), np.array([-2]))
    own = tape.Unsqueeze(call.of(value, sequence.dtype), np.array([-1]))
    below = tape.LessOrEqual(before, own) if right else tape.Less(before, own)
    return tape.ReduceSum(tape.Cast(below, to=_INT64), np.array([-1]), keepdims=0)


@_translation("nanmedian")
def _nanmedian(
    call: Any, made: Sequence[Tensor], value: Tensor, dim: int = -1, keepdim: bool = False
) -> list[str]:
    """The lower median of what is a number, along the last axis."""
    tape, name = call.tape, call.of(value)
    bad = tape.IsNaN(name)
    size = np.array([value.shape[-1]])
    filled = tape.Where(bad, _number(value, math.inf), name)
    parts = tape.TopK(filled, size, outputs=2, axis=-1, largest=0, sorted=1)
    good = tape.Cast(tape.Not(bad), to=_INT64)
    count = tape.ReduceSum(good, np.array([-1]), keepdims=1)
    place = tape.Div(tape.Max(tape.Sub(count, np.int64(1)), np.int64(0)), np.int64(2))
    found = [tape.GatherElements(part, place, axis=-1) for part in parts]
    return [tape.Squeeze(part, np.array([-1])) for part in found]


@_translation("linalg_inv_ex")
def _inverse(call: Any, made: Sequence[Tensor], matrix: Tensor, **_: Any) -> list[str]:
    """Of positive matrices ``(batch, n, n)`` by Gauss and Jordan, column by column."""
    size = matrix.shape[-1]
    unit = np.eye(size)

    def eliminate(tape: Tape, column: str, found: str) -> tuple[list[str], list[str]]:
        one = tape.Gather(unit, column, axis=0)
        row = tape.Gather(found, column, axis=1)
        pivot = tape.Unsqueeze(tape.Gather(row, column, axis=1), np.array([1]))
        left = tape.Div(tape.Sub(tape.Gather(found, column, axis=2), one), pivot)
        # The four cases of the elimination are one outer product.
        outer = tape.Mul(tape.Unsqueeze(left, np.array([2])),
                         tape.Unsqueeze(tape.Add(row, one), np.array([1])))  # fmt: skip
        return [tape.Sub(found, outer)], []

    carried = [(call.of(matrix, torch.float64), np.float64)]
    (found,) = call.tape.loop(np.int64(size), eliminate, carried, [])
    return [found, call.tape.constant(np.int64(0))]
