import math

import pytest
import torch
from torch.nn.functional import softplus

from acie.scm import (
    AdditiveNoiseMechanism,
    DeterministicMechanism,
    ExogenousMechanism,
    FlowMechanism,
    MonotoneMechanism,
    PostNonlinearMechanism,
    ThresholdMechanism,
    TruncatedNormalMechanism,
    UniformMechanism,
)
from acie.scm.noise import UniformNoise
from acie.variables import Variable


def _flow():
    torch.manual_seed(0)
    flow = FlowMechanism([Variable("x")], hidden=(8,), bins=4).double()
    torch.nn.init.normal_(flow.network[-1].weight, std=0.5)
    torch.nn.init.normal_(flow.network[-1].bias, std=0.5)
    return flow


MECHANISMS = {
    "additive": lambda: AdditiveNoiseMechanism(lambda p: 2.0 * p["x"], 0.5),
    "additive_log10": lambda: AdditiveNoiseMechanism(
        lambda p: 10.0 + p["x"], lambda p: 0.2 + 0.1 * p["x"].square(), "log10"
    ),
    "additive_tensor": lambda: AdditiveNoiseMechanism(torch.tensor(1.0).double(), 0.5),
    "post_nonlinear": lambda: PostNonlinearMechanism(
        lambda p: p["x"], 0.7, torch.sigmoid, torch.logit, support=(0.0, 1.0)
    ),
    "monotone": lambda: MonotoneMechanism(
        lambda u, p: softplus(u + p["x"]), lambda v, p: torch.log(torch.expm1(v)) - p["x"]
    ),
    "monotone_declared": lambda: MonotoneMechanism(
        lambda u, p: torch.exp(u) * p["x"].exp(),
        lambda v, p: v.log() - p["x"],
        lambda v, p: -v.log(),
    ),
    "truncated": lambda: TruncatedNormalMechanism(
        lambda p: p["x"], 0.8, -1.5, lambda p: 2.0 + p["x"].square()
    ),
    "truncated_half": lambda: TruncatedNormalMechanism(lambda p: p["x"], 0.8, 0.0),
    "truncated_log10": lambda: TruncatedNormalMechanism(
        lambda p: -2.0 + p["x"], 0.4, 1e-4, 0.05, "log10"
    ),
    "truncated_deep": lambda: TruncatedNormalMechanism(lambda p: 40.0 + p["x"], 1.0, -1.0, 1.0),
    "uniform": lambda: UniformMechanism(-1.0, 3.0),
    "uniform_log10": lambda: UniformMechanism(lambda p: 10.0 ** (9.0 + p["x"]), 1e13, "log10"),
    "flow": _flow,
}


@pytest.fixture(params=MECHANISMS)
def mechanism(request):
    return MECHANISMS[request.param]()


def _noise_and_parents(count=400):
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(count, generator=generator, dtype=torch.float64)
    return noise, {"x": torch.randn(count, generator=generator, dtype=torch.float64)}


def test_inversion_recovers_the_noise(mechanism):
    noise, parents = _noise_and_parents()
    value = mechanism.assign(noise, parents)
    torch.testing.assert_close(mechanism.invert(value, parents), noise, rtol=0.0, atol=1e-9)


def test_assignment_recovers_the_value(mechanism):
    noise, parents = _noise_and_parents()
    value = mechanism.assign(noise, parents)
    again = mechanism.assign(mechanism.invert(value, parents), parents)
    torch.testing.assert_close(again, value, rtol=1e-12, atol=1e-12)


def test_assignment_is_monotone_in_the_noise(mechanism):
    noise = torch.linspace(-4.0, 4.0, 101, dtype=torch.float64)
    for x in (-1.0, 0.4):
        value = mechanism.assign(noise, {"x": torch.full_like(noise, x)})
        assert bool((value.diff() > 0).all())


def test_log_density_is_the_change_of_variables(mechanism):
    noise, parents = _noise_and_parents(50)
    value = mechanism.assign(noise, parents).detach().requires_grad_()
    recovered = mechanism.invert(value, parents)
    (slope,) = torch.autograd.grad(recovered.sum(), value)
    expected = mechanism.noise_law.log_prob(recovered) + slope.abs().log()
    torch.testing.assert_close(mechanism.log_prob(value, parents), expected, rtol=1e-7, atol=1e-7)


def test_values_lie_in_the_support(mechanism):
    noise, parents = _noise_and_parents()
    value = mechanism.assign(6.0 * noise, parents)
    lower, upper = mechanism.support(parents)
    assert bool(((value >= lower) & (value <= upper)).all())


def test_gradients_reach_the_noise_and_the_parents(mechanism):
    noise, parents = _noise_and_parents(5)
    noise.requires_grad_()
    x = parents["x"].requires_grad_()
    torch.autograd.gradcheck(
        lambda u, x: (
            mechanism.assign(u, {"x": x}).log()
            if "log10" in mechanism.extra_repr()
            else mechanism.assign(u, {"x": x})
        ),
        (noise, x),
        atol=1e-5,
    )
    value = mechanism.assign(noise, parents).detach().requires_grad_()
    natural = value.log().detach().requires_grad_() if bool((value > 0).all()) else None
    if natural is not None:
        # On the scale of the logarithm, so that finite differences suit masses of 1e10 too.
        torch.autograd.gradcheck(
            lambda v, x: mechanism.log_prob(v.exp(), {"x": x}), (natural, x), atol=1e-4
        )
    else:
        torch.autograd.gradcheck(
            lambda v, x: mechanism.log_prob(v, {"x": x}), (value, x), atol=1e-4
        )


