"""The flow: normalisation, inversion, determinism, gradients, and zuko's side effect."""

import json
import subprocess
import sys

import pytest
import torch
from torch.distributions import Distribution

from acie.errors import ConfigurationError, NotFitted
from acie.inference import PosteriorFlow

SMALL = {"width": 32, "embedding": 16, "transforms": 3, "hidden": (32, 32)}


@pytest.fixture
def flow():
    generator = torch.Generator().manual_seed(0)
    flow = PosteriorFlow(3, 5, **SMALL)
    x = torch.randn(200, 3, generator=generator) * torch.tensor([0.1, 1.0, 30.0]) + 5.0
    flow.fit_scaling(x, torch.randn(200, 5, generator=generator))
    # Away from the initial point, so that no test passes because everything is zero.
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return flow.eval()


@pytest.fixture
def context():
    return torch.randn(7, 5, generator=torch.Generator().manual_seed(1))


def test_draws_carry_their_own_density(flow, context):
    x, log_q = flow.sample_and_log_prob(50, context, torch.Generator().manual_seed(2))
    assert x.shape == (50, 7, 3)
    # Splines are inverted in float32: a few 1e-4 in the density.
    torch.testing.assert_close(flow.log_prob(x, context), log_q, rtol=0, atol=5e-3)


def test_draws_are_the_same_with_and_without_gradients(flow, context):
    # The first take zuko's inverse, the second the prepared one.
    slow, log_slow = flow.sample_and_log_prob(50, context, torch.Generator().manual_seed(2))
    with torch.no_grad():
        fast, log_fast = flow.sample_and_log_prob(50, context, torch.Generator().manual_seed(2))
    assert slow.requires_grad
    torch.testing.assert_close(fast, slow.detach(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(log_fast, log_slow.detach(), rtol=0, atol=2e-3)


def test_the_prepared_inverse_is_that_of_zuko(flow, context):
    noise = 1.5 * torch.randn(40, 7, 3, generator=torch.Generator().manual_seed(3))
    # Beyond the last knot at 5 the splines are the identity.
    noise[:3] *= 4.0
    density = flow(context)
    with torch.no_grad():
        expected, log_q = density.push(noise)
        found, log_det = density.whitened()(noise)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    base = torch.distributions.Normal(0.0, 1.0).log_prob(noise).sum(-1)
    torch.testing.assert_close(base - log_det, log_q, rtol=0, atol=2e-3)


@pytest.mark.parametrize("dim", [1, 2])
def test_one_draw_per_context_carries_its_density(dim):
    flow = PosteriorFlow(dim, 2, seed=4, **SMALL)
    generator = torch.Generator().manual_seed(0)
    contexts = torch.randn(50, 2, generator=generator)
    flow.fit_scaling(2.0 * torch.randn(50, dim, generator=generator), contexts)
    x, log_q = flow.draw(torch.randn(50, dim, generator=generator), contexts)
    assert x.shape == (50, dim)
    torch.testing.assert_close(flow.log_prob(x, contexts), log_q, rtol=0, atol=5e-3)


@pytest.mark.parametrize("dim", [1, 2])
def test_density_integrates_to_one(dim):
    flow = PosteriorFlow(dim, 2, seed=4, **SMALL)
    generator = torch.Generator().manual_seed(0)
    flow.fit_scaling(2.0 * torch.randn(500, dim, generator=generator), torch.randn(500, 2))
    axis = torch.linspace(-16, 16, 401)
    grid = torch.cartesian_prod(*[axis] * dim).reshape(-1, 1, dim)
    step = float(axis[1] - axis[0]) ** dim
    with torch.no_grad():
        total = flow.log_prob(grid, torch.randn(1, 2, generator=generator)).exp().sum() * step
    assert float(total) == pytest.approx(1.0, abs=5e-3)


def test_a_generator_fixes_the_draws(flow, context):
    torch.manual_seed(0)
    first = flow.sample_and_log_prob(9, context, torch.Generator().manual_seed(5))[0]
    torch.manual_seed(1)
    second = flow.sample_and_log_prob(9, context, torch.Generator().manual_seed(5))[0]
    assert torch.equal(first, second)


def test_construction_leaves_the_global_random_state_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = PosteriorFlow(3, 5, **SMALL)
    assert torch.equal(torch.rand(1), expected)
    second = PosteriorFlow(3, 5, **SMALL)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_gradients_reach_every_parameter(flow, context):
    x = flow.x_mean + flow.x_std * torch.randn(7, 3, generator=torch.Generator().manual_seed(6))
    flow.log_prob(x, context).sum().backward()
    for name, parameter in flow.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
        assert float(parameter.grad.abs().max()) > 0, name


def test_batch_and_single_agree(flow, context):
    x = flow.x_mean + flow.x_std * torch.randn(4, 7, 3, generator=torch.Generator().manual_seed(6))
    together = flow.log_prob(x, context)
    alone = torch.stack([flow.log_prob(x[:, [i]], context[[i]])[:, 0] for i in range(7)], dim=1)
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-4)


def test_far_away_points_have_finite_density(flow, context):
    x = flow.x_mean + 200.0 * flow.x_std * torch.ones(2, 7, 3)
    assert bool(flow.log_prob(x, 1e6 * context).isfinite().all())


def test_rebuilds_from_plain_json(flow, context):
    other = PosteriorFlow(**json.loads(json.dumps(flow.config)))
    other.load_state_dict(flow.state_dict())
    x = flow.x_mean.expand(7, 3)
    assert torch.equal(flow.log_prob(x, context), other.log_prob(x, context))


def test_refuses_before_scaling_and_without_variables():
    with pytest.raises(NotFitted):
        PosteriorFlow(2, 2, **SMALL)(torch.zeros(1, 2))
    with pytest.raises(ConfigurationError):
        PosteriorFlow(0, 2)


def test_importing_keeps_the_validation_of_distributions():
    assert Distribution._validate_args is True
    # Another part of the package may have imported zuko first; forgetting it makes the reload
    # run zuko's own switch again, from both states.
    code = """
import importlib, sys
from torch.distributions import Distribution
import acie.inference.flow as flow
assert Distribution._validate_args is True
for state in (True, False):
    Distribution.set_default_validate_args(state)
    for name in [name for name in sys.modules if name.split(".")[0] == "zuko"]:
        del sys.modules[name]
    importlib.reload(flow)
    assert Distribution._validate_args is state
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
