r"""Learned functions of the parents: a sparse kernel machine, and a network."""

__all__ = ["KernelLocation", "NetworkLocation", "additive_kernel"]

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from acie.scm.features import ParentFeatures, perceptron
from acie.scm.mechanisms import Parents
from acie.variables import Variable

#: Scale of the inverse hyperbolic sine that tames long tails, in standard deviations.
_WARP = 0.5


def additive_kernel(x: Tensor, y: Tensor, lengths: Tensor, amplitudes: Tensor) -> Tensor:
    r"""One squared exponential for every feature, and one for all of them together.

    .. math::
        k(x, y) = \sum_j a_j^2 e^{-(x_j - y_j)^2 / 2 l_j^2}
        + a_0^2 e^{-\sum_j (x_j - y_j)^2 / 2 \lambda_j^2}

    The first sum lets a function without interactions be learned as cheaply as its parts. With
    one feature only the last term is kept.

    References:
        Duvenaud, Nickisch & Rasmussen 2011, NeurIPS 24: additive Gaussian processes, of which
        these are the terms of first and of full order.

    Arguments:
        x: Shape ``(*shape, feature)``.
        y: Shape ``(point, feature)``.
        lengths: :math:`l` and :math:`\lambda`, shape ``(2, feature)``.
        amplitudes: :math:`a_0, a_1, ...`, shape ``(1 + feature,)``.

    Returns:
        Shape ``(*shape, point)``.
    """
    # |x - y|^2 as a matrix product needs a fraction of the memory of the differences.
    total = _exponential(x / lengths[1], y / lengths[1]) * amplitudes[0].square()
    if x.shape[-1] == 1:
        return total
    for j in range(x.shape[-1]):
        difference = (x[..., j, None] - y[:, j]) / lengths[0, j]
        total = total + amplitudes[j + 1].square() * torch.exp(-0.5 * difference.square())
    return total


def _exponential(x: Tensor, y: Tensor) -> Tensor:
    square = x.square().sum(-1, keepdim=True) + y.square().sum(-1) - 2.0 * x @ y.T
    return torch.exp(-0.5 * square.clamp_min(0.0))


class KernelLocation(nn.Module):
    r"""A linear function plus a sum of kernels on a few points.

    .. math:: \mu(\mathrm{pa}) = \beta_0 + \beta^T z + \sum_m \gamma_m k(z', z'_m)

    with :math:`z` the standardised parents and :math:`z' = z`, or an inverse hyperbolic sine of
    it that tames long tails.

    Arguments:
        parents: Declarations of the direct causes.
        points: Number of kernel points; 0 leaves the linear function.
        warp: Whether the kernels see the tamed features.
    """

    def __init__(self, parents: Sequence[Variable], points: int = 0, warp: bool = False) -> None:
        super().__init__()
        self.features = ParentFeatures(parents)
        self.warp = warp
        size = self.features.size
        self.register_buffer("linear", torch.zeros(1 + size))
        self.register_buffer("weights", torch.zeros(points))
        self.register_buffer("points", torch.zeros(points, size))
        self.register_buffer("lengths", torch.ones(2, size))
        self.register_buffer("amplitudes", torch.ones(1 + size))

    def inputs(self, features: Tensor) -> Tensor:
        """What the kernels see of the standardised features, same shape."""
        return torch.asinh(features / _WARP) if self.warp else features

    def forward(self, parents: Parents, like: Tensor) -> Tensor:
        """The location, shape and type of ``like``."""
        features = self.features(parents, like)
        linear = self.linear.to(like.dtype)
        location = linear[0] + features @ linear[1:]
        if len(self.weights):
            kernel = additive_kernel(
                self.inputs(features),
                *(getattr(self, n).to(like.dtype) for n in ("points", "lengths", "amplitudes")),
            )
            location = location + kernel @ self.weights.to(like.dtype)
        return location.expand(torch.broadcast_shapes(location.shape, like.shape))


class NetworkLocation(nn.Module):
    """A fully connected network, for functions that are not equally smooth everywhere.

    Arguments:
        parents: Declarations of the direct causes.
        hidden: Widths of the hidden layers.
    """

    def __init__(self, parents: Sequence[Variable], hidden: Sequence[int] = (64, 64, 64)) -> None:
        super().__init__()
        self.features = ParentFeatures(parents)
        self.network = perceptron(self.features.size, hidden, 1)

    def forward(self, parents: Parents, like: Tensor) -> Tensor:
        """The location, shape and type of ``like``."""
        inputs = self.features(parents, like.to(self.features.mean.dtype))
        return self.network(inputs).squeeze(-1).to(like.dtype)
