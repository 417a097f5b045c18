"""Networks of a flow in the form that the compiled kernels take, and calls of these."""

__all__ = ["CompiledCouplings", "CompiledEmbedding"]

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from acie import native
from acie.replay import Constant

#: As in native/network.c: rows that are taken together, and outputs that share what is read.
_WIDE, _OUTPUTS = 16, 4
#: As in native/flow.c: bins of a spline, and numbers of its table.
_BINS, _TABLE = 8, 41


class CompiledCouplings(Constant):
    """Weights of a spline flow's layers for the kernel that draws.

    Half of the hidden units do not depend on the variables. The kernel computes them once for
    each context, so their weights come apart from the others.

    Arguments:
        layers: Coupling layers in the order of the inverse.
        order: Of each layer, where the layer before left the variables of its halves; and in the
            end; ``(layer + 1, dim)``.
    """

    def __init__(self, layers: Sequence[nn.Module], order: Tensor) -> None:
        self._order = order.contiguous()
        slope = layers[0].univariate.keywords["slope"]
        self._rate = 1.0 / abs(math.log(slope))
        parts = [_parts(layer) for layer in layers]
        steps = parts[0]
        of_context = [part for layer in parts for own, others, _ in layer for part in own + others]
        self._of_context = torch.cat([part.flatten() for part in of_context])
        self._of_draws = torch.cat([part.flatten() for layer in parts for *_, part in layer])
        outputs = [len(bias) for own, others, _ in steps for bias in (own[1], others[1])]
        dim, first = len(layers[0].order), int((layers[0].order == 0).sum())
        self._context = layers[0].hyper[0].in_features - dim
        sizes = [dim, first, self._context, len(layers), len(steps), *outputs]
        self._sizes = torch.tensor(sizes)
        kept = len(layers) * (sum(outputs[1::2]) + first * _TABLE) + _affine(dim) + 1
        work = self._context + 4 * dim + _TABLE + 2 * max(outputs)
        self._room = (_WIDE + 1) * kept + _WIDE * work

    @staticmethod
    def covers(layers: Sequence[nn.Module]) -> bool:
        """Whether the kernel knows such layers."""
        return layers[0].shapes[0][0] == _BINS and _readable(layers[0].hyper[0])

    def __call__(
        self, noise: Tensor, context: Tensor, affine: Tensor, scaling: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Draws ``(sample, batch, dim)`` and log |d draw / d noise|, ``(sample, batch)``.

        Arguments:
            noise: Standard normal, ``(sample, batch, dim)``.
            context: Embedded, ``(batch, embedding)``.
            affine: Location and precision that follow from it, see :meth:`PosteriorFlow._law`.
            scaling: Mean and standard deviation of the training variables, ``(2, dim)``.
        """
        samples, batch, dim = noise.shape
        x, log_det = torch.empty(noise.shape), torch.empty(noise.shape[:-1])
        shapes = [(batch, self._context), (batch, _affine(dim)), (2, dim)]
        given = zip((context, affine, scaling), shapes, strict=True)
        context, affine, scaling = (part.expand(shape).contiguous() for part, shape in given)
        noise, room = noise.contiguous(), torch.empty(self._room)
        tensors = (self._of_context, self._of_draws, scaling, context, affine, noise, room)
        native.kernels.draws(
            samples, batch, self._sizes.data_ptr(), self._order.data_ptr(), self._rate,
            *(part.data_ptr() for part in (*tensors, x, log_det)),
        )  # fmt: skip
        return x, log_det


class CompiledEmbedding(Constant):
    """Weights of a residual network for the kernel that embeds many contexts.

    Arguments:
        network: A network whose width is a multiple of four.
    """

    def __init__(self, network: nn.Module) -> None:
        parts = [*_packed(network.first)]
        for norm, inner, _, outer in network.blocks:
            parts += [norm.weight, norm.bias, *_packed(inner), *_packed(outer)]
        norm, _, last = network.last
        parts += [norm.weight, norm.bias, *_packed(last)]
        self._weights = torch.cat([part.detach().flatten() for part in parts])
        context, width = network.first.in_features, network.first.out_features
        out = last.out_features
        self._sizes = (context, width, len(network.blocks), out)
        self._room = (context + 3 * width + out + _OUTPUTS) * _WIDE

    @staticmethod
    def covers(network: nn.Module) -> bool:
        """Whether the kernel knows such a network."""
        return network.first.out_features % _OUTPUTS == 0 and _readable(network.first)

    def __call__(self, context: Tensor, mean: Tensor, scale: Tensor, limit: float) -> Tensor:
        """Embeddings ``(batch, embedding)`` of ``(batch, context)``.

        Arguments:
            context: Not standardised yet.
            mean: Shape ``(context,)``.
            scale: Standard deviations, ``(context,)``.
            limit: How many of them contexts saturate at.
        """
        context = context.expand(-1, self._sizes[0]).contiguous()
        found, room = torch.empty(len(context), self._sizes[-1]), torch.empty(self._room)
        given = (mean.contiguous(), scale.contiguous(), self._weights, context, room, found)
        native.kernels.embed(
            len(context), *self._sizes, limit, *(part.data_ptr() for part in given)
        )
        return found


def _readable(linear: nn.Linear) -> bool:
    return linear.weight.device.type == "cpu" and linear.weight.dtype == torch.float32


def _parts(layer: nn.Module) -> list[tuple[tuple[Tensor, ...], tuple[Tensor, ...], Tensor]]:
    """Of each product of a layer's network, what the kernel takes.

    Returns:
        Weights and biases to what depends on the context alone; from there to the rest; weights
        from the rest of the units before.
    """
    dim, found = len(layer.order), []
    linear = [part for part in layer.hyper if isinstance(part, nn.Linear)]
    variables = torch.arange(linear[0].in_features) < dim
    free, own = (layer.order == 0).nonzero()[:, 0], (~variables).nonzero()[:, 0]
    moves, pads = variables, (0, 0)
    for index, part in enumerate(linear):
        weight, bias = (part.mask * part.weight).detach(), part.bias.detach()
        moves = part.mask[:, moves].any(1)
        if index + 1 == len(linear):
            moves = (layer.order == 1).repeat_interleave(layer.total)
        still, rest = (~moves).nonzero()[:, 0], moves.nonzero()[:, 0]
        between = [
            nn.functional.pad(weight[to][:, of], (0, pad))
            for to, of, pad in ((still, own, pads[0]), (rest, own, pads[0]), (rest, free, pads[1]))
        ]
        found.append(
            (
                (_in_fours(between[0]), _padded(bias[still])),
                (_in_fours(between[1]), _padded(bias[rest])),
                _in_fours(between[2]),
            )
        )
        own, free, pads = still, rest, (-len(still) % _OUTPUTS, -len(rest) % _OUTPUTS)
    return found


def _affine(dim: int) -> int:
    """How many numbers are a location and a triangular matrix."""
    return 2 * dim + dim * (dim - 1) // 2


def _packed(linear: nn.Linear) -> tuple[Tensor, Tensor]:
    return _in_fours(linear.weight), _padded(linear.bias)


def _padded(value: Tensor) -> Tensor:
    """With zeros up to a multiple of four, ``(out,)`` or ``(out, in)``."""
    missing = -len(value) % _OUTPUTS
    return torch.cat([value, value.new_zeros(missing, *value.shape[1:])])


def _in_fours(weight: Tensor) -> Tensor:
    """Weights ``(out, in)`` as ``(out / 4, in, 4)``: outputs that share what is read."""
    return _padded(weight).unflatten(0, (-1, _OUTPUTS)).transpose(1, 2).contiguous()
