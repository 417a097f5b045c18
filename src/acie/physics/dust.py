r"""Dust attenuation: a modified Calzetti law with two components, and what it absorbs.

A curve is :math:`a(\lambda) = A(\lambda)/A_V`. Stars older than the birth-cloud time see
:math:`A_V`; younger stars and the ionised gas see :math:`\eta A_V`. Everything is rest-frame.
"""

__all__ = [
    "BIRTH_CLOUD_RATIO",
    "CALZETTI_BREAK",
    "absorbed_luminosity",
    "calzetti2000_attenuation",
    "drude_bump",
    "dust_depth",
    "modified_calzetti_attenuation",
    "transmission",
]

import math

import torch
from torch import Tensor

#: A_V of gas and young stars over A_V of the other stars: 1 / 0.44.
#: Calzetti et al. 2000, ApJ 533, 682, equation 3.
BIRTH_CLOUD_RATIO = 1.0 / 0.44
#: Where the two branches of Calzetti's law meet, with a step of 0.7 %, angstrom.
CALZETTI_BREAK = 6300.0
_R_V = 4.05


def calzetti2000_attenuation(wave_angstrom: Tensor) -> Tensor:
    r"""Starburst attenuation curve normalised to the V band, :math:`k(\lambda) / R_V`.

    .. math::
        k = 2.659\,(-2.156 + 1.509/\lambda - 0.198/\lambda^2 + 0.011/\lambda^3) + 4.05
        \quad (0.12 \le \lambda < 0.63\,\mu m)

        k = 2.659\,(-1.857 + 1.040/\lambda) + 4.05 \quad (0.63 \le \lambda \le 2.2\,\mu m)

    Below 0.12 micron the curve continues as :math:`\lambda^{-0.77}` from its value there; beyond
    2.2 micron the red branch continues until it reaches zero, at 3.1 micron.

    References:
        Calzetti et al. 2000, ApJ 533, 682, equation 4. Far-ultraviolet slope: Reddy et al. 2016.

    Arguments:
        wave_angstrom: Rest wavelength, angstrom, any shape.

    Returns:
        A / A_V, dimensionless, same shape.

    Example:
        >>> round(calzetti2000_attenuation(torch.tensor(10000.0)).item(), 4)
        0.4636
    """
    micron = wave_angstrom * 1e-4
    blue = _calzetti_blue(micron.clamp(min=0.12))
    red = 2.659 * (-1.857 + 1.040 / micron) + _R_V
    far = _calzetti_blue(torch.full_like(micron, 0.12)) * (micron / 0.12) ** -0.77
    k = torch.where(micron < 0.12, far, torch.where(wave_angstrom < CALZETTI_BREAK, blue, red))
    return k.clamp(min=0.0) / _R_V


def _calzetti_blue(micron: Tensor) -> Tensor:
    polynomial = -2.156 + 1.509 / micron - 0.198 / micron**2 + 0.011 / micron**3
    return 2.659 * polynomial + _R_V


def drude_bump(wave_angstrom: Tensor, width_angstrom: float = 350.0) -> Tensor:
    """The 2175 angstrom bump with unit amplitude, dimensionless, same shape as the wavelength.

    References:
        Noll et al. 2009, A&A 507, 1793, equation 9; width 350 angstrom.
    """
    numerator = (wave_angstrom * width_angstrom) ** 2
    return numerator / ((wave_angstrom**2 - 2175.0**2) ** 2 + numerator)


def modified_calzetti_attenuation(
    wave_angstrom: Tensor, slope: Tensor, bump: Tensor | float = 0.0
) -> Tensor:
    r"""Calzetti law with a power-law modification and a 2175 angstrom bump.

    .. math:: a(\lambda) = \left(\frac{k_C(\lambda)}{4.05}\right)
        \left(\frac{\lambda}{0.55\,\mu m}\right)^{\delta} + \frac{B}{4.05} D(\lambda)

    References:
        Noll et al. 2009, A&A 507, 1793, equation 10; Salim et al. 2018, ApJ 859, 11, section 3.

    Arguments:
        wave_angstrom: Rest wavelength, angstrom, shape ``(wave,)``.
        slope: delta, dimensionless, shape ``(*batch,)``; negative is steeper.
        bump: B, amplitude of the bump in units of k, shape ``(*batch,)`` or a number.

    Returns:
        A / A_V, dimensionless, shape ``(*batch, wave)``.
    """
    log_ratio = torch.log(wave_angstrom / 5500.0)
    tilt = torch.exp(slope[..., None] * log_ratio)
    curve = calzetti2000_attenuation(wave_angstrom) * tilt
    if isinstance(bump, float) and bump == 0.0:
        return curve
    amplitude = torch.as_tensor(bump, dtype=curve.dtype, device=curve.device)
    return curve + amplitude[..., None] / _R_V * drude_bump(wave_angstrom)


def dust_depth(a_v: Tensor, slope: Tensor, log_curve: Tensor, log_wave: Tensor) -> Tensor:
    r"""Minus the optical depth, :math:`-0.4 \ln 10\, A_V\, a(\lambda)`, from tabulated logarithms.

    Arguments:
        a_v: A_V, mag, shape ``(*batch,)``.
        slope: delta of :func:`modified_calzetti_attenuation`, shape ``(*batch,)``.
        log_curve: ln of :func:`calzetti2000_attenuation`, shape ``(wave,)``.
        log_wave: ln(wavelength / 5500 angstrom), shape ``(wave,)``.

    Returns:
        Natural logarithm of the transmitted fraction, shape ``(*batch, wave)``.
    """
    dtype = log_curve.dtype
    curve = torch.addcmul(log_curve, slope.to(dtype)[..., None], log_wave)
    return curve.exp() * ((-0.4 * math.log(10.0)) * a_v.to(dtype)[..., None])


def transmission(curve: Tensor, a_v: Tensor) -> Tensor:
    """Transmitted fraction ``10**(-0.4 A_V curve)``.

    Arguments:
        curve: A / A_V, shape ``(*batch, wave)``.
        a_v: A_V, mag, shape ``(*batch,)``.
    """
    return torch.exp(-0.4 * math.log(10.0) * a_v[..., None] * curve)


def absorbed_luminosity(
    old: Tensor, young: Tensor, curve: Tensor, a_v: Tensor, bin_width_angstrom: Tensor
) -> Tensor:
    r"""Luminosity taken up by dust; by energy balance it is re-emitted in the infrared.

    .. math:: L_{dust} = \int \left[ L_{old}(1 - T) + L_{young}(1 - T^{\eta}) \right] d\lambda

    References:
        da Cunha, Charlot & Elbaz 2008, MNRAS 388, 1595, equations 3 and 4.

    Arguments:
        old: Luminosity density of old stars, shape ``(*batch, wave)``, per angstrom.
        young: The same of young stars and gas.
        curve: A / A_V, shape ``(*batch, wave)``.
        a_v: A_V, mag, shape ``(*batch,)``.
        bin_width_angstrom: Widths of the wavelength bins, shape ``(wave,)``.

    Returns:
        Luminosity in the unit of ``old`` times angstrom, shape ``(*batch,)``.
    """
    depth = -0.4 * math.log(10.0) * a_v[..., None] * curve
    # expm1, because 1 - T keeps no digits in single precision when there is little dust.
    taken = -old * torch.expm1(depth) - young * torch.expm1(BIRTH_CLOUD_RATIO * depth)
    return (taken * bin_width_angstrom).sum(-1)
