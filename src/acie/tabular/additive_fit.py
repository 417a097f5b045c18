"""Learning mechanisms with additive noise: the location, and the law of the noise."""

__all__ = ["fit_additive", "fit_additive_kernel"]

import torch
from torch import Tensor

from acie.scm import KernelLocation, LearnedAdditiveMechanism, MixedLocation
from acie.tabular.ensemble_fit import FOLDS, fit_ensemble, folds
from acie.tabular.kernel_fit import KernelFit, fit_kernel
from acie.tabular.network_fit import Rows, select
from acie.variables import Variable

#: Standard deviation of the prior of the spline's numbers: shapes far from normal are allowed.
_SHAPE_PRIOR = 3.0
_STEPS = 40
#: Standard deviation of the prior of the share of the networks, around none.
_SHARE_PRIOR = 1.0
#: A share that changes nothing worth the time of the networks.
_SHARE_FLOOR = 0.05


def fit_additive(
    variable: Variable,
    parents: tuple[Variable, ...],
    rows: Rows,
    checked: Rows,
    generator: torch.Generator,
    steps: int,
) -> LearnedAdditiveMechanism:
    """Additive noise around a kernel machine, networks, or a mean of them weighted by the data.

    A choice of one of the two needs a difference of their likelihoods that few rows can show, and
    throws the other away. The weights are those of stacking instead: every row is predicted by a
    kernel machine and by a network that have not seen it, and the share of the networks
    minimises the squared error of all these predictions. The kernel machine is kept alone where
    the checked rows say clearly that it is better, as for noise with edges, which maximum
    likelihood uses and least squares does not.

    References:
        Wolpert 1992, Neural Networks 5, 241; Breiman 1996, Machine Learning 24, 49: stacking.

    Arguments:
        variable: The variable, for its natural scale.
        parents: Declarations of its causes; none for a root.
        rows: Rows to learn from, double, in random order.
        checked: Rows that compare.
        generator: Source of randomness.
        steps: Largest number of gradient steps of the networks.
    """
    smooth, smooth_apart = fit_additive_kernel(variable, parents, rows, generator)
    if not parents:
        return smooth
    mean, std = smooth.output_mean, smooth.output_std
    scaled = (variable.forward(rows.value) - mean) / std
    network, apart = fit_ensemble(parents, rows, scaled, generator, steps)
    share = _share(scaled, smooth_apart, apart)
    if share < _SHARE_FLOOR:
        return smooth
    location = MixedLocation(smooth.location, network).double()
    location.weight.fill_(share)
    mixed = LearnedAdditiveMechanism(location, variable.transform).double()
    # The law of the noise is that of rows the networks have not seen, which is not too narrow.
    known = smooth.location(rows.causes, scaled)
    residual = scaled - known - share * (apart - known)
    weights, spread = _fit_weights(mixed, torch.ones_like(residual)[:, None], 1, residual)
    mixed.output_mean, mixed.output_std, mixed.spread = mean + std * weights[0], std, spread
    mixed.requires_grad_(False)
    scores = [one.log_prob(checked.value, checked.causes) for one in (mixed, smooth)]
    return (mixed, smooth)[select(scores)]


def _share(scaled: Tensor, smooth: Tensor, network: Tensor) -> float:
    """Share of the networks, from predictions of rows that were left out; 0 to 1."""
    error, change = scaled - smooth, network - smooth
    prior = error.square().mean() / _SHARE_PRIOR**2
    share = (error @ change) / (change @ change + prior)
    return float(share.clamp(0.0, 1.0))


def fit_additive_kernel(
    variable: Variable,
    parents: tuple[Variable, ...],
    rows: Rows,
    generator: torch.Generator,
    points: int = 128,
) -> tuple[LearnedAdditiveMechanism, Tensor]:
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

    Returns:
        The mechanism, and for every row the standardised location without its fold, ``(row,)``.
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
    return mechanism.requires_grad_(False), _predict_apart(basis, free, scaled)


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


def _predict_apart(basis: Tensor, free: int, scaled: Tensor) -> Tensor:
    """Least squares predictions of the rows of each fold from those of the others, ``(row,)``."""
    fold, predicted = folds(len(scaled)), torch.empty_like(scaled)
    for number in range(FOLDS):
        apart, rest = fold == number, fold != number
        weights, _ = _least_squares(basis[rest], free, scaled[rest])
        predicted[apart] = basis[apart] @ weights
    return predicted


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
