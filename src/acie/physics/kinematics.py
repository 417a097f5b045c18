r"""Line-of-sight broadening and redshift on a logarithmic wavelength grid.

On a grid with step h in ln(lambda) a Gaussian of velocity dispersion sigma and a redshift are both
convolutions, so both are one product in Fourier space: the shift is exact to the band limit and
needs no interpolation that depends on the galaxy.
"""

__all__ = ["broaden_and_shift", "heat_step"]

import math

import torch
from torch import Tensor

from acie.units import LIGHT_KM_S


def broaden_and_shift(
    spectrum: Tensor, variance_km2_s2: Tensor, redshift: Tensor, step: float
) -> Tensor:
    r"""Convolve with a Gaussian in velocity and move to the observed frame.

    .. math:: \hat g(k) = \hat f(k)\,
        \exp\!\left(-\tfrac12 \omega^2 s^2 - i \omega \Delta\right),\quad
        s = \frac{\sigma}{c h},\ \Delta = \frac{\ln(1+z)}{h},\ \omega = \frac{2\pi k}{N}

    References:
        Cappellari 2017, MNRAS 466, 798, section 2.3 (kernel defined in Fourier space).

    Arguments:
        spectrum: Values on the grid, shape ``(*batch, wave)``; must fall to zero at both ends,
            because the grid is treated as periodic.
        variance_km2_s2: sigma squared, km^2/s^2, shape ``(*batch,)``, at least 0.
        redshift: z, broadcastable to ``(*batch,)``.
        step: h, step of the grid in ln(lambda).

    Returns:
        Values on the same grid, now of observed wavelengths, shape ``(*batch, wave)``.
    """
    size = spectrum.shape[-1]
    omega = torch.arange(size // 2 + 1, dtype=spectrum.dtype, device=spectrum.device)
    omega = omega * (2.0 * math.pi / size)
    damping = torch.exp(-0.5 * (variance_km2_s2 / (LIGHT_KM_S * step) ** 2)[..., None] * omega**2)
    # The phase reaches thousands of radians: reduce it in double precision.
    pixels = torch.log1p(redshift.to(torch.float64)) / step
    angle = torch.remainder(pixels[..., None] * omega.to(torch.float64), 2.0 * math.pi)
    phase = torch.polar(torch.ones_like(angle), -angle)
    phase = phase.to(torch.complex64 if spectrum.dtype == torch.float32 else torch.complex128)
    transform = torch.fft.rfft(spectrum)
    return torch.fft.irfft(transform * (damping * phase), n=size)


def heat_step(spectrum: Tensor, variance_km2_s2: Tensor, step: float) -> Tensor:
    r"""Change the broadening a little, by an amount that varies along the spectrum.

    A Gaussian convolution solves the heat equation in its variance,
    :math:`\partial f / \partial \sigma^2 = f''/2`; one explicit step accounts for a line-spread
    function that differs slowly from the constant one used in :func:`broaden_and_shift`.

    Arguments:
        spectrum: Values on the logarithmic grid, shape ``(*batch, wave)``.
        variance_km2_s2: Variance to add (or, negative, to remove) at each pixel, km^2/s^2,
            broadcastable to ``(*batch, wave)``; small against the total variance.
        step: Step of the grid in ln(lambda).

    Returns:
        Values, shape ``(*batch, wave)``; the two end pixels are unchanged.
    """
    curvature = spectrum[..., 2:] - 2.0 * spectrum[..., 1:-1] + spectrum[..., :-2]
    factor = 0.5 / (LIGHT_KM_S * step) ** 2
    inner = spectrum[..., 1:-1] + factor * variance_km2_s2[..., 1:-1] * curvature
    return torch.cat([spectrum[..., :1], inner, spectrum[..., -1:]], -1)
