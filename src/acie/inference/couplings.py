"""The inverse of a coupling spline flow, prepared for many draws.

The layers are zuko's (:class:`zuko.flows.NSF`); what is done with them here is torch alone.
"""

__all__ = ["CouplingInverse", "CouplingLayers", "prepared"]

import math
from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from acie.inference.compiled import CompiledCouplings
from acie.replay import Constant


class CouplingLayers(Constant):
    """Weights of a spline flow's layers, in the order and the parts that its inverse needs.

    In a coupling layer the first half of the variables depends on the context alone. All layers
    are of the same shape, so what depends on the context alone is computed for all at once.

    Arguments:
        flow: A flow whose layers take two passes.
    """

    def __init__(self, flow: nn.Module) -> None:
        layers = list(reversed(flow.transform.transforms))
        dim = len(layers[0].order)
        #: Supplies the number of bins and the smallest slope, the same for all.
        self.layer = layers[0]
        #: Columns of the halves of each layer, as the layer before leaves them, and in the end.
        self.columns: list[tuple[Tensor, Tensor]] = []
        #: Of each layer, what the first half adds to the first hidden units.
        self.heads: list[Tensor] = []
        #: Of each layer, weights and biases from there to the parameters of the second half.
        self.tails: list[list[tuple[Tensor, Tensor]]] = []
        shared: list[list[tuple[Tensor, Tensor]]] = []
        place = torch.arange(dim, device=layers[0].order.device)
        for layer in layers:
            halves = [(layer.order == half).nonzero()[:, 0] for half in (0, 1)]
            linear = [part for part in layer.hyper if isinstance(part, nn.Linear)]
            pairs = [(part.mask * part.weight, part.bias.detach()) for part in linear]
            (weight, bias), *between, last = pairs
            rows = torch.arange(layer.total, device=place.device)
            ends = [(half[:, None] * layer.total + rows).flatten() for half in halves]
            self.columns.append((place[halves[0]], place[halves[1]]))
            self.heads.append(weight[:, halves[0]])
            self.tails.append([*between, tuple(part[ends[1]] for part in last)])
            shared.append(
                [(weight[:, dim:], bias), *between, tuple(part[ends[0]] for part in last)]
            )
            place = torch.cat(halves).argsort()
        self.restore = place
        #: The same for the kernel that draws, or none.
        self.compiled = None
        if CompiledCouplings.covers(layers):
            order = torch.stack([*(torch.cat(halves) for halves in self.columns), place])
            self.compiled = CompiledCouplings(layers, order)
        #: Weights ``(layer, in, out)`` and biases ``(layer, 1, out)`` of the first halves.
        self.shared = [
            (torch.stack([w.T for w, _ in step]), torch.stack([b for _, b in step])[:, None])
            for step in zip(*shared, strict=True)
        ]

    @classmethod
    def of(cls, flow: nn.Module) -> "CouplingLayers":
        """Those of a flow, made anew only where its weights have changed."""
        return prepared(flow, cls)


def prepared(module: nn.Module, prepare: Callable[[nn.Module], Constant]) -> Constant:
    """``prepare(module)``, called anew only where its parameters have changed."""
    state = tuple((part.data_ptr(), part._version) for part in module.parameters())
    kept = _kept.get(module)
    if kept is None or kept[0] != state:
        with torch.inference_mode(False), torch.no_grad():
            kept = _kept[module] = state, prepare(module)
    return kept[1]


_kept: WeakKeyDictionary = WeakKeyDictionary()


