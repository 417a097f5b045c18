"""Weights of piecewise-linear interpolation on a one-dimensional grid."""

__all__ = ["linear_weights"]

from torch import Tensor
from torch.nn.functional import pad


def linear_weights(value: Tensor, nodes: Tensor) -> Tensor:
    """Dense hat-function weights: at most two neighbouring nodes are non-zero.

    A dense matrix of weights turns interpolation of large tables into a matrix product and stays
    differentiable; outside the nodes the nearest one gets all the weight.

    Arguments:
        value: Where to interpolate, shape ``(*batch,)``.
        nodes: Increasing grid points, shape ``(node,)``.

    Returns:
        Weights that sum to one, shape ``(*batch, node)``.

    Example:
        >>> linear_weights(torch.tensor([0.25]), torch.tensor([0.0, 1.0, 3.0]))
        tensor([[0.7500, 0.2500, 0.0000]])
    """
    clamped = value.clamp(nodes[0].item(), nodes[-1].item())[..., None]
    rise = (clamped - nodes[:-1]) / (nodes[1:] - nodes[:-1])
    step = rise.clamp(0.0, 1.0)
    return pad(step, (1, 0), value=1.0) - pad(step, (0, 1))
