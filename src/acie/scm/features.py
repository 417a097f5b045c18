"""Values of the direct causes as the standardised inputs of a learned function."""

__all__ = ["ParentFeatures", "perceptron"]

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from acie.variables import Variable


def perceptron(inputs: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    """A network of fully connected layers that starts at zero."""
    widths = [inputs, *hidden]
    layers: list[nn.Module] = []
    for i, o in zip(widths, widths[1:], strict=False):
        layers += [nn.Linear(i, o), nn.SiLU()]
    last = nn.Linear(widths[-1], outputs)
    # A first step of training from zero is well scaled.
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


class ParentFeatures(nn.Module):
    r"""Parents on their natural scales, standardised; categories as indicators.

    .. math:: z_j = (T_j(\mathrm{pa}_j) - m_j) / s_j

    A categorical parent of K categories gives K - 1 indicator columns, category 0 being the
    reference, which are not standardised.

    Arguments:
        parents: Declarations of the direct causes, in order.
    """

    def __init__(self, parents: Sequence[Variable]) -> None:
        super().__init__()
        self.parents = tuple(parents)
        self.size = sum(_width(variable) for variable in self.parents) or 1
        self.register_buffer("mean", torch.zeros(self.size))
        self.register_buffer("std", torch.ones(self.size))

    @torch.no_grad()
    def standardise(self, parents: Mapping[str, Tensor]) -> "ParentFeatures":
        """Take location and scale from training values, each ``(sample,)``, in place."""
        start = 0
        for variable in self.parents:
            if variable.kind != "categorical":
                scaled = variable.forward(parents[variable.name]).double()
                self.mean[start] = scaled.mean()
                self.std[start] = scaled.std(correction=0).clamp_min(1e-12)
            start += _width(variable)
        return self

    def forward(self, parents: Mapping[str, Tensor], like: Tensor) -> Tensor:
        """Features, shape ``(*shape, feature)``, with the shape and type of ``like``."""
        if not self.parents:
            # Without parents, the input is a constant.
            return like.new_zeros((*like.shape, 1))
        columns: list[Tensor] = []
        for variable in self.parents:
            value = parents[variable.name]
            if variable.kind == "categorical":
                codes = range(1, len(variable.categories))
                columns += [(value == code).to(like.dtype) for code in codes]
            else:
                columns.append(variable.forward(value).to(like.dtype))
        shape = torch.broadcast_shapes(like.shape, *(column.shape for column in columns))
        stacked = torch.stack([column.expand(shape) for column in columns], dim=-1)
        return (stacked - self.mean.to(like.dtype)) / self.std.to(like.dtype)


def _width(variable: Variable) -> int:
    return len(variable.categories) - 1 if variable.kind == "categorical" else 1
