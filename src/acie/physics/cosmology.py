r"""A flat Lambda-CDM cosmology without radiation.

.. math:: E(z) = \sqrt{\Omega_m (1+z)^3 + 1 - \Omega_m}
"""

__all__ = ["FlatLambdaCDM"]

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from acie.units import LIGHT_KM_S

#: Gyr km s^-1 Mpc^-1: 1 / (H0 / [km/s/Mpc]) in Gyr.
_HUBBLE_GYR = 977.792221


@dataclass(frozen=True)
class FlatLambdaCDM:
    """Ages and distances.

    Arguments:
        hubble: Hubble constant, km/s/Mpc.
        omega_matter: Matter density today in units of the critical density.

    References:
        Hogg 1999, astro-ph/9905116, equations 14, 15, 16 and 21.
    """

    hubble: float = 70.0
    omega_matter: float = 0.3

    @cached_property
    def _nodes(self) -> tuple[np.ndarray, np.ndarray]:
        return np.polynomial.legendre.leggauss(24)

    def age_gyr(self, redshift: Tensor) -> Tensor:
        r"""Age of the universe, Gyr, same shape as ``redshift``.

        .. math:: t = \frac{2}{3 H_0 \sqrt{\Omega_\Lambda}}
            \operatorname{arsinh}\!\left(\sqrt{\Omega_\Lambda/\Omega_m}\,(1+z)^{-3/2}\right)

        Example:
            >>> round(FlatLambdaCDM().age_gyr(torch.tensor(0.0)).item(), 2)
            13.47
        """
        omega_lambda = 1.0 - self.omega_matter
        ratio = (omega_lambda / self.omega_matter) ** 0.5 * (1.0 + redshift) ** -1.5
        return 2.0 / 3.0 * _HUBBLE_GYR / self.hubble / omega_lambda**0.5 * torch.asinh(ratio)

    def luminosity_distance_mpc(self, redshift: Tensor) -> Tensor:
        """Luminosity distance, Mpc, same shape as ``redshift``; 24-point Gauss-Legendre."""
        nodes, weights = (
            torch.as_tensor(array, dtype=redshift.dtype, device=redshift.device)
            for array in self._nodes
        )
        half = redshift[..., None] / 2.0
        scale = 1.0 + half * (1.0 + nodes)
        inverse_e = (self.omega_matter * scale**3 + 1.0 - self.omega_matter) ** -0.5
        comoving = LIGHT_KM_S / self.hubble * (half * weights * inverse_e).sum(-1)
        return (1.0 + redshift) * comoving
