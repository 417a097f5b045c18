"""The virial relation of mass, size and velocity dispersion."""

__all__ = ["virial_log_dispersion"]

import torch
from torch import Tensor

from acie.units import GRAVITATION_KPC_KMS2_MSUN


def virial_log_dispersion(
    stellar_mass: Tensor, size: Tensor, virial_k: float = 5.0, dark_fraction: float = 0.2
) -> Tensor:
    r"""log10 of the velocity dispersion, km/s, that supports a galaxy.

    .. math:: \sigma^2 = \frac{G\,M_\star / (1 - f_{dark})}{K\,R_e}

    References:
        Cappellari et al. 2006, MNRAS 366, 1126, equation 19 (K = 5).

    Arguments:
        stellar_mass: Msun, any shape.
        size: Effective radius, kpc, same shape.
        virial_k: K, dimensionless.
        dark_fraction: Share of the dynamical mass that is not stars.

    Example:
        >>> round(10 ** virial_log_dispersion(torch.tensor(8e10), torch.tensor(4.0)).item(), 1)
        146.6
    """
    dynamical = stellar_mass / (1.0 - dark_fraction)
    return 0.5 * torch.log10(GRAVITATION_KPC_KMS2_MSUN * dynamical / (virial_k * size))
