r"""Spectra of states of one galaxy by compiled kernels, without derivatives.

The steps are those of :meth:`acie.physics.StellarPopulationModel.observe`, of few rows at a time
so that none of them leaves the cache. One thing is different: a Gaussian that is wide enough is so
short a filter that a plain convolution takes a fifth of the time of two Fourier transforms. The
filter is the Fourier sum of the same product,

.. math:: h_m = \frac{1}{2F} \sum_k \hat g(\omega_k) e^{i \omega_k m}, \quad
    \hat g(\omega) = b(\omega) \exp(-\tfrac12 \omega^2 s^2 - i \omega \Delta),

with b the prefilter of the spline. It is cut where the Gaussian has fallen to 4e-6 of its peak.
"""

__all__ = ["CompiledSpectra"]

import functools
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from acie.native import kernels
from acie.physics.pixels import spline_prefilter
from acie.physics.screen import BLOCK
from acie.physics.sightline import Sightline
from acie.physics.templates import REST_STEP
from acie.units import LIGHT_KM_S

if TYPE_CHECKING:
    from acie.physics.spectrum import StellarPopulationModel

#: Pixels that the kernel makes of all templates at a time, and numbers of one of its vectors.
_STRIP, _LANES = 16, 8
#: Spectra whose Fourier transforms stay in the cache.
_FEW = 16
#: Standard deviation in pixels of the narrowest Gaussian that is a filter. What the cut leaves of
#: a narrower one at the highest frequency of the grid rings: here by 2e-6 of the peak of a line.
_NARROWEST = 1.5
#: Reach of a filter in standard deviations and beyond them in pixels, and frequencies of its sum.
_REACH, _MORE, _FREQUENCIES = 5.0, 3, 64
_PIXEL_KM_S = LIGHT_KM_S * REST_STEP


class CompiledSpectra:
    """:meth:`StellarPopulationModel.observe` by kernels.

    Arguments:
        physics: The forward model; its templates are kept once more, in the order that the kernel
            reads them in.
    """

    def __init__(self, physics: "StellarPopulationModel") -> None:
        screen, basis = physics.screen, physics.light_basis
        self._old_size, self._before = physics.old_size, screen.before
        self._ramp = physics.window.ramp
        with torch.inference_mode(False), torch.no_grad():
            # Strips begin where the blocks of the screen do, the last block is whole.
            whole = BLOCK * len(screen.log_curve)
            room = (screen.before, whole - screen.before - basis.shape[1])
            padded = nn.functional.pad(basis, room)
            self._strips = padded.unflatten(-1, (-1, _STRIP)).transpose(0, 1).contiguous()
            self._screen = tuple(
                nn.functional.pad(table, (0, _LANES - table.shape[1])).contiguous()
                for table in (screen.log_curve, screen.log_wave)
            )
            self._fill = screen.fill.float().contiguous()

    def __call__(
        self,
        light: tuple[Tensor, Tensor],
        state: dict[str, Tensor],
        sightline: Sightline,
        out: Tensor | None = None,
    ) -> Tensor:
        """See :meth:`StellarPopulationModel.observe`."""
        given = (
            torch.cat(light, -1),
            *(state[name].float().contiguous() for name in ("dust_av", "dust_slope")),
            state["velocity_dispersion"].to(light[0].dtype) ** 2,
        )
        found = out
        if out is None or not out.is_contiguous():
            found = light[0].new_empty(len(light[0]), len(sightline.window.instrument))
        # What is not a number counts as wide, and stays what it is.
        wide = ~(given[3] + sightline.least < (_NARROWEST * _PIXEL_KM_S) ** 2)
        count = int(wide.sum())
        for chosen, number, work in (
            (wide, count, self._filtered), (~wide, len(wide) - count, self._transformed)
        ):  # fmt: skip
            if number == len(wide):
                work(*given, sightline, found)
            elif number:
                part = [piece[chosen] for piece in given]
                own = found.new_empty(number, found.shape[1])
                work(*part, sightline, own)
                found[chosen] = own
        return found if out is None or found is out else out.copy_(found)

    def _light(self, light: Tensor, a_v: Tensor, slope: Tensor, sightline: Sightline) -> tuple:
        """Arguments that two kernels share; the tensors are kept by the caller."""
        return (
            len(light), sightline.window.size, sightline.pixels.start + self._before,
            self._old_size, light.shape[1],
            light.data_ptr(), self._strips.data_ptr(), *(t.data_ptr() for t in self._screen),
            a_v.data_ptr(), slope.data_ptr(), self._fill.data_ptr(),
            len(self._ramp), self._ramp.data_ptr(),
        )  # fmt: skip

    def _filtered(
        self, light: Tensor, a_v: Tensor, slope: Tensor, variance: Tensor,
        sightline: Sightline, out: Tensor,
    ) -> None:  # fmt: skip
        """Spectra of Gaussians that are wide enough, written to ``out``."""
        filters = _filters(variance + sightline.least, sightline.broadening.shift)
        first, runs = sightline.sampler.runs()
        kernels.spectra(
            *self._light(light, a_v, slope, sightline),
            filters.shape[1] // 2, filters.data_ptr(), *runs.shape, first.data_ptr(),
            runs.data_ptr(), out.data_ptr(),
        )  # fmt: skip

    def _transformed(
        self, light: Tensor, a_v: Tensor, slope: Tensor, variance: Tensor,
        sightline: Sightline, out: Tensor,
    ) -> None:  # fmt: skip
        """Spectra of narrow Gaussians, which are broadened in Fourier space."""
        moved = light.new_empty(len(light), sightline.window.size)
        base = (variance + sightline.least).clamp(min=0.0)
        kernels.light(*self._light(light, a_v, slope, sightline), moved.data_ptr())
        for start in range(0, len(light), _FEW):
            rows = slice(start, start + _FEW)
            sightline.broadening(moved[rows], base[rows], moved[rows])
        sightline.at_pixels(moved, variance, out)


def _filters(variance_km2_s2: Tensor, shift: Tensor) -> Tensor:
    """Filters that broaden by a Gaussian and move the grid, ``(row, 2 half + 1)``.

    Arguments:
        variance_km2_s2: Shape ``(row,)``.
        shift: Pixels towards the red, a scalar.
    """
    variance = variance_km2_s2.double() / _PIXEL_KM_S**2
    widest = float(variance.nan_to_num(posinf=0.0).max()) ** 0.5
    half = min(math.ceil(_REACH * widest) + _MORE, _FREQUENCIES - 1)
    omega, measure = _frequencies()
    transfer = torch.exp(-0.5 * variance[:, None] * omega.square()) * measure
    # A filter is read forwards: what moves towards the red comes from the blue.
    place = torch.arange(half, -half - 1, -1, dtype=torch.float64) - shift.double()
    return (transfer @ torch.cos(omega[:, None] * place)).float()


@functools.cache
def _frequencies() -> tuple[Tensor, Tensor]:
    """Angular frequencies, and their measure with the prefilter, each ``(frequency,)``."""
    with torch.inference_mode(False):
        omega = math.pi / _FREQUENCIES * torch.arange(_FREQUENCIES + 1, dtype=torch.float64)
        measure = torch.full_like(omega, 1.0 / _FREQUENCIES)
        measure[0] = measure[-1] = 0.5 / _FREQUENCIES
        return omega, measure * spline_prefilter(omega / (2.0 * math.pi))
