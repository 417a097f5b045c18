"""The encoder as a module that becomes a graph."""

__all__ = ["GraphEncoder"]

import torch
from torch import Tensor

from acie.inference import SpectrumEncoder
from acie.observation import Observation


class _InverseSystem:
    """:class:`acie.inference.projection.RidgeSystem` by the inverse of its matrix.

    ONNX has no triangular factors. One inverse serves all solutions and the uncertainties.

    Arguments:
        gram: See there, as is the next one.
        prior: Variances, ``(batch, k)``.
    """

    def __init__(self, gram: Tensor, prior: Tensor) -> None:
        self._prior = prior.double()
        root = self._prior.sqrt()
        eye = torch.eye(gram.shape[-1], dtype=torch.float64, device=gram.device)
        system = gram.double() * root.unsqueeze(-1) * root.unsqueeze(-2) + eye
        self._eye = eye
        scale = self._diagonal(system).rsqrt()
        system = system * scale.unsqueeze(-1) * scale.unsqueeze(-2) + 1e-6 * eye
        self._inverse = torch.linalg.inv_ex(system).inverse
        self._unit = scale * root

    def _diagonal(self, matrix: Tensor) -> Tensor:
        return (matrix * self._eye).sum(-1)

    def solve(self, right: Tensor) -> Tensor:
        """Coefficients for right-hand sides ``(batch, k)``, in double precision."""
        right = (right.double() * self._unit).unsqueeze(-1)
        return (self._inverse @ right).squeeze(-1) * self._unit

    def pull(self, mean: Tensor) -> Tensor:
        """Gradient of the prior at ``mean``."""
        return -mean / self._prior

    def spread(self, leading: int) -> Tensor:
        """Posterior standard deviations of the leading coefficients, ``(batch, leading)``."""
        return (self._diagonal(self._inverse).sqrt() * self._unit)[:, :leading]


class GraphEncoder(SpectrumEncoder):
    """An encoder that takes arrays, for any number of galaxies."""

    ridge = _InverseSystem

    @classmethod
    def of(cls, encoder: SpectrumEncoder) -> "GraphEncoder":
        """That of a model."""
        return cls.from_state(encoder.config, encoder.state_dict())

    def forward(self, flux: Tensor, ivar: Tensor, lsf: Tensor, redshift: Tensor) -> Tensor:
        """Standardised features, ``(batch, n_features)``.

        Arguments:
            flux: As in :class:`Observation`, as are the others; ``(batch, wave)``.
            ivar: Shape ``(batch, wave)``.
            lsf: Shape ``(batch, wave)``.
            redshift: Shape ``(batch,)``.
        """
        # The checks of an observation ask for numbers, of which a graph has none yet.
        observation = object.__new__(Observation)
        parts = {"flux": flux, "ivar": ivar, "lsf": lsf, "redshift": redshift}
        for name, part in parts.items():
            object.__setattr__(observation, name, part)
        features = self._encode(observation).features
        return ((features - self.feature_mean) / self.feature_std).clamp(-10.0, 10.0)

    def _gram(self, weights: Tensor) -> Tensor:
        basis = self._basis()
        return (basis.T * weights.unsqueeze(1)) @ basis
