r"""Line-of-sight broadening and redshift on a logarithmic wavelength grid.

On a grid with step h in ln(lambda) a Gaussian of velocity dispersion sigma and a redshift are both
convolutions, so both are one product in Fourier space: the shift is exact to the band limit and
needs no interpolation that depends on the galaxy.
"""

__all__ = ["Broadening", "broaden_and_shift"]

import copy
import math

import torch
from torch import Tensor

from acie.native import kernels, usable
from acie.units import LIGHT_KM_S

#: Frequencies whose phase is computed one by one.
_FEW = 64


def broaden_and_shift(
    spectrum: Tensor,
    variance_km2_s2: Tensor,
    shift: Tensor,
    step: float,
    gain: Tensor | None = None,
) -> Tensor:
    r"""Convolve with a Gaussian in velocity and move along the grid.

    .. math:: \hat g(k) = \hat f(k)\,
        \exp\!\left(-\tfrac12 \omega^2 s^2 - i \omega \Delta\right),\quad
        s = \frac{\sigma}{c h},\ \omega = \frac{2\pi k}{N}

    References:
        Cappellari 2017, MNRAS 466, 798, section 2.3 (kernel defined in Fourier space).

    Arguments:
        spectrum: Values on the grid, shape ``(*batch, wave)``; must fall to zero at both ends,
            because the grid is treated as periodic.
        variance_km2_s2: sigma squared, km^2/s^2, shape ``(*batch,)``, at least 0.
        shift: Delta, pixels towards the red, broadcastable to ``(*batch,)``; a redshift z is
            :math:`\ln(1+z)/h`.
        step: h, step of the grid in ln(lambda).
        gain: Multiplies each frequency besides, real, shape ``(wave // 2 + 1,)``.

    Returns:
        Values on the same grid, shape ``(*batch, wave)``.
    """
    prepared = Broadening(spectrum.shape[-1], shift, step, gain, dtype=spectrum.dtype)
    return prepared(spectrum, variance_km2_s2)


class Broadening:
    """:func:`broaden_and_shift` for many spectra that share a shift.

    Arguments:
        size: Pixels of the grid.
        shift: See :func:`broaden_and_shift`, as are the next two; shape ``(*batch,)``.
        step: Step of the grid.
        gain: Shape ``(wave // 2 + 1,)``.
        dtype: Of the spectra.
    """

    def __init__(
        self,
        size: int,
        shift: Tensor,
        step: float,
        gain: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._size, self._step = size, step
        #: Pixels towards the red, ``(*batch,)``.
        self.shift = shift
        omega = torch.arange(size // 2 + 1, dtype=dtype, device=shift.device)
        omega = omega * (2.0 * math.pi / size)
        # Powers of two, which torch computes in a third of the time of exponentials.
        self._exponent = (-0.5 / math.log(2.0) / (LIGHT_KM_S * step) ** 2) * omega**2
        phase = _phase(shift, size, dtype)
        self._turn = phase if gain is None else phase * gain.to(dtype)

    def unbind(self) -> "list[Broadening]":
        """Those of the items of the batch, for any number of spectra ``(row, wave)`` each."""
        found = []
        for turn, shift in zip(self._turn.unbind(0), self.shift.unbind(0), strict=True):
            one = copy.copy(self)
            one._turn, one.shift = turn, shift
            found.append(one)
        return found

    def __call__(
        self, spectrum: Tensor, variance_km2_s2: Tensor, out: Tensor | None = None
    ) -> Tensor:
        """Broadened and moved spectra, ``(*batch, wave)``.

        Arguments:
            spectrum: See :func:`broaden_and_shift`, as is the next one.
            variance_km2_s2: Shape ``(*batch,)``.
            out: Where to write; may be ``spectrum``.
        """
        transform, turn = torch.fft.rfft(spectrum), torch.view_as_real(self._turn)
        if turn.ndim == 2 and spectrum.ndim == 2 and usable(spectrum, variance_km2_s2, turn):
            self._turn_in_place(transform, turn, variance_km2_s2.contiguous())
        else:
            gaussian = torch.exp2(variance_km2_s2[..., None] * self._exponent)
            transform = transform * self._turn * gaussian
        return torch.fft.irfft(transform, n=self._size, out=out)

    def _turn_in_place(self, transform: Tensor, turn: Tensor, variance: Tensor) -> None:
        """The products by a kernel, of spectra ``(row, wave)`` that share a shift."""
        rate = 0.5 * (2.0 * math.pi / self._size / (LIGHT_KM_S * self._step)) ** 2
        kernels.turn(
            *transform.shape, turn.data_ptr(), variance.data_ptr(), rate, transform.data_ptr()
        )


def _phase(shift: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    r"""What moves a spectrum: :math:`\exp(-i \omega \Delta)`, shape ``(*batch, size // 2 + 1)``.

    Frequency 64 a + b is the product of the phases of 64 a and of b: few sines and cosines.
    """
    count = size // 2 + 1
    few = torch.arange(_FEW, dtype=torch.float64, device=shift.device)
    many = _FEW * torch.arange(-(-count // _FEW), dtype=torch.float64, device=shift.device)

    def turn(frequency: Tensor) -> Tensor:
        # A phase of thousands of radians is reduced in double precision.
        angle = shift.double()[..., None] * frequency * (2.0 * math.pi / size)
        angle = torch.remainder(angle, 2.0 * math.pi)
        return torch.polar(torch.ones_like(angle), -angle).to(dtype.to_complex())

    product = turn(many)[..., :, None] * turn(few)[..., None, :]
    return product.flatten(-2)[..., :count]
