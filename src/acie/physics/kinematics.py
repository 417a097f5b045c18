r"""Line-of-sight broadening and redshift on a logarithmic wavelength grid.

On a grid with step h in ln(lambda) a Gaussian of velocity dispersion sigma and a redshift are both
convolutions, so both are one product in Fourier space: the shift is exact to the band limit and
needs no interpolation that depends on the galaxy.
"""

__all__ = ["broaden_and_shift"]

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
    size = spectrum.shape[-1]
    omega = torch.arange(size // 2 + 1, dtype=spectrum.dtype, device=spectrum.device)
    omega = omega * (2.0 * math.pi / size)
    phase = _phase(shift, size, spectrum.dtype)
    if gain is not None:
        phase = phase * gain.to(spectrum.dtype)
    transform = torch.fft.rfft(spectrum) * phase
    # Powers of two, which torch computes in a third of the time of exponentials.
    exponent = (-0.5 / math.log(2.0) / (LIGHT_KM_S * step) ** 2) * omega**2

    def broadened(transform: Tensor, variance: Tensor) -> Tensor:
        return transform * torch.exp2(variance[..., None] * exponent)

    if excess_km2_s2 is None:
        return torch.fft.irfft(broadened(transform, variance_km2_s2), n=size)
    least, most = excess_km2_s2.amin(-1), excess_km2_s2.amax(-1)
    low = (variance_km2_s2 + least).clamp(min=0.0)
    high = (variance_km2_s2 + most).clamp(min=0.0)
    if bool((variance_km2_s2 + least >= 0.0).all()):
        # Nothing is cut off at zero: the share is the same for every dispersion.
        span, above = most - least, excess_km2_s2 - least[..., None]
    else:
        span, above = high - low, excess_km2_s2 + (variance_km2_s2 - low)[..., None]
    # Where the two widths are equal any share will do.
    share = (above / span.clamp(min=1e-3)[..., None]).clamp(0.0, 1.0)
    narrow = broadened(transform, low)
    wide = broadened(narrow, span)
    return torch.lerp(torch.fft.irfft(narrow, n=size), torch.fft.irfft(wide, n=size), share)


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
