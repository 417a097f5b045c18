"""The benchmark models of the CausalNF paper as equations, with their published errors.

The equations are numpy functions of the noise and know nothing of the library.

References:
    Javaloy, Sanchez-Martin & Valera 2023, NeurIPS 36: models, protocol and measures.
"""

__all__ = ["ACTED", "EQUATIONS", "PARENTS", "PUBLISHED", "SEEDS", "draw_noise", "solve"]

import numpy as np

SEEDS = (423626, 737, 246, 848, 24787)


def _softplus(x):
    return np.logaddexp(0.0, x)


def _sigmoid(x):
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _large(x, y):
    return _softplus(x + 1.0) + _softplus(0.5 + y) - 3.0


def _laplace(u, location, scale):
    return location - scale * np.sign(u - 0.5) * np.log1p(-2.0 * np.abs(u - 0.5))


#: For every node: its causes, and its value from the nodes before it (x[1], ...) and its noise.
_MODELS = {
    "chain3-lin": [
        ((), lambda x, u: u),
        ((1,), lambda x, u: 10.0 * x[1] - u),
        ((2,), lambda x, u: 0.25 * x[2] + 2.0 * u),
    ],
    "chain4-lin": [
        ((), lambda x, u: u),
        ((1,), lambda x, u: 5.0 * x[1] - u),
        ((2,), lambda x, u: -0.5 * x[2] - 1.5 * u),
        ((3,), lambda x, u: x[3] + u),
    ],
    "chain5-lin": [
        ((), lambda x, u: u),
        ((1,), lambda x, u: 10.0 * x[1] - u),
        ((2,), lambda x, u: 0.25 * x[2] + 2.0 * u),
        ((3,), lambda x, u: x[3] + u),
        ((4,), lambda x, u: u - x[4]),
    ],
    "collider-lin": [
        ((), lambda x, u: u),
        ((), lambda x, u: 2.0 - u),
        ((1, 2), lambda x, u: 0.25 * x[2] - 0.5 * x[1] + 0.5 * u),
    ],
    "fork-lin": [
        ((), lambda x, u: u),
        ((), lambda x, u: 2.0 - u),
        ((1, 2), lambda x, u: 0.25 * x[2] - 1.5 * x[1] + 0.5 * u),
        ((3,), lambda x, u: x[3] + 0.25 * u),
    ],
    "triangle-lin": [
        ((), lambda x, u: u + 1.0),
        ((1,), lambda x, u: 10.0 * x[1] - u),
        ((1, 2), lambda x, u: 0.5 * x[2] + x[1] + u),
    ],
    "chain3-nlin": [
        ((), lambda x, u: u),
        ((1,), lambda x, u: np.exp(x[1] / 2.0) + u / 4.0),
        ((2,), lambda x, u: (x[2] - 5.0) ** 3 / 15.0 + u),
    ],
    "fork-nlin": [
        ((), lambda x, u: u),
        ((), lambda x, u: u),
        ((1, 2), lambda x, u: 4.0 * _sigmoid(x[1] + x[2]) - x[2] ** 2 + u / 2.0),
        ((3,), lambda x, u: 20.0 * _sigmoid(x[3] - x[3] ** 2 / 2.0) + u),
    ],
    "triangle-nlin": [
        ((), lambda x, u: u),
        ((1,), lambda x, u: 2.0 * x[1] ** 2 + u),
        ((1, 2), lambda x, u: 20.0 * _sigmoid(x[2] ** 2 - x[1]) + u),
    ],
    "simpson-nlin": [
        ((), lambda x, u: u),
        ((1,), lambda x, u: _softplus(1.0 - x[1]) + np.sqrt(0.15) * u),
        ((1, 2), lambda x, u: np.tanh(2.0 * x[2]) + 1.5 * x[1] - 1.0 + np.tanh(u)),
        ((3,), lambda x, u: (x[3] - 4.0) / 5.0 + 3.0 + np.sqrt(0.1) * u),
    ],
    "simpson-symprod": [
        ((), lambda x, u: u),
        ((1,), lambda x, u: 2.0 * np.tanh(2.0 * x[1]) + np.sqrt(0.1) * u),
        ((1, 2), lambda x, u: 0.5 * x[1] * x[2] + np.sqrt(0.5) * u),
        ((1,), lambda x, u: np.tanh(1.5 * x[1]) + np.sqrt(0.3) * u),
    ],
    "large-bd-nlin": [
        ((), lambda x, u: _softplus(1.8 * u) - 1.0),
        ((1,), lambda x, u: 0.25 * u + 1.5 * _large(x[1], 0.0)),
        ((1,), lambda x, u: _large(x[1], u)),
        ((2,), lambda x, u: _large(x[2], u)),
        ((3,), lambda x, u: _large(x[3], u)),
        ((4,), lambda x, u: _large(x[4], u)),
        ((5,), lambda x, u: _large(x[5], u)),
        ((6,), lambda x, u: 0.3 * u + _softplus(x[6] + 1.0) - 1.0),
        ((7, 8), lambda x, u: _laplace(u, 2.0 - _softplus((1.3 * x[7] + x[8]) / 3.0 + 1.0), 0.6)),
    ],
}  # fmt: skip
EQUATIONS = {name: [equation for _, equation in nodes] for name, nodes in _MODELS.items()}
PARENTS = {name: [causes for causes, _ in nodes] for name, nodes in _MODELS.items()}
#: Nodes that are acted on.
ACTED = {
    "chain3-lin": (1, 2),
    "chain4-lin": (1, 2, 3),
    "chain5-lin": (1, 2, 3),
    "collider-lin": (2,),
    "fork-lin": (2, 3),
    "triangle-lin": (1, 2),
    "chain3-nlin": (1, 2),
    "fork-nlin": (2, 3),
    "triangle-nlin": (1, 2),
    "simpson-nlin": (1, 2, 3),
    "simpson-symprod": (1, 2, 3),
    "large-bd-nlin": (1, 2, 3, 5),
}
#: Error of counterfactuals and of average effects of CausalNF, 25,000 samples: an independent
#: rerun of its code (display_comparison_table.ipynb of panispani/causalml-needs-synth-eval).
PUBLISHED = {
    "chain3-lin": (0.0427, 0.054),
    "chain4-lin": (0.0417, 0.073),
    "chain5-lin": (0.0773, 0.106),
    "collider-lin": (0.0090, 0.030),
    "fork-lin": (0.0117, 0.034),
    "triangle-lin": (0.212, 0.245),
    "chain3-nlin": (0.0228, 0.036),
    "fork-nlin": (0.0656, 0.074),
    "triangle-nlin": (0.127, 0.129),
    "simpson-nlin": (0.0216, 0.032),
    "simpson-symprod": (0.117, 0.071),
    "large-bd-nlin": (0.0127, 0.025),
}


def draw_noise(name, count, rng):
    """Noise ``(node, sample)``."""
    shape = (len(EQUATIONS[name]), count)
    return rng.uniform(1e-6, 1.0, shape) if name == "large-bd-nlin" else rng.normal(size=shape)


def solve(name, noise, node=None, value=None):
    """Values ``(node, sample)``, with one node set to a value when given."""
    x = {}
    for number, equation in enumerate(EQUATIONS[name], start=1):
        x[number] = equation(x, noise[number - 1])
        if number == node:
            x[number] = np.full_like(x[number], value)
    return np.stack(list(x.values()))
