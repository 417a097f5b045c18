r"""From the rest-frame grid to the pixels of the instrument.

Both grids are logarithmic with the same step h, so a redshift is a shift by
:math:`\ln(1 + z)/h = k + f` pixels. The whole pixels k choose where the observed window starts on
the rest grid; the fraction f is a phase in Fourier space. Only the window is computed, which is
two thirds of the rest grid.

An observed pixel holds the mean of the flux density over its width of 1 angstrom, which is 0.6 to
1.5 pixels of the grid. The window is taken as a quintic spline, whose mean over every pixel is a
sum of eight of its coefficients; the coefficients are the values of the window divided by a
transfer function, which goes with the broadening.
"""

__all__ = ["MIDDLE", "PixelWindow", "spline_prefilter"]

import math

import numpy as np
import torch
from torch import Tensor, nn

from acie.errors import OutsideSupport
from acie.observation import WAVELENGTH
from acie.physics.sampler import TAPS, Layouts, PixelSampler
from acie.physics.templates import REST_SIZE, REST_STEP, REST_WAVELENGTH

#: Pixels of the window: the instrument's range takes 5314, and the length suits the FFT.
_SIZE = 5632
#: Window pixels before the first instrument pixel.
_MARGIN = 159
#: Degree of the spline.
_DEGREE = 5
#: The middle of a pixel lies between this one of them and the next.
MIDDLE = 3
#: Nodes of the integral over a pixel.
_NODES = 24
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
        instrument = torch.as_tensor(WAVELENGTH.copy())
        first, weights = _pixel_taps(instrument)
        index = first - self.first
        self.register_buffer("instrument", instrument, persistent=False)
        self.register_buffer("_index", index, persistent=False)
        self.register_buffer("_weights", weights.float(), persistent=False)
        self._make_samplers()
        # One over the transfer of the spline's samples: makes coefficients of values.
        frequency = torch.arange(_SIZE // 2 + 1, dtype=torch.float64) / _SIZE
        self.register_buffer("prefilter", spline_prefilter(frequency), persistent=False)
        ramp = 0.5 - 0.5 * torch.cos(math.pi * (torch.arange(_TAPER) + 0.5) / _TAPER)
        self.register_buffer("ramp", ramp, persistent=False)
        self.register_buffer("_ramp_back", ramp.flip(0), persistent=False)
        grid = REST_WAVELENGTH[0] * torch.exp(
            REST_STEP * (self.first + torch.arange(_SIZE, dtype=torch.float64))
        )
        self.register_buffer("wavelength", grid, persistent=False)

    def _apply(self, *args: object, **kwargs: object) -> "PixelWindow":
        # What follows from the buffers is no buffer itself: made anew where they have moved.
        moved = super()._apply(*args, **kwargs)
        self._make_samplers()
        return moved

    def _make_samplers(self) -> None:
        self._layouts = Layouts(self._index)
        #: Of spectra that need no broadening at their pixels.
        self.plain = PixelSampler(self._layouts, 0, self._weights)

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
        window[..., :_TAPER].mul_(self.ramp)
        window[..., -_TAPER:].mul_(self._ramp_back)
        return window

    def sample(self, coefficients: Tensor, out: Tensor | None = None) -> Tensor:
        """Means over the instrument's pixels, ``(*batch, window)`` to ``(*batch, wave)``.

        Arguments:
            coefficients: Of the spline: values that were multiplied with ``prefilter`` in Fourier
                space.
            out: Where to write, ``(row, wave)``, if there is one batch axis.
        """
        return self.plain(coefficients, out)

    def sampler(self, variance_km2_s2: Tensor) -> "PixelSampler":
        """:meth:`sample` that first broadens, by another width at every pixel.

        Arguments:
            variance_km2_s2: At the instrument's pixels, at least 0, shape ``(wave,)``.
        """
        return PixelSampler.widened(self._layouts, self._weights, variance_km2_s2)

    def taps(self, pixels: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Where :meth:`sample` reads: first window pixel and weights of the taps.

        Arguments:
            pixels: Indices of the instrument's pixels, shape ``(pixel,)``, or a slice.

        Returns:
            Shapes ``(pixel,)`` and ``(tap, pixel)``.
        """
        return self._index[pixels], self._weights[:, pixels]


def spline_prefilter(frequency: Tensor) -> Tensor:
    r"""What makes coefficients of a quintic spline of its values, in Fourier space.

    .. math:: 1 / \left(\tfrac{66}{120} + \tfrac{52}{120} \cos\omega
        + \tfrac{2}{120} \cos 2\omega\right)

    References:
        Unser 1999, IEEE Signal Processing Magazine 16(6), 22, section on spline interpolation.

    Arguments:
        frequency: Cycles per pixel, any shape.
    """
    omega = 2.0 * math.pi * frequency
    return 60.0 / (33.0 + 26.0 * torch.cos(omega) + torch.cos(2.0 * omega))


def _spline(x: Tensor) -> Tensor:
    """The centred B-spline of degree 5, as a sum of truncated powers (Unser 1999)."""
    half = (_DEGREE + 1) / 2
    total = torch.zeros_like(x)
    for knot in range(_DEGREE + 2):
        power = (x + half - knot).clamp(min=0.0) ** _DEGREE
        total += (-1) ** knot * math.comb(_DEGREE + 1, knot) * power
    return torch.where(x.abs() < half, total / math.factorial(_DEGREE), 0.0)


def _pixel_taps(centre: Tensor) -> tuple[Tensor, Tensor]:
    """What a mean over a pixel of 1 angstrom reads of the spline's coefficients on the rest grid.

    Arguments:
        centre: Of the pixels, angstrom, shape ``(pixel,)``.

    Returns:
        First pixel of the grid, ``(pixel,)``, and weights, ``(tap, pixel)``, which sum to one.
    """
    node, weight = (torch.as_tensor(part) for part in np.polynomial.legendre.leggauss(_NODES))
    # Nodes are uniform in wavelength, as the pixels are; the spline is one in its logarithm.
    position = torch.log((centre + 0.5 * node[:, None]) / REST_WAVELENGTH[0]) / REST_STEP
    middle = torch.log(centre / REST_WAVELENGTH[0]) / REST_STEP
    first = middle.floor().long() - MIDDLE
    taps = [_spline(position - (first + tap)) for tap in range(TAPS)]
    return first, torch.stack([0.5 * (weight[:, None] * tap).sum(0) for tap in taps])
