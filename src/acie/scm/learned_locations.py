r"""Learned functions of the parents: a sparse kernel machine, networks, and a mixture of both."""

__all__ = ["KernelLocation", "MixedLocation", "NetworkLocation", "additive_kernel"]

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from acie.scm.features import ParentFeatures
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
    r"""The mean of fully connected networks, for functions not equally smooth everywhere.

    The members have their weights in common tensors, so that one pass computes all of them.

    References:
        Breiman 1996, Machine Learning 24, 123: means of predictors trained on parts of the rows.

    Arguments:
        parents: Declarations of the direct causes.
        hidden: Widths of the hidden layers.
        members: Number of networks.
    """

    def __init__(
        self,
        parents: Sequence[Variable],
        hidden: Sequence[int] = (64, 64, 64),
        members: int = 1,
    ) -> None:
        super().__init__()
        self.features = ParentFeatures(parents)
        self.hidden, self.members = tuple(hidden), members
        widths = [self.features.size, *self.hidden, 1]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for layer, (i, o) in enumerate(zip(widths, widths[1:], strict=False)):
            # A first step of training from zero is well scaled.
            bound = 1.0 / math.sqrt(i) if layer < len(self.hidden) else 0.0
            self.weights.append(nn.Parameter(torch.empty(members, i, o).uniform_(-bound, bound)))
            self.biases.append(nn.Parameter(torch.empty(members, 1, o).uniform_(-bound, bound)))

    def each(self, features: Tensor) -> Tensor:
        """The output of every member.

        Arguments:
            features: Standardised features, ``(row, feature)``, or other rows for each member,
                ``(member, row, feature)``.

        Returns:
            Shape ``(member, row)``.
        """
        layer = features.expand(self.members, *features.shape[-2:])
        last = len(self.weights) - 1
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            layer = torch.baddbmm(bias, layer, weight)
            if number < last:
                layer = nn.functional.silu(layer)
        return layer.squeeze(-1)

    def forward(self, parents: Parents, like: Tensor) -> Tensor:
        """The location, shape and type of ``like``."""
        inputs = self.features(parents, like.to(self.features.mean.dtype))
        found = self.each(inputs.reshape(-1, inputs.shape[-1])).mean(0)
        return found.reshape(inputs.shape[:-1]).to(like.dtype)


class MixedLocation(nn.Module):
    r"""A kernel machine and networks, weighted.

    .. math:: \mu = (1 - w)\,\mu_\mathrm{kernel} + w\,\mu_\mathrm{network}

    Arguments:
        kernel: The kernel machine.
        network: The networks.
    """

    def __init__(self, kernel: KernelLocation, network: NetworkLocation) -> None:
        super().__init__()
        self.kernel, self.network = kernel, network
        self.register_buffer("weight", torch.full((), 0.5))

    def forward(self, parents: Parents, like: Tensor) -> Tensor:
        """The location, shape and type of ``like``."""
        weight = self.weight.to(like.dtype)
        smooth, network = (part(parents, like) for part in (self.kernel, self.network))
        return smooth + weight * (network - smooth)
