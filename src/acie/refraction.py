r"""Air and vacuum wavelengths.

SDSS and DESI give vacuum wavelengths; the stellar and nebular template grids, like most optical
line lists, are in air above 2000 angstrom.
"""

__all__ = ["air_to_vacuum", "vacuum_to_air"]

import torch
from torch import Tensor


def _refractivity(vacuum_angstrom: Tensor) -> Tensor:
    """Ratio vacuum / air wavelength, from the vacuum wavelength."""
    inverse_square = (1e4 / vacuum_angstrom) ** 2
    return (
        1.0
        + 8.34254e-5
        + 2.406147e-2 / (130.0 - inverse_square)
        + 1.5998e-4 / (38.9 - inverse_square)
    )


def vacuum_to_air(vacuum_angstrom: Tensor) -> Tensor:
    r"""Air wavelength of standard air at 15 C; unchanged below 2000 angstrom.

    .. math:: n = 1 + 8.34254\times10^{-5} + \frac{0.02406147}{130 - s^2}
        + \frac{0.00015998}{38.9 - s^2}, \quad s = 10^4 / \lambda_{vac}

    References:
        Morton 2000, ApJS 130, 403, equation 8.

    Arguments:
        vacuum_angstrom: Vacuum wavelength, angstrom, any shape.

    Returns:
        Air wavelength, angstrom, same shape.

    Example:
        >>> round(vacuum_to_air(torch.tensor(6564.61, dtype=torch.float64)).item(), 2)
        6562.8
    """
    air = vacuum_angstrom / _refractivity(vacuum_angstrom)
    return torch.where(vacuum_angstrom >= 2000.0, air, vacuum_angstrom)


def air_to_vacuum(air_angstrom: Tensor) -> Tensor:
    """Inverse of :func:`vacuum_to_air`, by fixed-point iteration (1e-9 angstrom after three).

    Arguments:
        air_angstrom: Air wavelength, angstrom, any shape.

    Returns:
        Vacuum wavelength, angstrom, same shape.

    Example:
        >>> round(air_to_vacuum(torch.tensor(5006.84, dtype=torch.float64)).item(), 2)
        5008.24
    """
    vacuum = air_angstrom
    for _ in range(4):
        vacuum = air_angstrom * _refractivity(vacuum)
    # 1999.352 angstrom in air is 2000 angstrom in vacuum, where the convention changes.
    return torch.where(air_angstrom >= 1999.352, vacuum, air_angstrom)
