"""Learning mechanisms with additive noise: the location, and the law of the noise."""

__all__ = ["fit_additive_kernel", "fit_additive_network"]

import torch
from torch import Tensor

from acie.scm import KernelLocation, LearnedAdditiveMechanism
from acie.tabular.kernel_fit import KernelFit, fit_kernel
from acie.tabular.network_fit import Rows, fit_network
from acie.variables import Variable

#: Standard deviation of the prior of the spline's numbers: shapes far from normal are allowed.
_SHAPE_PRIOR = 3.0
_STEPS = 40


def fit_additive_kernel(
    variable: Variable,
    parents: tuple[Variable, ...],
    rows: Rows,
    generator: torch.Generator,
    points: int = 128,
) -> LearnedAdditiveMechanism:
    """Additive noise around a kernel machine, by penalised maximum likelihood.

    The location has the prior of its kernel; its scales maximise the evidence, once with the
    parents as they are and once with long tails tamed, and the better one is kept. Then location,
    spread and the law of the noise maximise the likelihood together, which for noise with edges
    or peaks is much sharper than least squares.

    Arguments:
        variable: The variable, for its natural scale.
        parents: Declarations of its causes; none for a root.
        rows: Rows to learn from, double.
        generator: Source of randomness.
        points: Largest number of kernel points.
    """
    mean, std = _moments(variable, rows)
    scaled = (variable.forward(rows.value) - mean) / std
    location, fit, features = _smooth(parents, rows, scaled, generator, points)
    basis = torch.cat([torch.ones_like(features[:, :1]), features], dim=1)
    free = basis.shape[1]
    if fit is not None:
        basis = torch.cat([basis, fit.basis(location.inputs(features))], dim=1)
    mechanism = LearnedAdditiveMechanism(location, variable.transform).double()
    weights, spread = _fit_weights(mechanism, basis, free, scaled)
    location.linear = weights[:free]
    if fit is not None:
        location.weights = fit.whiten @ weights[free:]
        for name in ("points", "lengths", "amplitudes"):
            setattr(location, name, getattr(fit, name))
    mechanism.output_mean, mechanism.output_std, mechanism.spread = mean, std, spread
    return mechanism.requires_grad_(False)


def fit_additive_network(
    variable: Variable,
    parents: tuple[Variable, ...],
    fitted: Rows,
    checked: Rows,
    generator: torch.Generator,
    steps: int = 3000,
) -> LearnedAdditiveMechanism:
    """Additive noise around a network, by least squares and then the law of the noise.

    Arguments:
        variable: The variable, for its natural scale.
        parents: Declarations of its causes.
        fitted: Rows to learn from, double.
        checked: Rows that choose the state of the network.
        generator: Source of randomness.
        steps: Largest number of gradient steps.
    """
    mean, std = _moments(variable, fitted)

    def scale(value: Tensor) -> Tensor:
        return (variable.forward(value) - mean) / std

    location = fit_network(parents, fitted, checked, scale, generator, steps)
    location.requires_grad_(False)
    mechanism = LearnedAdditiveMechanism(location, variable.transform).double()
    residual = torch.cat(
        [scale(part.value) - location(part.causes, part.value) for part in (fitted, checked)]
    )
    # A location that is off by a constant is mended with the law of the noise.
    weights, spread = _fit_weights(mechanism, torch.ones_like(residual)[:, None], 1, residual)
    mechanism.output_mean, mechanism.output_std = mean + std * weights[0], std
    mechanism.spread = spread
    return mechanism.requires_grad_(False)


def _moments(variable: Variable, rows: Rows) -> tuple[Tensor, Tensor]:
    natural = variable.forward(rows.value)
    return natural.mean(), natural.std(correction=0)


def _smooth(
    parents: tuple[Variable, ...],
    rows: Rows,
    scaled: Tensor,
    generator: torch.Generator,
    points: int,
) -> tuple[KernelLocation, KernelFit | None, Tensor]:
    """The location without its weights, its kernel, and the standardised features."""
    if not parents:
        location = KernelLocation(parents).double()
        return location, None, location.features({}, rows.value)
    found = []
    for warp in (False, True):
        location = KernelLocation(parents, 0, warp).double()
        location.features.standardise(rows.causes)
        features = location.features(rows.causes, rows.value)
        found.append((location, fit_kernel(location, features, scaled, generator, points)))
    location, fit = max(found, key=lambda pair: pair[1].evidence)
    return location, fit, features


def _least_squares(basis: Tensor, free: int, scaled: Tensor) -> tuple[Tensor, Tensor]:
    """Weights and spread of the noise, in turn; the first ``free`` weights have no prior."""
    penalty = torch.ones(basis.shape[1], dtype=basis.dtype)
    penalty[:free] = 1e-6
    gram, right = basis.T @ basis, basis.T @ scaled
    variance = torch.ones((), dtype=basis.dtype)
    for _ in range(5):
        weights = torch.linalg.solve(gram + variance * penalty.diag(), right)
        variance = (scaled - basis @ weights).square().mean().clamp_min(1e-10)
    return weights, variance.sqrt()


def _fit_weights(
    mechanism: LearnedAdditiveMechanism, basis: Tensor, free: int, scaled: Tensor
) -> tuple[Tensor, Tensor]:
    """Maximise the likelihood over the weights, the spread and the shape of the noise."""
    start, spread = _least_squares(basis, free, scaled)
    shape = mechanism.shape
    # Steps in units of the spread, so that all numbers are of order one.
    change = torch.zeros_like(start, requires_grad=True)
    log_spread = torch.zeros((), dtype=basis.dtype, requires_grad=True)
    before = (scaled - basis @ start) / spread

    def loss() -> Tensor:
        optimiser.zero_grad()
        residual = before - basis @ change
        noise, slope = shape.invert(residual * torch.exp(-log_spread))
        likelihood = (mechanism.noise_law.log_prob(noise) + slope - log_spread).sum()
        weights = start[free:] + spread * change[free:]
        penalty = weights.square().sum() + (shape.shape / _SHAPE_PRIOR).square().sum()
        value = (0.5 * penalty - likelihood) / len(scaled)
        value.backward()
        return value.detach()

    # The law of the noise first: a location moved before it is known would move the wrong way.
    law = [shape.shape, log_spread]
    for parameters, count in ((law, _STEPS), ([*law, change], 2 * _STEPS)):
        optimiser = torch.optim.LBFGS(
            parameters, max_iter=count, history_size=20, line_search_fn="strong_wolfe",
            tolerance_grad=1e-6, tolerance_change=1e-7,
        )  # fmt: skip
        optimiser.step(loss)
    return (start + spread * change).detach(), spread * torch.exp(log_spread.detach())
