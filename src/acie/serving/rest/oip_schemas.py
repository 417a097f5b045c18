"""Tensors of the Open Inference Protocol, and questions made of them."""

__all__ = [
    "INPUTS",
    "OUTPUTS",
    "InferBody",
    "InferredBody",
    "answer_tensors",
    "queries_of",
]

import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, Strict, TypeAdapter, ValidationError

from acie.errors import ConfigurationError
from acie.io import from_arrays
from acie.observation import WAVELENGTH
from acie.serving.query import Answer, Query
from acie.serving.tensors import Whole

_WAVE = WAVELENGTH.size
#: Tensors that requests hold: datatype and shape; -1 stands for the number of galaxies.
INPUTS = {
    "flux": ("FP32", (-1, _WAVE)),
    "ivar": ("FP32", (-1, _WAVE)),
    "lsf": ("FP32", (-1, _WAVE)),
    "redshift": ("FP64", (-1,)),
    "intervention": ("BYTES", (-1,)),
}
#: Tensors of answers; the number of variables is left open.
OUTPUTS = {
    "counterfactual": ("FP32", (-1, _WAVE)),
    "counterfactual_p16": ("FP32", (-1, _WAVE)),
    "counterfactual_p84": ("FP32", (-1, _WAVE)),
    "latent_state": ("FP64", (-1, -1)),
    "confidence": ("FP64", (-1,)),
    "quality": ("BYTES", (-1,)),
}
_Numbers = TypeAdapter(
    Annotated[
        list[Annotated[float, Strict(), Field(allow_inf_nan=False)] | None],
        Field(fail_fast=True),
    ]
)
_Texts = TypeAdapter(
    Annotated[list[Annotated[str, Strict(), Field(max_length=2000)]], Field(fail_fast=True)]
)


class _Body(BaseModel):
    # The protocol lets clients add parameters that a server does not know.
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class InputTensorBody(_Body):
    """An input: elements in row-major order, flat or nested."""

    name: str = Field(max_length=100)
    shape: list[Annotated[Whole, Field(ge=0, lt=2**31)]] = Field(max_length=3)
    datatype: str = Field(max_length=10)
    parameters: dict[str, Any] = Field(default_factory=dict)
    data: list[Any]


class OutputNameBody(_Body):
    """An output that is asked for."""

    name: str = Field(max_length=100)
    parameters: dict[str, Any] = Field(default_factory=dict)


class ParametersBody(_Body):
    """Options of the question."""

    samples: Whole | None = Field(None, ge=2, lt=2**31)
    seed: Whole | None = Field(None, ge=0, lt=2**63)
    hold: str = Field("", max_length=1000, description="Names separated by commas.")
    binary_data_output: bool = Field(False, description="All outputs as bytes.")


class InferBody(_Body):
    """An inference request of the Open Inference Protocol, version 2."""

    id: str | None = Field(None, max_length=200)
    parameters: ParametersBody = Field(default_factory=ParametersBody)
    inputs: list[InputTensorBody] = Field(min_length=1, max_length=20)
    outputs: list[OutputNameBody] | None = Field(None, max_length=20)


class OutputTensorBody(BaseModel):
    """An output, flat in row-major order."""

    name: str
    shape: list[int]
    datatype: str
    data: list[float] | list[str]


class InferredBody(BaseModel):
    """An inference answer of the Open Inference Protocol, version 2."""

    model_name: str
    model_version: str
    id: str | None = None
    parameters: dict[str, Any]
    outputs: list[OutputTensorBody]


def _wrong(name: str, expected: str, found: str) -> ConfigurationError:
    return ConfigurationError(f"inputs.{name}", expected=expected, found=found)


def _flat(data: list[Any]) -> list[Any]:
    """Elements of a nested list, of as many levels as the protocol's shapes may have here."""
    for _ in range(2):
        if not any(isinstance(row, list) for row in data):
            break
        data = [one for row in data for one in (row if isinstance(row, list) else [row])]
    return data


