r"""Learning a smooth location: how smooth it is comes from the evidence, not from a setting."""

__all__ = ["KernelFit", "fit_kernel", "pivots"]

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from acie.scm.learned_locations import KernelLocation, additive_kernel

#: Prior variance of the linear part, in units of the variance of the values: nearly free.
_LINEAR = 10.0
_JITTER = 1e-6


@dataclass(frozen=True)
class KernelFit:
    """Kernel points with their scales, and the map from points to independent weights.

    Arguments:
        points: Shape ``(point, feature)``.
        lengths: Shape ``(2, feature)``.
        amplitudes: Shape ``(1 + feature,)``.
        whiten: Turns independent standard normal weights into weights of the kernels,
            ``(point, point)``.
        evidence: Lower bound of the log marginal likelihood per row, in nat.
    """

    points: Tensor
    lengths: Tensor
    amplitudes: Tensor
    whiten: Tensor
    evidence: float

    def basis(self, inputs: Tensor) -> Tensor:
        """Functions of unit prior variance, ``(row, feature)`` to ``(row, point)``."""
        kernel = additive_kernel(inputs, self.points, self.lengths, self.amplitudes)
        return kernel @ self.whiten


def pivots(inputs: Tensor, lengths: Tensor, amplitudes: Tensor, count: int) -> Tensor:
    """Rows that represent the others: those of a pivoted Cholesky factorisation.

    Each next point is the one whose function value is least known from the points before it.

    References:
        Harbrecht, Peters & Schneider 2012, Appl. Numer. Math. 62, 428.

    Arguments:
        inputs: Shape ``(row, feature)``.
        lengths: As of ``additive_kernel``.
        amplitudes: As of ``additive_kernel``.
        count: Largest number of points.

    Returns:
        Indices, at most ``count``; fewer when no function value is left unknown.
    """
    left = torch.full((len(inputs),), float(_variance(amplitudes, inputs)), dtype=inputs.dtype)
    factor = torch.zeros(len(inputs), min(count, len(inputs)), dtype=inputs.dtype)
    chosen: list[int] = []
    floor = 1e-7 * float(left[0])
    for step in range(factor.shape[1]):
        index = int(left.argmax())
        if float(left[index]) <= floor:
            break
        column = additive_kernel(inputs, inputs[index : index + 1], lengths, amplitudes)[:, 0]
        column = (column - factor[:, :step] @ factor[index, :step]) / left[index].sqrt()
        factor[:, step] = column
        left = (left - column.square()).clamp_min(0.0)
        left[index] = 0.0
        chosen.append(index)
    return torch.tensor(chosen, dtype=torch.long)


def fit_kernel(
    location: KernelLocation,
    features: Tensor,
    values: Tensor,
    generator: torch.Generator,
    points: int = 128,
    rows: int = 3000,
    steps: int = 40,
) -> KernelFit:
    """Lengths, amplitudes and points of the kernels, by maximising the evidence.

    References:
        Titsias 2009, AISTATS 5, equation 9: the variational lower bound of the evidence.

    Arguments:
        location: Says what the kernels see of the features.
        features: Standardised features, ``(row, feature)``, double.
        values: Standardised values, ``(row,)``, double.
        generator: Chooses the rows and the points.
        points: Largest number of kernel points.
        rows: Rows that are used for lengths and amplitudes.
        steps: Largest number of optimiser steps.
    """
    order = torch.randperm(len(values), generator=generator)[:rows]
    x, z, y = location.inputs(features[order]), features[order], values[order]
    x_all = location.inputs(features)
    inducing = x[: min(points // 2, len(x))]
    size = x.shape[1]
    # Starting values: lengths of a few typical distances, half of the variance unexplained.
    raw = torch.zeros(2 * size + size + 2, dtype=x.dtype)
    raw[: 2 * size] = math.log(1.5 * max(1.0, math.sqrt(size)))
    raw[2 * size : -1] = math.log(0.5)
    raw[-1] = math.log(0.7)
    raw.requires_grad_()
    optimiser = torch.optim.LBFGS(
        [raw], max_iter=steps, history_size=10, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = -_evidence(raw, x, z, y, inducing)
        value.backward()
        return value.detach()

    optimiser.step(loss)
    with torch.no_grad():
        evidence = float(_evidence(raw, x, z, y, inducing))
        lengths, amplitudes, _ = _unpack(raw, size)
        pool = torch.randperm(len(values), generator=generator)[: 2 * rows]
        chosen = x_all[pool][pivots(x_all[pool], lengths, amplitudes, points)]
        square = additive_kernel(chosen, chosen, lengths, amplitudes)
        square = square + _JITTER * _variance(amplitudes, chosen) * torch.eye(len(chosen))
        root = torch.linalg.cholesky(square)
        identity = torch.eye(len(chosen), dtype=root.dtype)
        whiten = torch.linalg.solve_triangular(root, identity, upper=False).T
    return KernelFit(chosen, lengths, amplitudes, whiten, evidence)


def _unpack(raw: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    # Bounded, so that a flat evidence cannot carry the optimiser to the end of the numbers.
    lengths = torch.exp(_soft(raw[: 2 * size], 4.0)).reshape(2, size)
    amplitudes = torch.exp(_soft(raw[2 * size : -1], 8.0))
    noise = torch.exp(_soft(raw[-1], 8.0))
    return lengths, amplitudes, noise


def _soft(value: Tensor, limit: float) -> Tensor:
    return limit * torch.tanh(value / limit)


def _variance(amplitudes: Tensor, inputs: Tensor) -> Tensor:
    return amplitudes[0].square() if inputs.shape[1] == 1 else amplitudes.square().sum()


def _evidence(raw: Tensor, x: Tensor, z: Tensor, y: Tensor, inducing: Tensor) -> Tensor:
    """The bound per row, with the linear part marginalised as well."""
    lengths, amplitudes, noise = _unpack(raw, x.shape[1])
    square = additive_kernel(inducing, inducing, lengths, amplitudes)
    variance = _variance(amplitudes, x)
    eye = torch.eye(len(inducing), dtype=x.dtype)
    root = torch.linalg.cholesky(square + _JITTER * variance * eye)
    cross = additive_kernel(inducing, x, lengths, amplitudes)
    kernel = torch.linalg.solve_triangular(root, cross, upper=False)
    linear = math.sqrt(_LINEAR) * torch.cat([torch.ones_like(z[:, :1]), z], dim=1).T
    basis = torch.cat([kernel, linear])
    count = len(y)
    gram = basis @ basis.T / noise.square() + torch.eye(len(basis), dtype=x.dtype)
    upper = torch.linalg.cholesky(gram)
    solved = torch.linalg.solve_triangular(upper, (basis @ y / noise)[:, None], upper=False)
    quadratic = y.square().sum() / noise.square() - solved.square().sum() / noise.square()
    log_det = 2.0 * upper.diagonal().log().sum() + 2.0 * count * noise.log()
    unexplained = (count * variance - kernel.square().sum()) / noise.square()
    total = quadratic + log_det + unexplained + count * math.log(2.0 * math.pi)
    # Weak priors keep unused terms from drifting: a length of a few, a small amplitude.
    prior = 0.5 * (raw[:-1] / 3.0).square().sum()
    return (-0.5 * total - prior) / count
