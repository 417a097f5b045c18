import math

import numpy as np
import pytest
import torch

from acie.errors import ConfigurationError
from acie.scm import (
    AdditiveNoiseMechanism,
    CounterfactualQuery,
    Do,
    InterventionalQuery,
    ObservationalQuery,
    Shift,
    StructuralCausalModel,
    Worlds,
)
from acie.variables import Variable

MODEL = StructuralCausalModel(
    [Variable("x"), Variable("y", parents=("x",))],
    {"x": AdditiveNoiseMechanism(0.0), "y": AdditiveNoiseMechanism(lambda p: 2.0 * p["x"])},
)


def generator():
    return torch.Generator().manual_seed(0)


def test_seeing():
    summary = ObservationalQuery(("y",)).run(MODEL, 20_000, generator=generator()).summary()
    assert set(summary) == {"y"}
    # y ~ N(0, 5): standard error of the mean 0.016, of the standard deviation 0.011.
    assert abs(summary["y"]["mean"].item()) < 0.08
    assert abs(summary["y"]["std"].item() - math.sqrt(5.0)) < 0.06
    assert summary["y"]["p16"] < summary["y"]["median"] < summary["y"]["p84"]


def test_doing():
    result = InterventionalQuery("x=1").run(MODEL, 20_000, generator=generator())
    assert bool((result.samples["x"] == 1.0).all())
    # y ~ N(2, 1): standard error of the mean 0.007.
    assert abs(result.summary()["y"]["mean"].item() - 2.0) < 0.035


def test_imagining():
    values, _ = MODEL.sample((50,), generator=generator())
    query = CounterfactualQuery([{"x": Shift(1.0)}, {"x": Do(0.0)}], names=("y",))
    samples = query.run(MODEL, values).samples["y"]
    assert samples.shape == (50, 3)
    torch.testing.assert_close(samples[:, 1] - samples[:, 0], torch.full((50,), 2.0).double())
    held = CounterfactualQuery("x+=1", hold=("y",)).run(MODEL, values)
    assert held.summary()["y"]["mean"].shape == (2,)
    assert torch.equal(held.samples["y"][:, 0], held.samples["y"][:, 1])


def test_quantiles_are_those_of_independent_draws():
    result = ObservationalQuery().run(MODEL, 101, generator=generator())
    expected = np.quantile(result.samples["x"].numpy(), 0.16, method="weibull")
    assert float(result.summary()["x"]["p16"]) == pytest.approx(expected, rel=1e-12)


def test_worlds_need_one_state_per_action():
    with pytest.raises(ConfigurationError, match="2 states"):
        Worlds([{}, {}], [])
