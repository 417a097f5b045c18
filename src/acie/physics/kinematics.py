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

from acie.units import LIGHT_KM_S

#: Frequencies whose phase is computed one by one.
_FEW = 64
#: Widths between which a spectrum is interpolated when its width varies.
_NODES = 8
#: Half of the range that they span at least, km^2/s^2.
_NARROWEST = 50.0


def broaden_and_shift(
    spectrum: Tensor,
    variance_km2_s2: Tensor,
    shift: Tensor,
    step: float,
    excess_km2_s2: Tensor | None = None,
    gain: Tensor | None = None,
) -> Tensor:
    r"""Convolve with a Gaussian in velocity and move along the grid.

    .. math:: \hat g(k) = \hat f(k)\,
        \exp\!\left(-\tfrac12 \omega^2 s^2 - i \omega \Delta\right),\quad
        s = \frac{\sigma}{c h},\ \omega = \frac{2\pi k}{N}

    With an ``excess`` that varies along the spectrum, the spectrum is computed for a few widths
    and interpolated between them at each pixel: the transform of a Gaussian is a smooth function
    of its variance, which eight Chebyshev points give to 1e-4.

    References:
        Cappellari 2017, MNRAS 466, 798, section 2.3 (kernel defined in Fourier space).

    Arguments:
        spectrum: Values on the grid, shape ``(*batch, wave)``; must fall to zero at both ends,
            because the grid is treated as periodic.
        variance_km2_s2: sigma squared, km^2/s^2, shape ``(*batch,)``, at least 0.
        shift: Delta, pixels towards the red, broadcastable to ``(*batch,)``; a redshift z is
            :math:`\ln(1+z)/h`.
        step: h, step of the grid in ln(lambda).
        excess_km2_s2: Variance to add at each pixel of the moved spectrum (or, negative, to
            remove, down to a total of zero), broadcastable to ``(*batch, wave)``.
        gain: Multiplies each frequency besides, real, shape ``(wave // 2 + 1,)``.

    Returns:
        Values on the same grid, shape ``(*batch, wave)``.
    """
    prepared = Broadening(spectrum.shape[-1], shift, step, gain, dtype=spectrum.dtype)
    if excess_km2_s2 is None:
        return prepared(spectrum, variance_km2_s2)
    total = (variance_km2_s2[..., None] + excess_km2_s2.to(spectrum.dtype)).clamp(min=0.0)
    least, most = total.aminmax(dim=-1, keepdim=True)
    # Wide enough for differences between the nodes to have digits, and none of them below zero.
    half = (0.5 * (most - least)).clamp(min=_NARROWEST)
    middle = torch.maximum(0.5 * (least + most), half)
    angle = math.pi * (torch.arange(_NODES, dtype=total.dtype, device=total.device) + 0.5) / _NODES
    at_nodes = prepared(spectrum, middle + half * angle.cos())
    # Lagrange's polynomials are sums of the Chebyshev polynomials over the nodes.
    place = (total - middle) / half
    values = [torch.ones_like(place), place]
    for _ in range(2, _NODES):
        values.append(2.0 * place * values[-1] - values[-2])
    order = torch.arange(_NODES, dtype=total.dtype, device=total.device)
    series = (2.0 - (order == 0).to(total.dtype)) / _NODES * torch.cos(order * angle[:, None])
    weights = series @ torch.stack(values, -2)
    return (weights * at_nodes).sum(-2)


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
        self._size = size
        omega = torch.arange(size // 2 + 1, dtype=dtype, device=shift.device)
        omega = omega * (2.0 * math.pi / size)
        # Powers of two, which torch computes in a third of the time of exponentials.
        self._exponent = (-0.5 / math.log(2.0) / (LIGHT_KM_S * step) ** 2) * omega**2
        phase = _phase(shift, size, dtype)
        self._turn = phase if gain is None else phase * gain.to(dtype)

    def unbind(self) -> "list[Broadening]":
        """Those of the items of the batch, for any number of spectra ``(row, wave)`` each."""
        found = []
        for turn in self._turn.unbind(0):
            one = copy.copy(self)
            one._turn = turn
            found.append(one)
        return found

    def __call__(self, spectrum: Tensor, variance_km2_s2: Tensor) -> Tensor:
        """Broadened and moved spectra, ``(*batch, wave)``.

        Arguments:
            spectrum: See :func:`broaden_and_shift`, as is the next one.
            variance_km2_s2: Shape ``(*batch,)``; with one more axis, ``(*batch, width)``, each
                spectrum is broadened to several widths, ``(*batch, width, wave)``.
        """
        transform = torch.fft.rfft(spectrum) * self._turn
        if variance_km2_s2.ndim == spectrum.ndim:
            transform = transform[..., None, :]
        gaussian = torch.exp2(variance_km2_s2[..., None] * self._exponent)
        return torch.fft.irfft(transform * gaussian, n=self._size)


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
