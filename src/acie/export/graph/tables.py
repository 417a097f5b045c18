r"""Functions that ONNX does not have, as tables of polynomials; the truncated normal law in these.

Runtimes know neither the inverse of the normal distribution function nor, in double precision,
the function itself. Both are smooth on the right scale: between nodes a polynomial of degree five
gives eight digits or more, at the cost of one look-up whatever the function.
"""

__all__ = ["LogNormalTail", "NormalQuantile", "Pieces", "TruncatedNormal"]

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

_DEGREE = 5
#: Deepest tail, in standard deviations, that is told apart.
_DEEPEST = 100.0
#: A value on its very bound gets this noise, not infinity, as in the causal model.
_LARGEST_NOISE = 38.0
_LOG_HALF = math.log(0.5)


class Pieces(nn.Module):
    """A function of one variable as polynomials between equidistant nodes.

    Arguments:
        function: Smooth between the ends; of double precision.
        low: First node.
        high: Last node; beyond the ends the function keeps its value there.
        count: Number of pieces.
    """

    def __init__(
        self, function: Callable[[Tensor], Tensor], low: float, high: float, count: int
    ) -> None:
        super().__init__()
        self.low, self.high, self.per_unit = low, high, count / (high - low)
        # Through Chebyshev points of each piece, with powers of the place in the piece.
        angle = math.pi * (torch.arange(_DEGREE + 1, dtype=torch.float64) + 0.5) / (_DEGREE + 1)
        place = 0.5 + 0.5 * torch.cos(angle)
        powers = place[:, None] ** torch.arange(_DEGREE + 1)
        starts = torch.arange(count, dtype=torch.float64)[:, None]
        values = function(low + (starts + place) / self.per_unit)
        self.register_buffer("table", torch.linalg.solve(powers, values.T).T.contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """Values at ``x``, same shape, double precision; ``x`` must be a number."""
        position = (x.clamp(self.low, self.high) - self.low) * self.per_unit
        piece = position.floor().clamp(0, len(self.table) - 1)
        share = position - piece
        terms = self.table[piece.long()]
        total = terms[..., _DEGREE]
        for power in reversed(range(_DEGREE)):
            total = total * share + terms[..., power]
        return total


class LogNormalTail(nn.Module):
    r""":math:`\ln \Phi(-x)` for x of at least 0, to 100 standard deviations."""

    def __init__(self) -> None:
        super().__init__()
        # Without its Gaussian the tail is a slow function.
        self.scaled = Pieces(
            lambda x: (0.5 * torch.special.erfcx(x / math.sqrt(2.0))).log(), 0.0, _DEEPEST, 1000
        )

    def forward(self, x: Tensor) -> Tensor:
        """Shape of ``x``."""
        x = x.clamp(max=_DEEPEST)
        return self.scaled(x) - 0.5 * x * x


class NormalQuantile(nn.Module):
    r""":math:`-\Phi^{-1}(p)` of :math:`\ln p` for p of at most a half."""

    def __init__(self) -> None:
        super().__init__()
        tail = LogNormalTail()

        def quantile(root: Tensor) -> Tensor:
            # Newton's steps: the logarithm of the tail is concave and nearly a parabola.
            wanted, x = -0.5 * root * root, root.clone()
            for _ in range(60):
                log_tail = tail(x)
                slope = -torch.exp(-0.5 * x * x - 0.5 * math.log(2.0 * math.pi) - log_tail)
                x = (x - (log_tail - wanted) / slope).clamp(min=-0.1)
            return x

        #: In the root of -2 ln p, in which it is nearly linear.
        self.low = math.sqrt(-2.0 * _LOG_HALF)
        self.pieces = Pieces(quantile, self.low, 60.0, 600)

    def forward(self, log_p: Tensor) -> Tensor:
        """Shape of ``log_p``."""
        root = (-2.0 * log_p.clamp(max=_LOG_HALF)).sqrt()
        # Beyond the table, at 60 standard deviations, the difference is constant to 0.001.
        return self.pieces(root) + (root - root.clamp(max=60.0))


class TruncatedNormal(nn.Module):
    """The normal law cut off at two bounds: see :mod:`acie.scm.truncated_normal`.

    The same map without branches: every probability is kept as a logarithm, relative to the bound
    nearer to the centre, so that no tail is too deep.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tail, self.quantile = LogNormalTail(), NormalQuantile()

    def value_of_noise(self, noise: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """Standardised value of standard normal noise between standardised bounds."""
        flip, a, b = _lean_left(lower, upper)
        noise = torch.where(flip, -noise, noise)
        # Logarithms of the share below the noise and of that above.
        share = self._both(noise)
        (log_a, _), (log_b, above_b) = self._both(a), self._both(b)
        whole = 1.0 - torch.exp(log_a - log_b)
        log_below = log_b + torch.log((1.0 - whole) + torch.exp(share[0]) * whole)
        above = torch.exp(above_b) + torch.exp(share[1] + log_b) * whole
        x = self._place(log_below, above.log())
        return torch.minimum(torch.maximum(torch.where(flip, -x, x), lower), upper)

    def noise_of_value(self, value: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """Inverse of :meth:`value_of_noise`."""
        flip, a, b = _lean_left(lower, upper)
        x = torch.minimum(torch.maximum(torch.where(flip, -value, value), a), b)
        (log_x, above_x), (log_a, _), (log_b, above_b) = map(self._both, (x, a, b))
        whole = 1.0 - torch.exp(log_a - log_b)
        below = (torch.exp(log_x - log_b) - torch.exp(log_a - log_b)) / whole
        # Beyond the centre both are small numbers; before it both are near one.
        right = torch.exp(above_x) - torch.exp(above_b)
        left = 1.0 - torch.exp(log_x - log_b)
        above = torch.where(x > 0, right / torch.exp(log_b), left) / whole
        noise = self._place(*(part.clamp(min=1e-300).log() for part in (below, above)))
        noise = torch.where(flip, -noise, noise)
        return noise.clamp(-_LARGEST_NOISE, _LARGEST_NOISE)

    def _both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithms of the probability below and above."""
        near = self.tail(x.abs())
        far = torch.log(1.0 - torch.exp(near))
        left = x < 0
        return torch.where(left, near, far), torch.where(left, far, near)

    def _place(self, log_below: Tensor, log_above: Tensor) -> Tensor:
        """Where so much lies below, or above, whichever is less."""
        left = log_below < log_above
        x = self.quantile(torch.where(left, log_below, log_above))
        return torch.where(left, -x, x)


def _lean_left(lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    flip = lower + upper > 0
    return flip, torch.where(flip, -upper, lower), torch.where(flip, -lower, upper)