def _tensor(given: InputTensorBody, galaxies: int) -> np.ndarray:
    """An input with one row per galaxy."""
    datatype, shape = INPUTS[given.name]
    known = ("BYTES",) if datatype == "BYTES" else ("FP32", "FP64")
    if given.datatype not in known:
        raise _wrong(given.name, f"datatype {' or '.join(known)}", repr(given.datatype))
    try:
        values = (_Texts if datatype == "BYTES" else _Numbers).validate_python(_flat(given.data))
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        raise _wrong(given.name, f"{datatype} elements", str(found["msg"])) from None
    if math.prod(given.shape) != len(values):
        raise _wrong(given.name, f"{math.prod(given.shape)} elements", str(len(values)))
    wanted = (galaxies, *shape[1:])
    array = np.array(values, dtype=object if datatype == "BYTES" else np.float64)
    if datatype == "BYTES" and array.size == 1:
        # One question for all.
        return np.repeat(array, galaxies)
    if array.size != math.prod(wanted):
        raise _wrong(given.name, f"shape {list(wanted)}", str(given.shape))
    return array.reshape(wanted)


def queries_of(body: InferBody, model: str, most: int) -> list[Query]:
    """One question per galaxy.

    Arguments:
        body: The request.
        model: Reference of the model.
        most: Most galaxies.

    Raises:
        ConfigurationError: Tensors that are unknown, missing, or do not fit.
        MalformedSpectrum: A spectrum that cannot be used.
    """
    given = {tensor.name: tensor for tensor in body.inputs}
    unknown = set(given) - set(INPUTS)
    if unknown or len(given) != len(body.inputs) or "flux" not in given:
        raise ConfigurationError(
            "inputs",
            expected=f"flux, and no more than each of {', '.join(INPUTS)} once",
            found=", ".join(tensor.name for tensor in body.inputs),
        )
    shape = given["flux"].shape
    galaxies = shape[0] if len(shape) == 2 else 1
    if not 1 <= galaxies <= most or shape[-1:] != [_WAVE]:
        raise _wrong("flux", f"shape [1 to {most}, {_WAVE}]", str(shape))
    tensors = {name: _tensor(tensor, galaxies) for name, tensor in given.items()}
    parameters = body.parameters
    return [
        Query(
            observation=from_arrays(**_spectrum(tensors, row)).batched(),
            intervention=tensors["intervention"][row] if "intervention" in tensors else {},
            hold=tuple(name.strip() for name in parameters.hold.split(",") if name.strip()),
            samples=parameters.samples,
            seed=parameters.seed,
            model=model,
        )
        for row in range(galaxies)
    ]


def _spectrum(tensors: dict[str, np.ndarray], row: int) -> dict[str, Any]:
    names = ("flux", "ivar", "lsf", "redshift")
    own = {name: tensors[name][row] for name in names if name in tensors}
    if "redshift" in own:
        own["redshift"] = float(own["redshift"])
    return own


def answer_tensors(answers: Sequence[Answer], names: Sequence[str]) -> list[dict[str, Any]]:
    """Outputs by name."""
    values = {
        "counterfactual": lambda one: one.counterfactual,
        "counterfactual_p16": lambda one: one.counterfactual_p16,
        "counterfactual_p84": lambda one: one.counterfactual_p84,
        "latent_state": lambda one: [state["median"] for state in one.latent.values()],
        "confidence": lambda one: one.confidence,
    }
    outputs = []
    for name in names:
        datatype, _ = OUTPUTS[name]
        if datatype == "BYTES":
            data: Any = [",".join(one.quality) for one in answers]
            shape = [len(data)]
        else:
            kind = np.float32 if datatype == "FP32" else np.float64
            array = np.array([values[name](one) for one in answers], dtype=kind)
            shape, data = list(array.shape), array.ravel()
        outputs.append({"name": name, "shape": shape, "datatype": datatype, "data": data})
    return outputs
