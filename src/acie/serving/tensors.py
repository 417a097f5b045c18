"""Arrays in requests: lists of numbers, or raw little-endian bytes with a type and a shape."""

__all__ = ["DTYPES", "Flags", "Spectrum", "Whole", "from_tensor"]

import math
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field, Strict, WrapValidator
from pydantic_core import PydanticCustomError

#: Types of the elements of raw arrays, by name.
DTYPES = {"float32": "<f4", "float64": "<f8", "bool": "|b1"}
#: Longest spectrum that is read, in pixels.
LONGEST = 20000


def from_tensor(value: dict[str, Any]) -> np.ndarray:
    """The array of ``{"dtype", "shape", "data"}``.

    Raises:
        PydanticCustomError: The parts do not fit.
    """
    dtype, shape, data = (value.get(key) for key in ("dtype", "shape", "data"))
    if set(value) != {"dtype", "shape", "data"} or not isinstance(data, bytes):
        raise PydanticCustomError(
            "tensor", "an array: numbers, or dtype, shape and data (raw bytes, in msgpack)"
        )
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise PydanticCustomError("tensor_dtype", f"a dtype of {', '.join(DTYPES)}")
    good = isinstance(shape, list) and len(shape) == 1
    if not good or type(shape[0]) is not int or not 0 < shape[0] <= LONGEST:
        raise PydanticCustomError("tensor_shape", f"a shape of one axis, 1 to {LONGEST} long")
    size = math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize
    if len(data) != size:
        raise PydanticCustomError("tensor_data", f"{size} bytes of data for that dtype and shape")
    return np.frombuffer(data, DTYPES[dtype])


def _numbers(value: Any, check: Callable[[Any], list]) -> np.ndarray:
    """Double precision, NaN for null; raw arrays may hold NaN for bad pixels too."""
    if isinstance(value, dict):
        return from_tensor(value).astype(np.float64)
    return np.array(check(value), dtype=np.float64)


def _flags(value: Any, check: Callable[[Any], list]) -> np.ndarray:
    if isinstance(value, dict):
        found = from_tensor(value)
        if value["dtype"] != "bool":
            raise PydanticCustomError("tensor_dtype", "a dtype of bool")
        # Any byte but zero is true.
        return found.view(np.uint8) != 0
    return np.array(check(value), dtype=bool)


def _whole(value: Any) -> Any:
    """JSON knows one kind of number: 5.0 is the integer 5."""
    return int(value) if type(value) is float and value.is_integer() else value


Whole = Annotated[int, Strict(), BeforeValidator(_whole)]
_Long = Field(min_length=1, max_length=LONGEST, fail_fast=True)
Spectrum = Annotated[list[Annotated[float, Strict()] | None], _Long, WrapValidator(_numbers)]
Flags = Annotated[list[Annotated[bool, Strict()]], _Long, WrapValidator(_flags)]
