r"""Transmission by dust over the whole rest grid, from few exponentials.

An attenuation curve hardly changes over a hundred pixels. The grid is cut into blocks, the
transmission is computed at a few Chebyshev points of each, and a matrix product fills in the
pixels. The two branches of Calzetti's law do not quite meet at 6300 angstrom: a block ends there.
"""

__all__ = ["BLOCK", "DustScreen"]

import math

import torch
from torch import Tensor, nn

from acie.physics.dust import (
    BIRTH_CLOUD_RATIO,
    CALZETTI_BREAK,
    calzetti2000_attenuation,
    dust_depth,
)

#: Pixels of a block and points in it. At A_V = 3 mag and a slope of -1.2 young light at 2150
#: angstrom, of which nothing is left, is wrong by 2.4e-7 of itself; all else by far less.
BLOCK, _POINTS = 64, 6


class DustScreen(nn.Module):
    """What dust lets through of old and young light on a logarithmic grid.

    Arguments:
        first_angstrom: Centre of the first pixel.
        step: Step of the grid in ln(lambda).
        size: Number of pixels.
    """

    def __init__(self, first_angstrom: float, step: float, size: int) -> None:
        super().__init__()
        self.size = size
        after = math.ceil(math.log(CALZETTI_BREAK / first_angstrom) / step)
        #: Pixels of the first block that lie before the grid.
        self.before = -after % BLOCK
        blocks = math.ceil((self.before + size) / BLOCK)
        angle = math.pi * (torch.arange(_POINTS, dtype=torch.float64) + 0.5) / _POINTS
        point = 0.5 * (BLOCK - 1) * (1.0 + torch.cos(angle))
        place = BLOCK * torch.arange(blocks)[:, None] + point - self.before
        wave = first_angstrom * torch.exp(step * place)
        tables = {
            "log_wave": torch.log(wave / 5500.0),
            "log_curve": calzetti2000_attenuation(wave).log(),
        }
        for name, table in tables.items():
            self.register_buffer(name, table.float(), persistent=False)
        self.register_buffer("fill", _lagrange(point), persistent=False)

    def forward(self, a_v: Tensor, slope: Tensor, pixels: slice) -> tuple[Tensor, Tensor]:
        """Transmitted fractions of the light of old stars, and of young stars and gas.

        Arguments:
            a_v: A_V, mag, shape ``(*batch,)``.
            slope: delta of :func:`acie.physics.dust.modified_calzetti_attenuation`, same shape.
            pixels: Part of the grid.

        Returns:
            Each of shape ``(*batch, pixel)``, in the precision of the tables.
        """
        start, stop, _ = pixels.indices(self.size)
        first = (start + self.before) // BLOCK
        blocks = slice(first, -(-(stop + self.before) // BLOCK))
        tables = (self.log_curve[blocks].flatten(), self.log_wave[blocks].flatten())
        depth = dust_depth(a_v, slope, *tables)
        points = torch.stack([depth, BIRTH_CLOUD_RATIO * depth]).exp()
        passed = (points.unflatten(-1, (-1, _POINTS)) @ self.fill.to(depth.dtype)).flatten(-2)
        offset = start + self.before - first * BLOCK
        old, young = passed[..., offset : offset + stop - start]
        return old, young


def _lagrange(point: Tensor) -> Tensor:
    """Values at the pixels of a block of the polynomials of Lagrange, ``(point, pixel)``."""
    pixel = torch.arange(BLOCK, dtype=torch.float64)
    rows = []
    for index, own in enumerate(point):
        others = torch.cat([point[:index], point[index + 1 :]])[:, None]
        rows.append(((pixel - others) / (own - others)).prod(0))
    return torch.stack(rows)
