import math

import pytest
import torch

from acie.errors import CausalError, ConfigurationError
from acie.scm import (
    AdditiveNoiseMechanism,
    DeterministicMechanism,
    ExogenousMechanism,
    StructuralCausalModel,
    ThresholdMechanism,
    TruncatedNormalMechanism,
    UniformMechanism,
)
from acie.scm.unconstrained import from_real, to_real
from acie.variables import Variable

DOUBLE = torch.float64
CASES = [
    (Variable("v"), (-math.inf, math.inf), [-3.0, 0.1, 9.0]),
    (Variable("v"), (-1.0, 2.0), [-0.99, 0.1, 1.999]),
    (Variable("v"), (0.0, math.inf), [0.01, 1.0, 90.0]),
    (Variable("v"), (-math.inf, 3.0), [-9.0, 1.0, 2.9]),
    (Variable("v", transform="log10"), (0.0, math.inf), [1e-3, 1.0, 1e10]),
    (Variable("v", transform="log10"), (1e8, 1e12), [1.01e8, 1e10, 9.9e11]),
    (Variable("v", transform="log10"), (0.0, 14.0), [0.1, 1.0, 13.9]),
    (Variable("v", transform="log10"), (2.0, math.inf), [2.1, 5.0, 1e3]),
]


@pytest.mark.parametrize(("variable", "bounds", "points"), CASES)
def test_roundtrip_and_derivative(variable, bounds, points):
    value = torch.tensor(points, dtype=DOUBLE, requires_grad=True)
    real, log = to_real(value, variable, bounds)
    (slope,) = torch.autograd.grad(real.sum(), value)
    torch.testing.assert_close(log, slope.log(), rtol=1e-9, atol=1e-9)
    again, same_log = from_real(real, variable, bounds)
    torch.testing.assert_close(again, value, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(same_log, log, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("variable", "bounds", "points"), CASES)
def test_saturation_stays_inside(variable, bounds, points):
    # Beyond 300 decades, a log10 variable without an upper bound overflows, as it must.
    value, _ = from_real(torch.tensor([-200.0, 200.0], dtype=DOUBLE), variable, bounds)
    assert bool(((value >= bounds[0]) & (value <= bounds[1])).all())


def test_bounds_finite_for_some_parents_only_are_refused():
    bounds = (0.0, torch.tensor([1.0, math.inf]))
    with pytest.raises(ConfigurationError, match="large finite bound"):
        to_real(torch.tensor([0.5, 0.5]), Variable("v"), bounds)


def build():
    variables = [
        Variable("z"),
        Variable("m", transform="log10"),
        Variable("q", kind="binary", parents=("m",)),
        Variable("r", parents=("m", "z")),
        Variable("a", parents=("r", "z", "q")),
        Variable("d", parents=("a",)),
    ]
    mechanisms = {
        "z": ExogenousMechanism(),
        "m": UniformMechanism(1e9, 1e12, "log10"),
        "q": ThresholdMechanism(0.4),
        "r": DeterministicMechanism(lambda p: torch.log10(p["m"]) - p["z"]),
        # The bound depends on a derived variable, so on the mass.
        "a": TruncatedNormalMechanism(lambda p: 3.0 + p["q"], 2.0, 0.1, lambda p: p["r"] + 1.0),
        "d": AdditiveNoiseMechanism(lambda p: p["a"], 0.5),
    }
    return StructuralCausalModel(variables, mechanisms)


@pytest.mark.parametrize("names", [("m", "a", "d"), ("d", "a", "m"), ("a",)])
def test_model_roundtrip(names):
    model = build()
    z = torch.tensor(0.2, dtype=DOUBLE)
    values, _ = model.sample((4, 30), given={"z": z}, generator=torch.Generator().manual_seed(0))
    x, log_det = model.to_unconstrained(values, names)
    assert x.shape == (4, 30, len(names))
    assert bool(x.isfinite().all())
    given = {name: values[name] for name in values if name not in (*names, "r")}
    again, same = model.from_unconstrained(x, names, given)
    assert set(again) == set(values)
    for name in values:
        torch.testing.assert_close(again[name], values[name], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(same, log_det, rtol=1e-9, atol=1e-9)


def test_determinant_is_that_of_autograd():
    model = build()
    names = ("d", "m", "a")
    given = {"z": torch.tensor(0.2, dtype=DOUBLE), "q": torch.tensor(1.0, dtype=DOUBLE)}
    x = torch.tensor([0.3, -0.7, 1.1], dtype=DOUBLE)

    def physical(point):
        values, _ = model.from_unconstrained(point, names, given)
        return torch.stack([values[name] for name in names])

    jacobian = torch.autograd.functional.jacobian(physical, x)
    assert jacobian[2, 1] != 0.0
    _, log_det = model.from_unconstrained(x, names, given)
    torch.testing.assert_close(log_det, -torch.linalg.slogdet(jacobian).logabsdet)


def test_values_not_needed_may_be_left_out():
    model = build()
    x = torch.zeros(5, 1, dtype=DOUBLE)
    values, _ = model.from_unconstrained(x, ["m"])
    assert set(values) == {"m"}
    with pytest.raises(CausalError, match="reads 'r'"):
        model.from_unconstrained(x, ["a"])


def test_only_continuous_random_variables_have_real_coordinates():
    with pytest.raises(CausalError, match="continuous random variable"):
        build().from_unconstrained(torch.zeros(1, 1), ["q"])
