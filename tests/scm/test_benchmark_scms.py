"""Benchmark models of the CausalNF paper, with true equations: exact counterfactuals.

The truth is written as straight numpy functions of the noise and the action, and knows nothing
of the library. With the same equations given as mechanisms, the counterfactual error must be
that of double precision.

References:
    Javaloy, Sanchez-Martin & Valera 2023, NeurIPS 36, appendix: equations of the models.
"""

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from acie.scm import (
    AdditiveNoiseMechanism,
    Do,
    MonotoneMechanism,
    Scale,
    Shift,
    StructuralCausalModel,
)
from acie.scm.noise import UniformNoise
from acie.variables import Variable

NORMAL, UNIFORM = None, UniformNoise(1e-6, 1.0)


def np_softplus(x):
    return np.logaddexp(0.0, x)


def np_large(x, y):
    return np_softplus(x + 1.0) + np_softplus(0.5 + y) - 3.0


def np_laplace(u, loc, scale):
    return loc - scale * np.sign(u - 0.5) * np.log1p(-2.0 * np.abs(u - 0.5))


# Truth: for every node, its value from the nodes before it (x[1], x[2], ...) and its noise.
TRUTH = {
    "triangle_nlin": [
        lambda x, u: u,
        lambda x, u: 2.0 * x[1] ** 2 + u,
        lambda x, u: 20.0 / (1.0 + np.exp(-(x[2] ** 2) + x[1])) + u,
    ],
    "triangle_lin": [
        lambda x, u: u + 1.0,
        lambda x, u: 10.0 * x[1] - u,
        lambda x, u: 0.5 * x[2] + x[1] + u,
    ],
    "fork_nlin": [
        lambda x, u: u,
        lambda x, u: u,
        lambda x, u: 4.0 / (1.0 + np.exp(-x[1] - x[2])) - x[2] ** 2 + u / 2.0,
        lambda x, u: 20.0 / (1.0 + np.exp(x[3] ** 2 / 2.0 - x[3])) + u,
    ],
    "chain3_nlin": [
        lambda x, u: u,
        lambda x, u: np.exp(x[1] / 2.0) + u / 4.0,
        lambda x, u: (x[2] - 5.0) ** 3 / 15.0 + u,
    ],
    "simpson_nlin": [
        lambda x, u: u,
        lambda x, u: np_softplus(1.0 - x[1]) + np.sqrt(3.0 / 20.0) * u,
        lambda x, u: np.tanh(2.0 * x[2]) + 1.5 * x[1] - 1.0 + np.tanh(u),
        lambda x, u: (x[3] - 4.0) / 5.0 + 3.0 + u / np.sqrt(10.0),
    ],
    "simpson_symprod": [
        lambda x, u: u,
        lambda x, u: 2.0 * np.tanh(2.0 * x[1]) + u / np.sqrt(10.0),
        lambda x, u: x[1] * x[2] / 2.0 + u / np.sqrt(2.0),
        lambda x, u: np.tanh(1.5 * x[1]) + np.sqrt(0.3) * u,
    ],
    "large_bd_nlin": [
        lambda x, u: np_softplus(1.8 * u) - 1.0,
        lambda x, u: 0.25 * u + 1.5 * np_large(x[1], 0.0),
        lambda x, u: np_large(x[1], u),
        lambda x, u: np_large(x[2], u),
        lambda x, u: np_large(x[3], u),
        lambda x, u: np_large(x[4], u),
        lambda x, u: np_large(x[5], u),
        lambda x, u: 0.3 * u + np_softplus(x[6] + 1.0) - 1.0,
        lambda x, u: np_laplace(u, -np_softplus((1.3 * x[7] + x[8]) / 3.0 + 1.0) + 2.0, 0.6),
    ],
}
ACTED = {
    "triangle_nlin": (1, 2),
    "triangle_lin": (1, 2),
    "fork_nlin": (2, 3),
    "chain3_nlin": (1, 2),
    "simpson_nlin": (1, 2, 3),
    "simpson_symprod": (1, 2, 3),
    "large_bd_nlin": (1, 2, 3, 5),
}


