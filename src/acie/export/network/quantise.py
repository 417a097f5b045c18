"""Weights of 8 bits: a quarter of the size, and what each layer of them costs.

Each column of a weight matrix gets one scale. Weights are rounded one input after the other, and
what a rounding does to the output of the layer is made up for by the inputs that are still to
come, as far as they go along with it on simulated galaxies. Layers that would still move the
posterior keep 16 bits. Products are taken in single precision: the layers are so small that
integer products save nothing, see ``docs/export.md``.
"""

__all__ = ["QuantisedLayer", "quantised", "rounded", "with_layers"]

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from acie.errors import ConfigurationError
from acie.export.network.coupling import Dense

#: A layer keeps 16 bits if its 8 bits alone move the median of a variable by more than this share
#: of its sigma, in 5 of 100 galaxies.
_HALF = 0.02
#: Added to the second moments of the inputs, in units of their mean.
_DAMPING = 0.01


@dataclass(frozen=True)
class QuantisedLayer:
    """A weight matrix of few bits.

    Arguments:
        values: Whole numbers from -127 to 127, or half-precision numbers, ``(in, out)``.
        scale: What they are multiplied with, ``(1, out)``; left out for half precision.
        weight_error: Relative root-mean-square error of the weights.
        output_error: Relative root-mean-square error of the products on calibration inputs.
        median: Largest shift of a median, in sigma, that this layer alone causes in 95 of 100
            galaxies with 8 bits.
    """

    values: np.ndarray
    scale: np.ndarray | None
    weight_error: float
    output_error: float
    median: float

    def facts(self) -> dict[str, float | int]:
        """For reports."""
        return {
            "bits": 8 * self.values.itemsize,
            "weights": self.values.size,
            "weight_error": self.weight_error,
            "output_error": self.output_error,
            "median_at_8_bits": self.median,
        }


def quantised(network: nn.Module, draw: Callable[[], Tensor]) -> dict[str, QuantisedLayer]:
    """Layers of few bits, by name, in the order of computing.

    The network is changed in place: it then computes with the rounded weights.

    Arguments:
        network: Holds :class:`acie.export.network.coupling.Dense` layers.
        draw: Runs the network on calibration galaxies, the same each time; ``(sample, batch, n)``.
    """
    dense = {name: part for name, part in network.named_modules() if isinstance(part, Dense)}
    seen: list[str] = []
    with _watching(dense, lambda name, _: seen.append(name)):
        sigma = draw().std(0)
    found = {}
    for name in dict.fromkeys(seen):
        inputs: list[Tensor] = []
        with _watching({name: dense[name]}, lambda _, value, own=inputs: own.append(value)):
            before = draw().median(0).values
        part, exact, rows = dense[name], dense[name].weight.clone(), torch.cat(inputs)
        values, scale = rounded(exact, rows)
        part.weight.copy_(values.float() * scale)
        moved = ((draw().median(0).values - before).abs() / sigma).quantile(0.95, dim=0).max()
        if moved > _HALF:
            values, scale = exact.half(), None
            part.weight.copy_(values.float())
        error = part.weight - exact
        found[name] = QuantisedLayer(
            values=values.numpy(),
            scale=None if scale is None else scale.numpy(),
            weight_error=_relative(error, exact),
            output_error=_relative(rows @ error, rows @ exact),
            median=float(moved),
        )
    return found


def with_layers(model: onnx.ModelProto, layers: Mapping[str, QuantisedLayer]) -> onnx.ModelProto:
    """The graph with weights of few bits, which runtimes unpack once, when they load it.

    Arguments:
        model: The graph.
        layers: By the name of the weight that each replaces.
    """
    other = onnx.ModelProto()
    other.CopyFrom(model)
    graph = other.graph
    kept = [weight for weight in graph.initializer if weight.name not in layers]
    missing = set(layers) - {weight.name for weight in graph.initializer}
    if missing:
        raise ConfigurationError(
            "layers", expected="weights of the graph", found=", ".join(sorted(missing))
        )
    nodes = []
    for name, layer in layers.items():
        kept.append(numpy_helper.from_array(layer.values, f"{name}:values"))
        if layer.scale is None:
            nodes.append(
                helper.make_node("Cast", [f"{name}:values"], [name], to=TensorProto.FLOAT)
            )
            continue
        kept.append(numpy_helper.from_array(layer.scale, f"{name}:scale"))
        inner = f"{name}:float"
        nodes += [
            helper.make_node("Cast", [f"{name}:values"], [inner], to=TensorProto.FLOAT),
            helper.make_node("Mul", [inner, f"{name}:scale"], [name]),
        ]
    kept = [onnx.TensorProto.FromString(weight.SerializeToString()) for weight in kept]
    nodes += [onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)
    return other


def _cast(source: str, target: str) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], to=TensorProto.FLOAT)


def _relative(error: Tensor, value: Tensor) -> float:
    return float(error.square().mean().sqrt() / value.square().mean().sqrt().clamp(min=1e-30))


def rounded(weight: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers of 8 bits and a scale per column, rounded so that the products change little.

    References:
        Frantar et al. 2023, GPTQ, arXiv:2210.17323, algorithm 1, without blocks.

    Arguments:
        weight: Shape ``(in, out)``.
        inputs: What the weight is multiplied with, ``(row, in)``.

    Returns:
        Shapes ``(in, out)`` and ``(1, out)``.
    """
    scale = (weight.abs().amax(0, keepdim=True) / 127.0).clamp(min=1e-30)
    moments = inputs.double().T @ inputs.double()
    # An input that is never there leaves its weights as they round.
    diagonal = moments.diagonal()
    diagonal += _DAMPING * diagonal.mean() + (diagonal == 0).double()
    # Inputs that matter most are rounded first, while all others can still make up for it.
    order = diagonal.argsort(descending=True)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(moments[order][:, order]))
    factor = torch.linalg.cholesky(inverse, upper=True)
    rest, step = weight.double()[order], scale.double()
    values = torch.empty_like(rest)
    for row in range(len(rest)):
        values[row] = (rest[row] / step[0]).round().clamp(-127, 127)
        error = (rest[row] - values[row] * step[0]) / factor[row, row]
        rest[row:] -= factor[row, row:, None] * error
    found = torch.empty_like(values)
    found[order] = values
    return found.to(torch.int8), scale


@contextmanager
def _watching(
    layers: Mapping[str, nn.Module], see: Callable[[str, Tensor], None]
) -> Iterator[None]:
    """Calls ``see`` with the name and the inputs, as rows, of every call of the layers."""

    def hook(name: str) -> Callable:
        return lambda _, given: see(name, given[0].reshape(-1, given[0].shape[-1]))

    hooks = [part.register_forward_pre_hook(hook(name)) for name, part in layers.items()]
    try:
        yield
    finally:
        for one in hooks:
            one.remove()
