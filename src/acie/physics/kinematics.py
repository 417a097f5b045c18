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

    With an ``excess`` that varies along the spectrum, two widths that enclose all of them are
    computed and mixed at each pixel in proportion to the variance, so that the kernel is positive
    and has the right variance everywhere; its shape differs from a Gaussian by up to 2.3 % of the
    peak for a line of 90 km/s and a range of 8000 km^2/s^2, about that of MILES against SDSS.

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
    prepared = Broadening(
        spectrum.shape[-1], shift, step, excess_km2_s2, gain, dtype=spectrum.dtype
    )
    return prepared(spectrum, variance_km2_s2)


class Broadening:
    """:func:`broaden_and_shift` for many spectra that share a shift and a resolution.

    Arguments:
        size: Pixels of the grid.
        shift: See :func:`broaden_and_shift`, as are the next three; shape ``(*batch,)``.
        step: Step of the grid.
        excess_km2_s2: Shape ``(*batch, wave)``.
        gain: Shape ``(wave // 2 + 1,)``.
        dtype: Of the spectra.
    """

    def __init__(
        self,
        size: int,
        shift: Tensor,
        step: float,
        excess_km2_s2: Tensor | None = None,
        gain: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._size = size
        omega = torch.arange(size // 2 + 1, dtype=dtype, device=shift.device)
        omega = omega * (2.0 * math.pi / size)
        # Powers of two, which torch computes in a third of the time of exponentials.
        self._exponent = (-0.5 / math.log(2.0) / (LIGHT_KM_S * step) ** 2) * omega**2
        phase = _phase(shift, size, dtype)
        parts = {"turn": phase if gain is None else phase * gain.to(dtype)}
        if excess_km2_s2 is not None:
            excess = excess_km2_s2.to(dtype)
            least, most = excess.aminmax(dim=-1)
            parts |= {"excess": excess, "least": least, "most": most}
            parts["share"] = _share(excess - least[..., None], most - least)
            parts["wider"] = self._narrowed(most - least)
        self._parts = parts

    def unbind(self) -> "list[Broadening]":
        """Those of the items of the batch, for any number of spectra ``(row, wave)`` each."""
        items = zip(*(part[:, None].unbind(0) for part in self._parts.values()), strict=True)
        found = []
        for parts in items:
            one = copy.copy(self)
            one._parts = dict(zip(self._parts, parts, strict=True))
            found.append(one)
        return found

    def __call__(self, spectrum: Tensor, variance_km2_s2: Tensor) -> Tensor:
        """Broadened and moved spectra, ``(*batch, wave)``.

        Arguments:
            spectrum: See :func:`broaden_and_shift`, as is the next one.
            variance_km2_s2: Shape ``(*batch,)``.
        """
        own = self._parts
        transform = torch.fft.rfft(spectrum) * own["turn"]
        if "excess" not in own:
            return self._back(transform * self._narrowed(variance_km2_s2))
        low = variance_km2_s2 + own["least"]
        if bool((low >= 0.0).all()):
            # Nothing is cut off at zero: the share is the same for every dispersion.
            share, wider = own["share"], own["wider"]
        else:
            low = low.clamp(min=0.0)
            span = (variance_km2_s2 + own["most"]).clamp(min=0.0) - low
            share = _share(own["excess"] + (variance_km2_s2 - low)[..., None], span)
            wider = self._narrowed(span)
        narrow = transform * self._narrowed(low)
        return torch.lerp(self._back(narrow), self._back(narrow * wider), share)

    def _narrowed(self, variance: Tensor) -> Tensor:
        """Transfer of a Gaussian, real, ``(*batch, size // 2 + 1)``."""
        return torch.exp2(variance[..., None] * self._exponent)

    def _back(self, transform: Tensor) -> Tensor:
        return torch.fft.irfft(transform, n=self._size)


def _share(above: Tensor, span: Tensor) -> Tensor:
    """Share of the wide kernel; where the two widths are equal any will do."""
    return (above / span.clamp(min=1e-3)[..., None]).clamp(0.0, 1.0)


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
