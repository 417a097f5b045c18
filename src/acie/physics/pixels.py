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

__all__ = [
    "BLOCK", "LEAST_REACH", "MIDDLE", "REACH", "PixelSampler", "PixelWindow", "gaussian_filter",
    "spline_prefilter", "widened",
]  # fmt: skip

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from acie.errors import OutsideSupport
from acie.native import kernels, usable
from acie.observation import WAVELENGTH
from acie.physics.templates import REST_SIZE, REST_STEP, REST_WAVELENGTH
from acie.units import LIGHT_KM_S

#: Pixels of the window: the instrument's range takes 5314, and the length suits the FFT.
_SIZE = 5632
#: Window pixels before the first instrument pixel.
_MARGIN = 159
#: Degree of the spline, and how many of its coefficients a pixel of 1 angstrom reads.
_DEGREE, _TAPS = 5, 8
#: The middle of a pixel lies between this one of them and the next.
MIDDLE = 3
#: Nodes of the integral over a pixel.
_NODES = 24
#: Pixels of the instrument that one small matrix makes of the window.
BLOCK = 24
#: Pixels over which the window falls to zero at both ends, so that it can be taken as periodic.
#: The 63 that are left to the instrument's range are 4 sigma at 800 km/s.
_TAPER = 96
#: Filters that broaden at a pixel: half their length in standard deviations, at least and at most
#: in pixels; frequencies at which each coefficient is fitted, and the width of the sharpest
#: templates.
REACH, LEAST_REACH, _WIDEST = 3.5, 6, 24.0
_FREQUENCIES, _SHARPEST = 3, 0.66


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
        self._layouts = _Layouts(self._index)
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
        variance = variance_km2_s2.to(self._weights.dtype)
        if usable(self._weights, variance):
            variance, half = _in_pixels(variance)
            runs = _widened_runs(self._weights, variance.contiguous(), half)
            return PixelSampler(self._layouts, half, runs=runs)
        half, weights = widened(self._weights, variance_km2_s2)
        return PixelSampler(self._layouts, half, weights)

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
    taps = [_spline(position - (first + tap)) for tap in range(_TAPS)]
    return first, torch.stack([0.5 * (weight[:, None] * tap).sum(0) for tap in taps])


class _Layouts:
    """Where pixels read the window, by the number of their taps.

    Arguments:
        index: First window pixel of each pixel's plain taps, shape ``(pixel,)``.
    """

    def __init__(self, index: Tensor) -> None:
        self._index = index
        self._found: dict[tuple[str, int], Any] = {}

    def blocks(self, half: int) -> tuple[Tensor, Tensor]:
        """See :func:`_blocks`."""
        return self._kept("blocks", half, lambda: _blocks(self._index, half))

    def first(self, half: int) -> Tensor:
        """First window pixel that each pixel reads, ``(pixel,)``."""
        return self._kept("first", half, lambda: self._index - half)

    def _kept(self, kind: str, half: int, make: Callable[[], Any]) -> Any:
        if (kind, half) not in self._found:
            with torch.inference_mode(False):
                self._found[kind, half] = make()
        return self._found[kind, half]


class PixelSampler:
    """From the coefficients of a spline to means over pixels.

    The taps of neighbouring pixels are one matrix: gathers for each of them are slower. Where it
    may be used, a kernel takes them as they are.

    Arguments:
        layouts: Where the pixels read the window.
        half: Taps more than the plain ones on either side.
        weights: Of the taps, ``(tap, pixel)``.
        runs: The same in place of these, see :meth:`runs`.
    """

    def __init__(
        self,
        layouts: _Layouts,
        half: int,
        weights: Tensor | None = None,
        runs: Tensor | None = None,
    ) -> None:
        self._layouts, self._half = layouts, half
        self._weights, self._runs = weights, runs
        self._blocks: tuple[Tensor, Tensor] | None = None

    def __call__(self, coefficients: Tensor, out: Tensor | None = None) -> Tensor:
        """See :meth:`PixelWindow.sample`."""
        given = self._runs if self._weights is None else self._weights
        if coefficients.is_contiguous() and usable(coefficients, given):
            return self._sample(coefficients, out)
        columns, matrices = self._matrices()
        matrices = matrices.to(coefficients.dtype)
        parts = coefficients.reshape(-1, coefficients.shape[-1]).index_select(-1, columns)
        parts = parts.unflatten(-1, matrices.shape[:2]).transpose(0, 1)
        pixels = torch.bmm(parts, matrices).transpose(0, 1)
        if out is not None:
            out.view(pixels.shape).copy_(pixels)
            return out
        return pixels.reshape(*coefficients.shape[:-1], -1)

    def runs(self) -> tuple[Tensor, Tensor]:
        """First window pixel that each pixel reads, ``(pixel,)``, and its taps, ``(pixel, tap)``.

        As kernels take them: zeros at the end make their number a multiple of four.
        """
        if self._runs is None:
            self._runs = _padded(self._weights.T)
        return self._layouts.first(self._half), self._runs

    def _sample(self, coefficients: Tensor, out: Tensor | None) -> Tensor:
        """The same by a kernel."""
        first, runs = self.runs()
        found = out
        if out is None or not out.is_contiguous():
            found = coefficients.new_empty(*coefficients.shape[:-1], len(runs))
        window = coefficients.shape[-1]
        kernels.sample(
            coefficients.numel() // window, window, *runs.shape, coefficients.data_ptr(),
            first.data_ptr(), runs.data_ptr(), found.data_ptr(),
        )  # fmt: skip
        return found if out is None or found is out else out.copy_(found)

    def _matrices(self) -> tuple[Tensor, Tensor]:
        """Window pixels that the blocks read, ``(block * reach,)``, and what makes pixels of them.

        The latter has shape ``(block, reach, pixel of the block)``.
        """
        if self._blocks is None:
            weights = self._weights
            if weights is None:
                weights = self._runs.T[: _TAPS + 2 * self._half]
            columns, places = self._layouts.blocks(self._half)
            matrices = weights.new_zeros(*columns.shape, BLOCK)
            matrices.view(-1).scatter_(0, places, weights.reshape(-1))
            self._blocks = columns.flatten(), matrices
        return self._blocks


