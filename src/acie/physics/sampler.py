"""How the pixels of the instrument read the window, and what broadens at each of them."""

__all__ = [
    "BLOCK", "LEAST_REACH", "REACH", "TAPS", "Layouts", "PixelSampler", "gaussian_filter",
    "widened",
]  # fmt: skip

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from acie.native import kernels, usable
from acie.physics.templates import REST_STEP
from acie.units import LIGHT_KM_S

#: Coefficients of the spline that a pixel of 1 angstrom reads.
TAPS = 8
#: Pixels of the instrument that one small matrix makes of the window.
BLOCK = 24
#: Filters that broaden at a pixel: half their length in standard deviations, at least and at most
#: in pixels; frequencies at which each coefficient is fitted, and the width of the sharpest
#: templates.
REACH, LEAST_REACH, _WIDEST = 3.5, 6, 24.0
_FREQUENCIES, _SHARPEST = 3, 0.66


class Layouts:
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
        layouts: Layouts,
        half: int,
        weights: Tensor | None = None,
        runs: Tensor | None = None,
    ) -> None:
        self._layouts, self._half = layouts, half
        self._weights, self._runs = weights, runs
        self._blocks: tuple[Tensor, Tensor] | None = None

    @classmethod
    def widened(cls, layouts: Layouts, taps: Tensor, variance_km2_s2: Tensor) -> "PixelSampler":
        """One that first broadens, by another width at every pixel; see :func:`widened`."""
        variance = variance_km2_s2.to(taps.dtype)
        if usable(taps, variance):
            variance, half = _in_pixels(variance)
            return cls(layouts, half, runs=_widened_runs(taps, variance.contiguous(), half))
        half, weights = widened(taps, variance_km2_s2)
        return cls(layouts, half, weights)

    def __call__(self, coefficients: Tensor, out: Tensor | None = None) -> Tensor:
        """Means over the pixels, ``(*batch, window)`` to ``(*batch, wave)``.

        Arguments:
            coefficients: Of the spline.
            out: Where to write, ``(row, wave)``, if there is one batch axis.
        """
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

    def mix(
        self, other: "PixelSampler", share: Tensor, coefficients: Tensor, rows: Tensor, out: Tensor
    ) -> None:
        """What two samplers make of some rows, mixed and written to the same rows of ``out``.

        Arguments:
            other: The other one.
            share: Of the other one, ``(row,)``.
            coefficients: Of the spline, ``(all rows, window)``.
            rows: Which ones, ``(row,)``.
            out: Shape ``(all rows, wave)``.
        """
        alike = self._half == other._half and coefficients.is_contiguous() and out.is_contiguous()
        if not (alike and usable(coefficients, share, out)):
            given = coefficients[rows]
            out[rows] = torch.lerp(self(given), other(given), share[:, None])
            return
        (first, runs), (_, others) = self.runs(), other.runs()
        share, window = share.contiguous(), coefficients.shape[-1]
        kernels.mix(
            len(rows), window, *runs.shape, coefficients.data_ptr(), rows.data_ptr(),
            first.data_ptr(), runs.data_ptr(), others.data_ptr(), share.data_ptr(), out.data_ptr(),
        )  # fmt: skip

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
                weights = self._runs.T[: TAPS + 2 * self._half]
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
    taps = TAPS + 2 * half
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
    count = TAPS + 2 * half
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