def truth(name, noise, action=None):
    """Values ``(node, sample)``; ``action`` is a node and a function of its factual value."""
    x = {}
    for node, equation in enumerate(TRUTH[name], start=1):
        x[node] = equation(x, noise[node - 1])
        if action is not None and node == action[0]:
            x[node] = action[1](x[node])
    return np.stack(list(x.values()))


def additive(location, scale=1.0, noise=NORMAL):
    return AdditiveNoiseMechanism(location, scale, noise=noise)


def inverse_softplus(y):
    return y + torch.log(-torch.expm1(-y))


def large(parent):
    return MonotoneMechanism(
        lambda u, p: softplus(p[parent] + 1.0) + softplus(0.5 + u) - 3.0,
        lambda v, p: inverse_softplus(v + 3.0 - softplus(p[parent] + 1.0)) - 0.5,
        noise=UNIFORM,
    )


def laplace_location(p):
    return 2.0 - softplus((1.3 * p["x7"] + p["x8"]) / 3.0 + 1.0)


def laplace_quantile(u, p):
    tail = torch.minimum(u, 1.0 - u)
    return laplace_location(p) + 0.6 * torch.sign(u - 0.5) * -torch.log(2.0 * tail)


def laplace_distribution(v, p):
    z = (v - laplace_location(p)) / 0.6
    return torch.where(z < 0, 0.5 * torch.exp(z), 1.0 - 0.5 * torch.exp(-z))


MODELS = {
    "triangle_nlin": {
        (): additive(0.0),
        (1,): additive(lambda p: 2.0 * p["x1"] ** 2),
        (1, 2): additive(lambda p: 20.0 * torch.sigmoid(p["x2"] ** 2 - p["x1"])),
    },
    "triangle_lin": {
        (): additive(1.0),
        (1,): additive(lambda p: 10.0 * p["x1"], -1.0),
        (1, 2): additive(lambda p: 0.5 * p["x2"] + p["x1"]),
    },
    "fork_nlin": [
        ((), additive(0.0)),
        ((), additive(0.0)),
        ((1, 2), additive(lambda p: 4 * torch.sigmoid(p["x1"] + p["x2"]) - p["x2"] ** 2, 0.5)),
        ((3,), additive(lambda p: 20.0 * torch.sigmoid(p["x3"] - p["x3"] ** 2 / 2.0))),
    ],
    "chain3_nlin": {
        (): additive(0.0),
        (1,): additive(lambda p: torch.exp(p["x1"] / 2.0), 0.25),
        (2,): additive(lambda p: (p["x2"] - 5.0) ** 3 / 15.0),
    },
    "simpson_nlin": {
        (): additive(0.0),
        (1,): additive(lambda p: softplus(1.0 - p["x1"]), 0.15**0.5),
        (1, 2): MonotoneMechanism(
            lambda u, p: torch.tanh(2.0 * p["x2"]) + 1.5 * p["x1"] - 1.0 + torch.tanh(u),
            lambda v, p: torch.atanh(v - torch.tanh(2.0 * p["x2"]) - 1.5 * p["x1"] + 1.0),
        ),
        (3,): additive(lambda p: (p["x3"] - 4.0) / 5.0 + 3.0, 0.1**0.5),
    },
    "simpson_symprod": [
        ((), additive(0.0)),
        ((1,), additive(lambda p: 2.0 * torch.tanh(2.0 * p["x1"]), 0.1**0.5)),
        ((1, 2), additive(lambda p: p["x1"] * p["x2"] / 2.0, 0.5**0.5)),
        ((1,), additive(lambda p: torch.tanh(1.5 * p["x1"]), 0.3**0.5)),
    ],
    "large_bd_nlin": [
        (
            (),
            MonotoneMechanism(
                lambda u, p: softplus(1.8 * u) - 1.0,
                lambda v, p: inverse_softplus(v + 1.0) / 1.8,
                noise=UNIFORM,
            ),
        ),
        (
            (1,),
            additive(
                lambda p: 1.5 * (softplus(p["x1"] + 1.0) + np.logaddexp(0.0, 0.5) - 3.0),
                0.25,
                UNIFORM,
            ),
        ),
        ((1,), large("x1")),
        ((2,), large("x2")),
        ((3,), large("x3")),
        ((4,), large("x4")),
        ((5,), large("x5")),
        ((6,), additive(lambda p: softplus(p["x6"] + 1.0) - 1.0, 0.3, UNIFORM)),
        ((7, 8), MonotoneMechanism(laplace_quantile, laplace_distribution, noise=UNIFORM)),
    ],
}


