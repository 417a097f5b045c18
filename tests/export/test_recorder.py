"""Modules as graphs by recording: operations in double precision, sizes, and what is refused."""

import numpy as np
import pytest
import torch
from torch import nn

from acie.errors import ConfigurationError
from acie.export.graph.recorder import record

onnxruntime = pytest.importorskip("onnxruntime")
_ROWS = 53


class Module(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function
        self.register_buffer("table", torch.linspace(0.0, 1.0, 7, dtype=torch.float64))

    def forward(self, *inputs):
        return self.function(self, *inputs)


def run(model, **inputs):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    data = model.SerializeToString()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def of_rows(function, dtype=torch.float64):
    example = torch.linspace(0.1, 0.9, _ROWS, dtype=dtype)
    return record(Module(function), {"x": (example, ("row",))}, ["y"])


FUNCTIONS = {
    "erf": torch.erf,
    "expm1": torch.expm1,
    "log1p": lambda x: torch.log1p(x.abs()),
    "asinh": torch.asinh,
    "softplus": nn.functional.softplus,
    "logaddexp": lambda x: torch.logaddexp(x, -2.0 * x),
    "log10": lambda x: torch.log10(x.abs() + 1e-30),
    "nan_to_num": lambda x: torch.nan_to_num((x - x) / (x - x), nan=2.0),
    "clamp": lambda x: x.clamp(-1.0, 1e3),
    "rsub": lambda x: 1 - x,
    "lerp": lambda x: torch.lerp(x, 2.0 * x, 0.3 * torch.ones_like(x)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_operations_keep_double_precision_from_the_smallest_to_the_largest(name):
    size = torch.logspace(-18, 2.5, 400, dtype=torch.float64)
    x = torch.cat([-size, torch.zeros(1, dtype=torch.float64), size])
    (found,) = run(of_rows(lambda _, value: FUNCTIONS[name](value)), x=x.numpy())
    expected = FUNCTIONS[name](x).numpy()
    assert found.dtype == np.float64
    # The error function is a table; the others lose a few roundings.
    rtol, atol = (1e-13, 1e-13) if name == "erf" else (4e-15, 0.0)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)


def test_not_a_number_stays_so_through_bounds():
    found = run(of_rows(lambda _, x: x.clamp(min=0.0).minimum(x + 1.0)), x=np.array([np.nan, 2.0]))
    np.testing.assert_array_equal(found[0], [np.nan, 2.0])


def test_sizes_of_any_number_and_dtypes_are_those_of_torch():
    def function(module, x, y):
        both = (x[:, None].double() * module.table).clamp(max=0.8)
        column = torch.searchsorted(module.table, both.contiguous()).clamp(0, 6)
        flat = torch.stack([both, module.table[column]]).reshape(-1)
        return flat.view(2, *both.shape).sum(0) + y, torch.zeros_like(x)

    examples = torch.rand(_ROWS), torch.rand(_ROWS, 7)
    model = record(
        Module(function),
        {"x": (examples[0], ("row",)), "y": (examples[1], ("row", ""))}, ["sum", "nothing"],
    )  # fmt: skip
    x, y = torch.rand(3), torch.rand(3, 7)
    expected = Module(function)(x, y)
    for found, part in zip(run(model, x=x.numpy(), y=y.numpy()), expected, strict=True):
        assert found.dtype == part.numpy().dtype
        np.testing.assert_allclose(found, part.numpy(), rtol=1e-14)
    assert "table" in {weight.name for weight in model.graph.initializer}


@pytest.mark.parametrize("function", [
    lambda _, x: x if bool(x.sum() > 0) else -x,
    lambda _, x: x + torch.arange(len(x)),
    lambda _, x: torch.fft.rfft(x).abs(),
    lambda _, x: x[x > 0.5],
])  # fmt: skip
def test_what_a_graph_cannot_do_is_refused(function):
    with pytest.raises(ConfigurationError, match="module: expected"):
        of_rows(function)
