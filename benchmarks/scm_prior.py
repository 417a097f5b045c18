"""The causal model's prior of the variables that act on the spectrum, all others summed out."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from acie.scm import StructuralCausalModel

__all__ = ["SpectralPrior"]

#: Variables whose mechanisms need neither halo mass nor size nor whether quenched.
_DIRECT = (
    "age",
    "metallicity",
    "gas_metallicity",
    "dust_av",
    "dust_slope",
    "ionization_parameter",
)
_ROWS = 2048


class SpectralPrior:
    r"""Density of the nine spectral variables at a redshift.

    .. math:: p = \prod_{direct} p(v | pa) \sum_Q
        \left[\int p(M_h) p(Q | M_h) p(M_\star | M_h) dM_h\right] p(SFR | M_\star, Q)
        \left[\int p(R_e | M_\star, Q) p(\sigma | M_\star, R_e) dR_e\right]

    Arguments:
        scm: The galaxy model.
        halo_nodes: Nodes of the trapezium rule in log10 halo mass.
        size_nodes: Nodes of the Gauss-Hermite rule over the noise of the size.
    """

    def __init__(
        self, scm: StructuralCausalModel, halo_nodes: int = 800, size_nodes: int = 64
    ) -> None:
        self._scm = scm
        low, high = (math.log10(edge) for edge in scm.variables["halo_mass"].support)
        self._halo = torch.linspace(low, high, halo_nodes, dtype=torch.float64)
        nodes, weights = np.polynomial.hermite_e.hermegauss(size_nodes)
        self._size_noise = torch.as_tensor(nodes)
        self._size_weight = torch.as_tensor(np.log(weights / weights.sum()))

    def log_prob(self, values: Mapping[str, Tensor]) -> Tensor:
        """Log density per product of physical units, ``(sample,)``.

        Arguments:
            values: ``redshift`` and the nine spectral variables, each ``(sample,)``, double.
        """
        parts = zip(*(value.split(_ROWS) for value in values.values()), strict=True)
        return torch.cat([self._rows(dict(zip(values, part, strict=True))) for part in parts])

    def _rows(self, values: dict[str, Tensor]) -> Tensor:
        mechanisms = self._scm.mechanisms
        total = torch.zeros_like(values["stellar_mass"])
        for name in _DIRECT:
            total = total + mechanisms[name].log_prob(values[name], self._parents(name, values))
        branches = [self._branch(values, quenched) for quenched in (0.0, 1.0)]
        return total + torch.logsumexp(torch.stack(branches), 0)

    def _branch(self, values: dict[str, Tensor], quenched: float) -> Tensor:
        mechanisms = self._scm.mechanisms
        own = {**values, "quenched": torch.full_like(values["stellar_mass"], quenched)}
        total = mechanisms["sfr"].log_prob(own["sfr"], self._parents("sfr", own))
        return total + self._halo_integral(own) + self._size_integral(own)

    def _halo_integral(self, values: dict[str, Tensor]) -> Tensor:
        wide = {name: value[:, None] for name, value in values.items()}
        wide["halo_mass"] = 10.0**self._halo
        names = ("halo_mass", "quenched", "stellar_mass")
        logs = [
            self._scm.mechanisms[name].log_prob(wide[name], self._parents(name, wide))
            for name in names
        ]
        step = self._halo[1] - self._halo[0]
        weight = torch.full_like(self._halo, float(step.log()))
        weight[[0, -1]] -= math.log(2.0)
        # From the unit of halo mass to its logarithm.
        weight = weight + (self._halo * math.log(10.0)) + math.log(math.log(10.0))
        return torch.logsumexp(logs[0] + logs[1] + logs[2] + weight, -1)

    def _size_integral(self, values: dict[str, Tensor]) -> Tensor:
        wide = {name: value[:, None] for name, value in values.items()}
        size = self._scm.mechanisms["size"]
        wide["size"] = size.assign(self._size_noise, self._parents("size", wide))
        dispersion = self._scm.mechanisms["velocity_dispersion"].log_prob(
            wide["velocity_dispersion"], self._parents("velocity_dispersion", wide)
        )
        return torch.logsumexp(dispersion + self._size_weight, -1)

    def _parents(self, name: str, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {parent: values[parent] for parent in self._scm.graph.parents(name)}
