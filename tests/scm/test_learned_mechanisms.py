"""Laws of the mechanisms that are learned from tables, before any learning."""

import math

import pytest
import torch
from torch.distributions import Distribution

from acie.scm import (
    CategoricalMechanism,
    FlowMechanism,
    KernelLocation,
    LearnedAdditiveMechanism,
    LearnedProbabilities,
    MixedLocation,
    NetworkLocation,
    OrdinalMechanism,
)
from acie.variables import Variable

PARENTS = (
    Variable("x"),
    Variable("m", transform="log10"),
    Variable("c", kind="categorical", categories=("a", "b", "c"), support=(0.0, 2.0)),
)


def shaken(module, seed=0):
    """The module with every number drawn at random, so that no law holds by being trivial."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            if name.endswith(("std", "spread", "lengths", "levels")):
                continue
            tensor.copy_(0.5 * torch.randn(tensor.shape, generator=generator))
    return module.double()


def causes(count, seed=1):
    generator = torch.Generator().manual_seed(seed)
    real = torch.randn(2, count, generator=generator, dtype=torch.float64)
    codes = torch.randint(3, (count,), generator=generator).double()
    return {"x": real[0], "m": 10.0 ** real[1], "c": codes}


def continuous():
    kernel = LearnedAdditiveMechanism(KernelLocation(PARENTS, 7, True), "log10")
    network = LearnedAdditiveMechanism(NetworkLocation(PARENTS, (8,)))
    mixed = MixedLocation(KernelLocation(PARENTS, 7), NetworkLocation(PARENTS, (8, 5), 3))
    mixed = LearnedAdditiveMechanism(mixed, "log10")
    flow = FlowMechanism(PARENTS, hidden=(8,))
    return {"kernel": kernel, "network": network, "mixed": mixed, "flow": flow}


@pytest.mark.parametrize("name", continuous())
def test_inverse_and_density(name):
    mechanism, parents = shaken(continuous()[name]), causes(40)
    noise = torch.randn(40, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    noise.requires_grad_()
    value = mechanism.assign(noise, parents)
    (slope,) = torch.autograd.grad(value.sum(), noise)
    assert bool((slope > 0).all())
    torch.testing.assert_close(mechanism.invert(value, parents), noise, rtol=0.0, atol=1e-8)
    expected = -0.5 * noise**2 - 0.5 * math.log(2 * math.pi) - slope.log()
    torch.testing.assert_close(mechanism.log_prob(value, parents), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", continuous())
def test_parents_with_fewer_samples_broadcast(name):
    mechanism, parents = shaken(continuous()[name]), causes(5)
    noise = torch.randn(9, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    wide = {n: v.expand(9, 5) for n, v in parents.items()}
    thin = {n: v[None] for n, v in parents.items()}
    torch.testing.assert_close(mechanism.assign(noise, thin), mechanism.assign(noise, wide))


def discrete():
    ordinal = OrdinalMechanism((0.0, 1.0, 5.0), LearnedProbabilities(PARENTS, 3, (8,)))
    return {
        "ordinal": ordinal,
        "categorical": CategoricalMechanism(3, LearnedProbabilities(PARENTS, 3)),
    }


@pytest.mark.parametrize("name", discrete())
def test_abducted_noise_gives_the_value_back(name):
    mechanism, parents = shaken(discrete()[name]), causes(500)
    generator = torch.Generator().manual_seed(4)
    value = mechanism.assign(mechanism.sample_noise((500,), generator), parents)
    noise = mechanism.abduct(value, parents, generator)
    assert torch.equal(mechanism.assign(noise, parents), value)


@pytest.mark.parametrize("name", discrete())
def test_frequencies_are_the_probabilities(name):
    mechanism, parents = shaken(discrete()[name]), causes(4)
    count = 20_000
    value = mechanism.assign(
        mechanism.sample_noise((count, 4), torch.Generator().manual_seed(5)), parents
    )
    levels = torch.tensor([0.0, 1.0, 5.0] if name == "ordinal" else [0.0, 1.0, 2.0]).double()
    for level in levels:
        p = mechanism.log_prob(level.expand(4), parents).exp()
        share = (value == level).double().mean(0)
        # Five standard errors of a proportion.
        assert bool(((share - p).abs() < 5 * (p * (1 - p) / count).sqrt()).all())


@pytest.mark.parametrize("name", discrete())
def test_abducted_noise_has_the_law_of_the_noise(name):
    # Noise, value, noise given value: the last must have the law of the first.
    mechanism, parents = shaken(discrete()[name]), causes(1)
    generator = torch.Generator().manual_seed(6)
    count = 20_000
    value = mechanism.assign(mechanism.sample_noise((count, 1), generator), parents)
    noise = mechanism.abduct(value, parents, generator).flatten()
    mean, variance, kurtosis = (
        (0.5, 1 / 12, -1.2) if name == "ordinal" else (0.5772156649, math.pi**2 / 6, 2.4)
    )
    error = math.sqrt(variance / len(noise))
    assert abs(float(noise.mean()) - mean) < 5 * error
    assert abs(float(noise.var()) / variance - 1) < 5 * math.sqrt((kurtosis + 2) / len(noise))


def test_a_category_that_gets_relatively_less_likely_attracts_nobody():
    # Counterfactual stability, the defining property of the Gumbel-max mechanism.
    table = shaken(LearnedProbabilities((Variable("x"),), 3))
    mechanism = CategoricalMechanism(3, table)
    generator = torch.Generator().manual_seed(7)
    before = {"x": torch.full((5000,), -1.0, dtype=torch.float64)}
    after = {"x": torch.full((5000,), 1.0, dtype=torch.float64)}
    value = mechanism.assign(mechanism.sample_noise((5000,), generator), before)
    changed = mechanism.assign(mechanism.abduct(value, before, generator), after)
    like = torch.zeros((), dtype=torch.float64)
    gain = table({"x": like + 1.0}, like) - table({"x": like - 1.0}, like)
    for start in range(3):
        for end in range(3):
            if gain[end] < gain[start]:
                assert not bool(((value == start) & (changed == end)).any())
    assert bool((value != changed).any())


def test_two_ordinal_values_are_a_threshold():
    table = shaken(LearnedProbabilities((Variable("x"),), 2))
    mechanism, parents = OrdinalMechanism((0.0, 1.0), table), {"x": causes(9)["x"]}
    noise = torch.rand(9, dtype=torch.float64, generator=torch.Generator().manual_seed(8))
    p = table(parents, noise)[..., 1].exp()
    assert torch.equal(mechanism.assign(noise, parents), (1.0 - noise <= p).double())


def test_a_spline_leaves_the_validation_of_torch_as_it_was():
    before = Distribution._validate_args
    noise = torch.zeros(3, dtype=torch.float64)
    FlowMechanism([]).double().assign(noise, {})
    assert Distribution._validate_args is before
