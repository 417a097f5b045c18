"""Operators of torch that the exporter does not know, or that ONNX Runtime lacks in double.

Each is made of operators that both have. They are written for what the encoder and the causal
model ask of them.
"""

__all__ = ["TRANSLATIONS"]

import math
from collections.abc import Callable
from typing import Any

import onnx
import onnxscript
import torch
from onnxscript import opset20 as op

from acie.export.tables import LogNormalTail

_INT64 = onnx.TensorProto.INT64
_TAIL = LogNormalTail().scaled


@onnxscript.script()
def inverse(matrix: onnxscript.DOUBLE) -> onnxscript.DOUBLE:
    """Inverses of positive matrices ``(batch, n, n)`` by Gauss and Jordan, column by column."""
    size = op.Shape(matrix, start=2, end=3)
    count = op.Squeeze(size)
    square = op.ConstantOfShape(op.Concat(size, size, axis=0))
    unit = op.EyeLike(op.CastLike(square, matrix))
    first = op.Constant(value_ints=[1])
    second = op.Constant(value_ints=[2])
    found = op.Identity(matrix)
    for column in range(count):
        one = op.Gather(unit, column, axis=0)
        row = op.Gather(found, column, axis=1)
        pivot = op.Unsqueeze(op.Gather(row, column, axis=1), first)
        left = op.Div(op.Sub(op.Gather(found, column, axis=2), one), pivot)
        # The four cases of the elimination are one outer product.
        outer = op.Mul(op.Unsqueeze(left, second), op.Unsqueeze(op.Add(row, one), first))
        found = op.Sub(found, outer)
    return found


def _inverse(matrix: Any, check_errors: bool = False) -> Any:
    return inverse(matrix), op.Constant(value_ints=[0])


def _searchsorted(
    sequence: Any, value: Any, out_int32: bool = False, right: bool = False, side: Any = None,
    sorter: Any = None,
) -> Any:  # fmt: skip
    """How many of an ascending sequence lie before each value, along the last axis."""
    before, own = op.Unsqueeze(sequence, [-2]), op.Unsqueeze(value, [-1])
    below = op.LessOrEqual(before, own) if right else op.Less(before, own)
    return op.ReduceSum(op.Cast(below, to=_INT64), [-1], keepdims=0)


def _nanmedian(value: Any, dim: int, keepdim: bool = False) -> Any:
    """The lower median of what is a number, along the last axis."""
    bad = op.IsNaN(value)
    size = op.Shape(value, start=-1)
    ordered, index = op.TopK(op.Where(bad, math.inf, value), size, axis=-1, largest=0, sorted=1)
    count = op.ReduceSum(op.Cast(op.Not(bad), to=_INT64), [-1], keepdims=1)
    place = op.Div(op.Max(op.Sub(count, 1), 0), 2)
    found = (op.GatherElements(part, place, axis=-1) for part in (ordered, index))
    return tuple(op.Squeeze(part, [-1]) for part in found)


def _erf(value: Any) -> Any:
    """The error function, in double precision."""
    x = op.Min(op.Mul(op.Abs(value), math.sqrt(2.0)), 39.0)
    position = op.Mul(x, _TAIL.per_unit)
    piece = op.Floor(position)
    share = op.Sub(position, piece)
    table = onnxscript.ir.tensor(_TAIL.table.numpy())
    terms = op.Gather(table, op.Cast(piece, to=_INT64), axis=0)
    columns = op.Split(terms, num_outputs=_TAIL.table.shape[1], axis=-1)
    *lower, total = (op.Squeeze(column, [-1]) for column in columns)
    for column in reversed(lower):
        total = op.Add(op.Mul(total, share), column)
    tail = op.Exp(op.Sub(total, op.Mul(op.Mul(x, x), 0.5)))
    return op.Mul(op.Sign(value), op.Sub(1.0, op.Mul(tail, 2.0)))


def _asinh(value: Any) -> Any:
    """Of any sign, without cancellation."""
    size = op.Abs(value)
    root = op.Sqrt(op.Add(op.Mul(size, size), 1.0))
    return op.Mul(op.Sign(value), op.Log(op.Add(size, root)))


def _softplus(value: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    tail = op.Log(op.Add(op.Exp(op.Neg(op.Abs(value))), 1.0))
    return op.Add(op.Max(value, 0.0), tail)


TRANSLATIONS: dict[Callable, Callable] = {
    torch.ops.aten.linalg_inv_ex.default: _inverse,
    torch.ops.aten.searchsorted.Tensor: _searchsorted,
    torch.ops.aten.nanmedian.dim: _nanmedian,
    torch.ops.aten.erf.default: _erf,
    torch.ops.aten.asinh.default: _asinh,
    torch.ops.aten.softplus.default: _softplus,
}
