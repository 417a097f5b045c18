r"""From the rest-frame grid to the pixels of the instrument.

Both grids are logarithmic with the same step h, so a redshift is a shift by
:math:`\ln(1 + z)/h = k + f` pixels. The whole pixels k choose where the observed window starts on
the rest grid; the fraction f is a phase in Fourier space. Only the window is computed, which is
two thirds of the rest grid.
"""

__all__ = ["PixelWindow"]

import math

import torch
from torch import Tensor, nn

from acie.errors import OutsideSupport
from acie.observation import WAVELENGTH
from acie.physics.templates import REST_SIZE, REST_STEP, REST_WAVELENGTH

#: Pixels of the window: the instrument's range takes 5314, and the length suits the FFT.
_SIZE = 5632
#: Window pixels before the first instrument pixel.
_MARGIN = 159
#: Pixels over which the window falls to zero at both ends, so that it can be taken as periodic.
#: The 63 that are left to the instrument's range are 4 sigma at 800 km/s.
_TAPER = 96


class PixelWindow(nn.Module):
    """The logarithmic observed window and its sampling at the instrument's pixels."""

    def __init__(self) -> None:
        super().__init__()
        position = torch.log(torch.as_tensor(WAVELENGTH / REST_WAVELENGTH[0])) / REST_STEP
        self.first = int(position[0]) - _MARGIN
        self.size = _SIZE
        #: Pixels beyond the red end of the rest grid that a window may ask for.
        self.overhang = self.first + _SIZE - REST_SIZE
        index, weights = _cubic_taps(position - self.first)
        instrument = torch.as_tensor(WAVELENGTH.copy())
        self.register_buffer("instrument", instrument, persistent=False)
        self.register_buffer("_index", index, persistent=False)
        self.register_buffer("_weights", weights.float(), persistent=False)
        ramp = 0.5 - 0.5 * torch.cos(math.pi * (torch.arange(_TAPER) + 0.5) / _TAPER)
        self.register_buffer("_ramp", ramp, persistent=False)
        grid = REST_WAVELENGTH[0] * torch.exp(
            REST_STEP * (self.first + torch.arange(_SIZE, dtype=torch.float64))
        )
        self.register_buffer("wavelength", grid, persistent=False)

    def locate(self, redshift: Tensor) -> tuple[Tensor, Tensor]:
        """First rest pixel of the window and the fraction of a pixel left to shift.

        Arguments:
            redshift: Shape ``(*batch,)``, from 0 to 0.62.

        Returns:
            Integers and fractions in [0, 1), each of shape ``(*batch,)``.
        """
        shift = torch.log1p(redshift.double()) / REST_STEP
        whole = shift.detach().floor()
        start = self.first - whole.long()
        if bool((start < 0).any()) or bool((whole < 0).any()):
            raise OutsideSupport(
                "redshift",
                expected=f"0 to {math.expm1(self.first * REST_STEP):.3f}",
                found=f"{float(redshift.min()):.4g} to {float(redshift.max()):.4g}",
                remedy="The template grid does not cover the instrument's range elsewhere.",
            )
        return start, shift - whole

    def taper(self, window: Tensor) -> Tensor:
        """The window with both ends brought to zero, in place, ``(*batch, window)``."""
        ramp = self._ramp.to(window.dtype)
        window[..., :_TAPER] *= ramp
        window[..., -_TAPER:] *= ramp.flip(0)
        return window

    def sample(self, window: Tensor) -> Tensor:
        """Values at the instrument's pixels, ``(*batch, window)`` to ``(*batch, wave)``.

        Cubic Lagrange interpolation; the grid is the same for all galaxies.
        """
        weights = self._weights.to(window.dtype)
        pixels = window.index_select(-1, self._index).mul_(weights[0])
        for tap in range(1, 4):
            # A view that starts later: the same index then means the next pixel.
            neighbour = window[..., tap:].index_select(-1, self._index)
            pixels = torch.addcmul(pixels, neighbour, weights[tap])
        return pixels

    def taps(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Where :meth:`sample` reads: first window pixel ``(pixel,)`` and weights ``(4, pixel)``.

        Arguments:
            pixels: Indices of the instrument's pixels, shape ``(pixel,)``.
        """
        return self._index[pixels], self._weights[:, pixels]

    def at_pixels(self, values: Tensor) -> Tensor:
        """A smooth function of the 6000 pixels on the window, end values repeated."""
        step = float(WAVELENGTH[1] - WAVELENGTH[0])
        position = ((self.wavelength - float(WAVELENGTH[0])) / step).round()
        index = position.clamp(0, WAVELENGTH.size - 1).long()
        return values.index_select(-1, index)


def _cubic_taps(position: Tensor) -> tuple[Tensor, Tensor]:
    """First index and the four Lagrange weights at fractional positions."""
    first = position.floor().long() - 1
    t = position - position.floor()
    weights = torch.stack(
        [
            -t * (t - 1.0) * (t - 2.0) / 6.0,
            (t + 1.0) * (t - 1.0) * (t - 2.0) / 2.0,
            -(t + 1.0) * t * (t - 2.0) / 2.0,
            (t + 1.0) * t * (t - 1.0) / 6.0,
        ]
    )
    return first, weights