class CouplingInverse:
    """The inverse of a spline flow for fixed contexts, with as few network calls as it needs.

    The splines of the first halves are made once for all draws; the network then runs once per
    draw and layer for the second half. (zuko runs it three times per draw, because its
    autoregressive layers may have any order.)

    Arguments:
        flow: A flow whose layers take two passes.
        context: Shape ``(batch, context)``.
    """

    def __init__(self, flow: nn.Module, context: Tensor) -> None:
        self._layers = layers = CouplingLayers.of(flow)
        (weight, bias), *rest = layers.shared
        hidden = torch.baddbmm(bias, context.expand(len(weight), *context.shape), weight)
        #: What the context adds to the first hidden units, ``(layer, batch, hidden)``.
        self._fixed = hidden
        for weight, bias in rest:
            hidden = torch.baddbmm(bias, nn.functional.silu(hidden), weight)
        self._first = _InverseSpline.of(
            hidden.unflatten(-1, (-1, layers.layer.total)), layers.layer
        )

    def __call__(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``(sample, batch, dim)`` back; also the log determinant, ``(sample, batch)``."""
        layers, places = self._layers, []
        for index, (first, second) in enumerate(layers.columns):
            known, place = self._first[index](value.index_select(-1, first))
            places.append(place)
            hidden = nn.functional.linear(known, layers.heads[index]) + self._fixed[index]
            for weight, bias in layers.tails[index]:
                hidden = nn.functional.linear(nn.functional.silu(hidden), weight, bias)
            spline = _InverseSpline.of(hidden.unflatten(-1, (len(second), -1)), layers.layer)
            rest, place = spline(value.index_select(-1, second))
            places.append(place)
            value = torch.cat([known, rest], -1)
        return value.index_select(-1, layers.restore), _InverseSpline.log_derivative(places)


class _InverseSpline:
    r"""The inverse of zuko's rational-quadratic spline and its log derivative in one pass.

    zuko finds the inverse first and its derivative by a second evaluation of the spline; together
    they take a third of the operations.

    References:
        Durkan et al. 2019, Neural Spline Flows, arXiv:1906.04032, equations 4 to 8.

    Arguments:
        inner: Inner knots of values, ``(*, bin - 1)``.
        table: For each bin: left knot of both axes, width, height, slopes at both knots,
            ``(*, 6, bin)``.
    """

    _BOUND = 5.0

    def __init__(self, inner: Tensor, table: Tensor) -> None:
        self._inner, self._table = inner, table

    @classmethod
    def of(cls, parameters: Tensor, layer: nn.Module) -> "_InverseSpline":
        """From the output of a layer's network.

        Arguments:
            parameters: Widths, heights and derivatives, ``(*, 3 bin - 1)``.
            layer: Supplies the number of bins and the smallest slope.
        """
        bins = layer.shapes[0][0]
        scale = 1.0 / abs(math.log(layer.univariate.keywords["slope"]))
        sizes, slopes = parameters.split([2 * bins, bins - 1], -1)
        sizes = sizes.unflatten(-1, (2, bins))
        # Bounded by the line itself, so the exponential needs no maximum taken off first.
        sizes = (sizes / (1.0 + (2.0 * scale) * sizes.abs())).exp()
        sizes = sizes * (2.0 * cls._BOUND / sizes.sum(-1, keepdim=True))
        edges = sizes.cumsum(-1) - cls._BOUND
        slopes = (slopes / (1.0 + scale * slopes.abs())).exp()
        slopes = nn.functional.pad(slopes, (1, 1), value=1.0)
        ends = slopes.unfold(-1, 2, 1).transpose(-1, -2)
        return cls(edges[..., 1, :-1], torch.cat([edges - sizes, sizes, ends], -2))

    def __getitem__(self, index: int) -> "_InverseSpline":
        """Those at one place of the first axis, for example of one layer."""
        return _InverseSpline(self._inner[index], self._table[index])

    def __call__(self, value: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Inverse of ``(sample, *)``, and what its derivative follows from."""
        # Beyond its ends the spline goes on with a slope of one.
        inside = value.clamp(-self._BOUND, self._BOUND)
        index = (inside[..., None] > self._inner).sum(-1)
        table = self._table.expand(*value.shape, *self._table.shape[-2:])
        found = table.gather(-1, index[..., None, None].expand(*value.shape, table.shape[-2], 1))
        x0, y0, width, height, start, end = found[..., 0].unbind(-1)
        # In a bin, everything is measured in its width, height and mean slope.
        per_slope = width / height
        start = start * per_slope
        bend = torch.addcmul(start - 2.0, end, per_slope)
        above = (inside - y0) / height
        b = torch.addcmul(start, above, bend, value=-1.0)
        root = torch.addcmul(
            torch.sub(b, above, alpha=2.0).square(), above, 1.0 - above, value=4.0
        )
        share = 2.0 * above / (b + root.clamp(min=0.0).sqrt())
        return torch.addcmul(x0, share, width) + (value - inside), (share, start, bend, per_slope)

    @staticmethod
    def log_derivative(places: list[tuple[Tensor, ...]]) -> Tensor:
        """Log derivatives of several splines, summed over the last axes."""
        share, start, bend, per_slope = (torch.cat(part, -1) for part in zip(*places, strict=True))
        rest = torch.addcmul(share, share, share, value=-1.0)
        # The mean slope times this over the square of the next is the slope there.
        slope = torch.addcmul(start, share, torch.addcmul(2.0 - 2.0 * start, share, bend))
        return ((1.0 + bend * rest).square() * per_slope / slope).log().sum(-1)