def _padded(runs: Tensor) -> Tensor:
    """Taps of each pixel ``(pixel, tap)`` with zeros up to a multiple of four of them."""
    return nn.functional.pad(runs, (0, -runs.shape[1] % 4)).contiguous()


def _blocks(index: Tensor, half: int) -> tuple[Tensor, Tensor]:
    """Where blocks of neighbouring pixels read the window, and where their taps are in matrices.

    Arguments:
        index: First window pixel of each pixel's plain taps, shape ``(pixel,)``.
        half: Taps more on either side.

    Returns:
        Window pixels, ``(block, reach)``, and places in the flattened matrices,
        ``(tap * pixel,)``.
    """
    taps = _TAPS + 2 * half
    index = index.view(-1, BLOCK) - half
    start = index[:, :1]
    reach = int((index - start).max()) + taps
    row = reach * _count(len(index), index)[:, None] + index - start
    place = row * BLOCK + _count(BLOCK, index)
    places = place.flatten() + BLOCK * _count(taps, index)[:, None]
    return start + _count(reach, index), places.flatten()


def _count(stop: int, like: Tensor) -> Tensor:
    return torch.arange(stop, device=like.device)


def widened(taps: Tensor, variance_km2_s2: Tensor) -> tuple[int, Tensor]:
    """Taps of pixels that read a spectrum broadened by a Gaussian of their own.

    The Gaussian becomes a symmetric filter of few coefficients. They are fitted to its transform,
    with weights that fall as the power of the sharpest templates does (0.66 pixels, the width of
    the theoretical libraries at 3540 angstrom): what they get wrong there is below 1e-3 of the
    peak of a line that nothing else broadens.

    Arguments:
        taps: Shape ``(tap, *pixel)``.
        variance_km2_s2: At least 0, shape ``(*pixel,)``.

    Returns:
        How many taps are new on either side, and all of them, ``(tap, *pixel)``.
    """
    variance, half = _in_pixels(variance_km2_s2)
    exponent, fit = (part.to(taps) for part in gaussian_filter(half))
    flat = variance.to(taps.dtype).flatten()
    gaussian = (fit @ torch.exp2(exponent[:, None] * flat)).view(-1, *variance.shape)
    found = taps.new_zeros(len(taps) + 2 * half, *variance.shape)
    for first, weight in enumerate(taps):
        found[first : first + 2 * half + 1].addcmul_(gaussian, weight)
    return half, found


def _in_pixels(variance_km2_s2: Tensor) -> tuple[Tensor, int]:
    """Variances in squared pixels of the grid, and how far the widest of their filters reaches."""
    variance = (variance_km2_s2 / (LIGHT_KM_S * REST_STEP) ** 2).clamp(max=_WIDEST**2)
    return variance, max(LEAST_REACH, math.ceil(REACH * float(variance.max()) ** 0.5))


def _widened_runs(taps: Tensor, variance: Tensor, half: int) -> Tensor:
    """:func:`widened` by a kernel, for variances in squared pixels, ``(pixel, tap)``."""
    exponent, fit = _filter_tables(half)
    count = _TAPS + 2 * half
    runs = taps.new_zeros(len(variance), count + -count % 4)
    kernels.widen(
        len(variance), half, len(exponent), runs.shape[1], taps.data_ptr(), variance.data_ptr(),
        exponent.data_ptr(), fit.data_ptr(), runs.data_ptr(),
    )  # fmt: skip
    return runs


@functools.cache
def _filter_tables(half: int) -> tuple[Tensor, Tensor]:
    """Those of :func:`gaussian_filter` as the kernel takes them: from the middle outwards."""
    exponent, both = gaussian_filter(half)
    with torch.inference_mode(False):
        return exponent.float(), both[half:].float().contiguous()


@functools.cache
def gaussian_filter(half: int) -> tuple[Tensor, Tensor]:
    """What makes coefficients of a variance, at some frequencies.

    Returns:
        Factors of the variance in an exponent of 2, which give the transfer, ``(frequency,)``; and
        from the transfer to the coefficients, ``(2 half + 1, frequency)``.
    """
    with torch.inference_mode(False):
        count = _FREQUENCIES * half
        omega = math.pi * torch.arange(count + 1, dtype=torch.float64) / count
        weight = torch.exp(-0.5 * (_SHARPEST * omega).square()) + 1e-4
        cosines = torch.cos(omega[:, None] * torch.arange(half + 1))
        cosines[:, 1:] *= 2.0
        fit = torch.linalg.pinv(weight[:, None] * cosines) * weight
        both = torch.cat([fit.flip(0), fit[1:]])
        return -0.5 / math.log(2.0) * omega.square(), both