def test_no_gradient_is_needed_for_a_density(mechanism):
    noise, parents = _noise_and_parents(5)
    with torch.no_grad():
        value = mechanism.assign(noise, parents)
        assert not mechanism.log_prob(value, parents).requires_grad


@pytest.mark.parametrize("name", ["truncated", "truncated_log10", "uniform"])
def test_outside_the_bounds_there_is_no_noise_and_no_density(name):
    mechanism = MECHANISMS[name]()
    parents = {"x": torch.zeros(2, dtype=torch.float64)}
    lower, upper = (
        float(b) for b in (torch.as_tensor(b).max() for b in mechanism.support(parents))
    )
    value = torch.tensor([lower - 0.1 * abs(lower), 1.1 * upper], dtype=torch.float64)
    assert bool(mechanism.invert(value, parents).isnan().all())
    assert bool((mechanism.log_prob(value, parents) == -math.inf).all())


@pytest.mark.parametrize("name", ["truncated", "truncated_log10", "uniform", "uniform_log10"])
def test_on_the_bounds_the_noise_is_finite(name):
    mechanism = MECHANISMS[name]()
    parents = {"x": torch.zeros(1, dtype=torch.float64)}
    for bound in mechanism.support(parents):
        value = torch.as_tensor(bound, dtype=torch.float64).reshape(1)
        noise = mechanism.invert(value, parents)
        assert bool(noise.isfinite().all())
        torch.testing.assert_close(mechanism.assign(noise, parents), value, rtol=1e-13, atol=0.0)


@pytest.mark.parametrize(
    "mechanism",
    [
        AdditiveNoiseMechanism(0.0, 1.0, "log10"),
        TruncatedNormalMechanism(0.0, 1.0, 0.0, 5.0, "log10"),
    ],
)
def test_nothing_is_at_or_below_zero_on_a_logarithmic_scale(mechanism):
    value = torch.tensor([0.0, -1.0], dtype=torch.float64)
    assert bool((mechanism.log_prob(value, {}) == -math.inf).all())


def test_infinite_bounds_leave_finite_gradients():
    scale = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    mechanism = TruncatedNormalMechanism(0.3, lambda p: scale, 0.0, torch.tensor(math.inf))
    value = torch.tensor([0.1, 2.0], dtype=torch.float64)
    mechanism.log_prob(value, {}).sum().backward()
    assert bool(scale.grad.isfinite())


def test_uniform_noise_drives_additive_noise():
    mechanism = AdditiveNoiseMechanism(2.0, 3.0, noise=UniformNoise(0.0, 1.0))
    noise = mechanism.sample_noise((1000,), torch.Generator().manual_seed(0))
    value = mechanism.assign(noise, {})
    lower, upper = mechanism.support({})
    assert (lower.item(), upper.item()) == (2.0, 5.0)
    torch.testing.assert_close(
        mechanism.log_prob(value, {}), torch.full_like(value, -math.log(3.0))
    )
    assert mechanism.log_prob(torch.tensor([1.0]).double(), {}).item() == -math.inf


class TestThreshold:
    def _setup(self):
        parents = {"x": torch.linspace(-3.0, 3.0, 2000, dtype=torch.float64)}
        return ThresholdMechanism(lambda p: torch.sigmoid(p["x"])), parents

    def test_abducted_noise_reproduces_the_value(self):
        mechanism, parents = self._setup()
        noise = mechanism.sample_noise((2000,), torch.Generator().manual_seed(1))
        value = mechanism.assign(noise, parents)
        drawn = mechanism.abduct(value, parents, torch.Generator().manual_seed(2))
        assert torch.equal(mechanism.assign(drawn, parents), value)
        low, high = mechanism.invert_interval(value, parents)
        assert bool(((drawn >= low) & (drawn < high)).all())

    def test_abducted_noise_is_uniform_again(self):
        # The posterior noise averaged over the observations is the prior: U(0, 1).
        mechanism, parents = self._setup()
        value = mechanism.assign(
            mechanism.sample_noise((2000,), torch.Generator().manual_seed(1)), parents
        )
        drawn = mechanism.abduct(value, parents, torch.Generator().manual_seed(2))
        empirical = torch.arange(1, 2001, dtype=torch.float64) / 2000
        # Kolmogorov-Smirnov at the level 1e-3: 1.95 / sqrt(2000) = 0.044.
        assert (drawn.sort().values - empirical).abs().max() < 0.044

    def test_probabilities_sum_to_one(self):
        mechanism, parents = self._setup()
        one = torch.ones(2000, dtype=torch.float64)
        total = mechanism.log_prob(one, parents).exp() + mechanism.log_prob(0 * one, parents).exp()
        torch.testing.assert_close(total, one)

    def test_a_certain_event_has_finite_gradients(self):
        p = torch.tensor([0.0, 1.0], dtype=torch.float64, requires_grad=True)
        mechanism = ThresholdMechanism(lambda parents: p)
        mechanism.log_prob(torch.tensor([0.0, 1.0]).double(), {}).sum().backward()
        assert bool(p.grad.isfinite().all())


def test_mechanisms_without_noise():
    derived = DeterministicMechanism(lambda p: 2.0 * p["x"])
    x = torch.ones(3, dtype=torch.float64)
    assert torch.equal(derived.assign(None, {"x": x}), 2.0 * x)
    assert derived.noise_law is None
    assert ExogenousMechanism().assign(x, {}) is x
