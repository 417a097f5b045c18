"""Observations: flux, inverse variance, mask, redshift and resolution on the instrument grid.

Axes are ``(*batch, wave)``. One class holds one galaxy or a stack of them, so that nothing else
needs two versions of itself.
"""

__all__ = ["WAVELENGTH", "Observation"]

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from acie.errors import MalformedSpectrum
from acie.native.checks import nanmedian

#: Pixel centres of the version 1 grid: 6000 pixels, 3600 to 9599 angstrom, vacuum.
WAVELENGTH: np.ndarray = 3600.0 + np.arange(6000, dtype=np.float64)
WAVELENGTH.setflags(write=False)
#: Brightness, 1e-17 erg/s/cm2/A, outside of which the unit must be wrong: a millionth of the noise
#: of an hour at a large telescope, and the brightest star.
_FAINTEST, _BRIGHTEST = 1e-7, 1e9
_ARRAYS = ("flux", "ivar", "redshift", "lsf", "quality")


@dataclass(frozen=True)
class Observation:
    """Spectra on the instrument grid.

    Arguments:
        flux: Flux density, 1e-17 erg/s/cm2/A, shape ``(*batch, wave)``, finite everywhere
            (zero where masked).
        ivar: Inverse variance of ``flux``, shape ``(*batch, wave)``, zero where masked. Rebinned
            spectra conserve information: the sum over pixels of ``ivar`` times a smooth template
            squared is that of the original pixels, so correlated pixels are not counted twice.
        redshift: Redshift, shape ``(*batch,)``.
        lsf: Gaussian width of the instrumental line-spread function, km/s, ``(*batch, wave)``:
            of everything that widened a line *before* the mean over the pixels of 1 angstrom was
            taken. That mean is left to the forward model, which takes it exactly.
        names: One name per galaxy, in the order of the flattened batch.
        quality: Bits of :class:`acie.QualityFlag` already known from reading, ``(*batch,)``.
        meta: Free facts about where the spectrum came from (survey, plate, target id).
    """

    flux: Tensor
    ivar: Tensor
    redshift: Tensor
    lsf: Tensor
    names: tuple[str, ...] = ()
    quality: Tensor | None = None
    meta: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        wave = WAVELENGTH.size
        for name in ("flux", "ivar", "lsf"):
            value = getattr(self, name)
            if value.shape != self.flux.shape or value.shape[-1:] != (wave,):
                raise MalformedSpectrum(
                    name,
                    expected=f"shape (..., {wave}) equal to that of flux",
                    found=str(tuple(value.shape)),
                    remedy="Rebin onto acie.WAVELENGTH first, or use acie.io.read.",
                )
            if not bool(torch.isfinite(value).all()):
                raise MalformedSpectrum(
                    name,
                    expected="finite numbers",
                    found=f"{int((~torch.isfinite(value)).sum())} pixels that are NaN or infinite",
                    remedy="Set flux to 0 and ivar to 0 in bad pixels.",
                )
        if bool((self.ivar < 0).any()):
            raise MalformedSpectrum(
                "ivar",
                expected="inverse variances of at least 0",
                found="negative values",
                remedy="Set ivar to 0 in bad pixels.",
            )
        dead = (self.ivar > 0).sum(-1) == 0
        if bool(dead.any()):
            raise MalformedSpectrum(
                "ivar",
                expected="at least one good pixel",
                found="inverse variance 0 everywhere",
                remedy="The fibre is dead or the mask covers everything; leave this spectrum out.",
            )
        self._check_brightness()
        if self.redshift.shape != self.flux.shape[:-1]:
            raise MalformedSpectrum(
                "redshift",
                expected=f"shape {tuple(self.flux.shape[:-1])}",
                found=str(tuple(self.redshift.shape)),
            )
        if self.quality is None:
            object.__setattr__(
                self, "quality", torch.zeros_like(self.redshift, dtype=torch.int64)
            )

    def _check_brightness(self) -> None:
        """Refuse flux that cannot be in the stated unit: no sky is that dark or bright."""
        good = self.ivar > 0
        light = torch.where(good, self.flux.double().abs(), torch.nan).nanmedian(-1).values
        # A spectrum without light still has the noise of its instrument.
        noise = torch.where(good, self.ivar.double().rsqrt(), torch.nan).nanmedian(-1).values
        level = torch.maximum(light, noise)
        wrong = (level < _FAINTEST) | (level > _BRIGHTEST)
        if bool(wrong.any()):
            raise MalformedSpectrum(
                "flux",
                expected="flux density in units of 1e-17 erg/s/cm2/AA",
                found=f"a median of {float(level[wrong].flatten()[0]):.3g} in that unit",
                remedy="Convert the flux and its errors; acie.io.read does so where units are"
                " given.",
            )

    def __len__(self) -> int:
        return self.flux.shape[0] if self.flux.ndim > 1 else 1

    def __getitem__(self, index: int | slice | Tensor) -> "Observation":
        """Some galaxies of a batch; an integer drops the batch axis."""
        if isinstance(index, Tensor):
            chosen = (
                index.nonzero().flatten().tolist() if index.dtype == torch.bool else index.tolist()
            )
            names = tuple(self.names[i] for i in chosen) if self.names else ()
        else:
            names = self.names[index] if self.names else ()
        names = (names,) if isinstance(names, str) else names
        return self._with(names=names, **{name: getattr(self, name)[index] for name in _ARRAYS})

    def _with(self, **changes: Any) -> "Observation":
        """Parts or other shapes of what was checked, which need no second check."""
        other = copy.copy(self)
        for name, value in changes.items():
            object.__setattr__(other, name, value)
        return other

    @property
    def wavelength(self) -> np.ndarray:
        """Pixel centres, vacuum angstrom, shape ``(wave,)``."""
        return WAVELENGTH

    @property
    def signal_to_noise(self) -> Tensor:
        """Median of ``flux * sqrt(ivar)`` over the good pixels, shape ``(*batch,)``."""
        ratio = self.flux * self.ivar.sqrt()
        return nanmedian(torch.where(self.ivar > 0, ratio, torch.nan))

    @property
    def is_batch(self) -> bool:
        """Whether there is a batch axis."""
        return self.flux.ndim > 1

    def batched(self) -> "Observation":
        """The same observation with exactly one batch axis."""
        if self.flux.ndim == 2:
            return self
        axes = self.redshift.ndim
        parts = {name: getattr(self, name) for name in _ARRAYS}
        return self._with(
            **{name: part.reshape(-1, *part.shape[axes:]) for name, part in parts.items()}
        )

    def to(self, device: torch.device | str) -> "Observation":
        """The same observation on another device."""
        return self._with(**{name: getattr(self, name).to(device) for name in _ARRAYS})

    @staticmethod
    def stack(observations: Sequence["Observation"]) -> "Observation":
        """Several observations as one with a batch axis."""
        parts = [observation.batched() for observation in observations]
        return Observation(
            flux=torch.cat([part.flux for part in parts]),
            ivar=torch.cat([part.ivar for part in parts]),
            redshift=torch.cat([part.redshift for part in parts]),
            lsf=torch.cat([part.lsf for part in parts]),
            names=tuple(name for part in parts for name in part.names),
            meta=parts[0].meta if len(parts) == 1 else {},
            quality=torch.cat([part.quality for part in parts]),
        )
