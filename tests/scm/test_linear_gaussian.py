"""Linear-Gaussian models, where everything has a closed form."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import MultivariateNormal

from acie.scm import AdditiveNoiseMechanism, Do, StructuralCausalModel
from acie.variables import Variable

DOUBLE = torch.float64


def linear(weights, intercept, scale):
    """Model ``x = W x + c + s u`` with a strictly lower triangular W."""
    size = len(weights)
    names = [f"x{i}" for i in range(size)]
    variables, mechanisms = [], {}
    for i in range(size):
        causes = [j for j in range(i) if weights[i, j] != 0]

        def location(p, i=i, causes=tuple(causes)):
            total = intercept[i]
            for j in causes:
                total = total + weights[i, j] * p[names[j]]
            return total

        variables.append(Variable(names[i], parents=tuple(names[j] for j in causes)))
        mechanisms[names[i]] = AdditiveNoiseMechanism(location, scale[i])
    return StructuralCausalModel(variables, mechanisms), names


@st.composite
def systems(draw):
    size = draw(st.integers(2, 6))
    seed = draw(st.integers(0, 2**31))
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(size, size, generator=generator, dtype=DOUBLE).tril(-1)
    weights = weights * (torch.rand(size, size, generator=generator) < 0.6)
    intercept = torch.randn(size, generator=generator, dtype=DOUBLE)
    scale = 0.5 + torch.rand(size, generator=generator, dtype=DOUBLE)
    return weights, intercept, scale, draw(st.integers(0, size - 1)), seed


@settings(max_examples=25, deadline=None)
@given(systems())
def test_density_is_multivariate_normal(system):
    weights, intercept, scale, _, seed = system
    model, names = linear(weights, intercept, scale)
    values, _ = model.sample((20,), generator=torch.Generator().manual_seed(seed))
    stacked = torch.stack([values[name] for name in names], dim=-1)
    mixing = torch.linalg.inv(torch.eye(len(names), dtype=DOUBLE) - weights)
    covariance = mixing @ torch.diag(scale.square()) @ mixing.T
    expected = MultivariateNormal(mixing @ intercept, covariance).log_prob(stacked)
    torch.testing.assert_close(model.log_prob(values), expected, rtol=1e-8, atol=1e-8)


@settings(max_examples=25, deadline=None)
@given(systems())
def test_counterfactual_is_the_closed_form(system):
    # x' = x + (I - W)^-1 e_k (a - x_k) restricted to what follows k in the mutilated model.
    weights, intercept, scale, node, seed = system
    model, names = linear(weights, intercept, scale)
    values, _ = model.sample((20,), generator=torch.Generator().manual_seed(seed))
    got = model.counterfactual(values, {names[node]: Do(1.7)}).counterfactual()
    cut = weights.clone()
    cut[node] = 0.0
    total_effect = torch.linalg.inv(torch.eye(len(names), dtype=DOUBLE) - cut)[:, node]
    for i, name in enumerate(names):
        expected = values[name] + total_effect[i] * (1.7 - values[names[node]])
        torch.testing.assert_close(got[name], expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("do", ["x0=1", "x1=1"])
def test_intervening_is_not_conditioning(do):
    # Confounded: x0 -> x1, x0 -> x2, x1 -> x2 with unit weights; E[x2 | do(x1 = 1)] = 1.
    weights = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0]], dtype=DOUBLE)
    model, names = linear(weights, torch.zeros(3, dtype=DOUBLE), torch.ones(3, dtype=DOUBLE))
    values, _ = model.sample((40_000,), generator=torch.Generator().manual_seed(0))
    mean = model.counterfactual(values, do).counterfactual()["x2"].mean()
    expected = {"x0=1": 2.0, "x1=1": 1.0}[do]
    # Standard error of the mean: sqrt(2 / 40,000) = 0.007; five of them.
    assert abs(mean.item() - expected) < 0.035