def build(name):
    nodes = MODELS[name].items() if isinstance(MODELS[name], dict) else MODELS[name]
    variables, mechanisms = [], {}
    for node, (parents, mechanism) in enumerate(nodes, start=1):
        variables.append(Variable(f"x{node}", parents=tuple(f"x{i}" for i in parents)))
        mechanisms[f"x{node}"] = mechanism
    return StructuralCausalModel(variables, mechanisms)


def draw(name, count=2000, seed=423626):
    rng = np.random.default_rng(seed)
    shape = (len(TRUTH[name]), count)
    if name == "large_bd_nlin":
        return rng.uniform(1e-6, 1.0, shape)
    return rng.normal(size=shape)


def as_state(values):
    return {f"x{i}": torch.from_numpy(row) for i, row in enumerate(values, start=1)}


@pytest.mark.parametrize("name", TRUTH)
def test_the_model_is_the_truth(name):
    noise = draw(name)
    given = as_state(noise)
    values, _ = build(name).sample((noise.shape[1],), noise=given)
    for node, row in as_state(truth(name, noise)).items():
        torch.testing.assert_close(values[node], row, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["do_25", "do_50", "do_75", "shift", "scale"])
@pytest.mark.parametrize("name", TRUTH)
def test_counterfactuals_are_exact(name, kind):
    noise = draw(name)
    factual = truth(name, noise)
    model = build(name)
    for node in ACTED[name]:
        level = (
            round(float(np.percentile(factual[node - 1], int(kind[-2:]))), 2)
            if (kind.startswith("do"))
            else 0.0
        )
        act, intervention = {
            "shift": (lambda x: x + 0.3, Shift(0.3)),
            "scale": (lambda x: 1.2 * x, Scale(1.2)),
        }.get(kind, (lambda x, level=level: np.full_like(x, level), Do(level)))
        expected = truth(name, noise, (node, act))
        worlds = model.counterfactual(as_state(factual), {f"x{node}": intervention})
        got = np.stack([worlds.counterfactual()[f"x{i + 1}"] for i in range(len(expected))])
        error = np.sqrt(((got - expected) ** 2).sum(0)).mean()
        assert error < 1e-10


@pytest.mark.parametrize("name", TRUTH)
def test_noise_is_recovered(name):
    noise = draw(name)
    recovered = build(name).abduct(as_state(truth(name, noise)))
    for node, row in as_state(noise).items():
        torch.testing.assert_close(recovered[node], row, rtol=0.0, atol=1e-8)


@pytest.mark.parametrize("name", TRUTH)
def test_log_density_is_that_of_the_noise(name):
    # log p(x) = log p(u) - log |det dx/du|; the matrix is triangular, differentiated by hand in
    # the truth by central differences.
    noise = draw(name, count=20)
    noise = noise.clip(0.01, 0.99) if name == "large_bd_nlin" else noise
    values = truth(name, noise)
    step, log_det = 1e-6, 0.0
    for node in range(len(noise)):
        up, down = noise.copy(), noise.copy()
        up[node] += step
        down[node] -= step
        slope = (truth(name, up)[node] - truth(name, down)[node]) / (2.0 * step)
        log_det = log_det + np.log(np.abs(slope))
    if name == "large_bd_nlin":
        log_p_noise = -len(noise) * np.log(1.0 - 1e-6)
    else:
        log_p_noise = -0.5 * (noise**2 + np.log(2.0 * np.pi)).sum(0)
    got = build(name).log_prob(as_state(values)).numpy()
    np.testing.assert_allclose(got, log_p_noise - log_det, rtol=1e-5, atol=1e-5)
