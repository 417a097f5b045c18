"""Bagpipes with its slow loops vectorised: the same numbers to rounding, several times faster.

A fit of Bagpipes spends its time in a Python loop over pixels and in sums over short axes. What is
replaced here: the resampling onto pixels, the sums over ages, the transmission of the
intergalactic medium at a redshift that stays the same, and the rest-frame colours, which a fit
does not use. ``stock=True`` leaves Bagpipes as it is, so that both can be compared and timed.
"""

import contextlib
import os

import numpy as np

__all__ = ["load_bagpipes", "resample"]


def load_bagpipes(resolution: float, max_redshift: float = 0.3, *, stock: bool = False):
    """Bagpipes with its wavelength sampling set.

    Arguments:
        resolution: ``R_spec``; spectra are sampled at twice this.
        max_redshift: Bounds the range that is sampled finely. Bagpipes' default of 10 would spend
            two thirds of its time on the far ultraviolet.
        stock: Leave its code as it is.
    """
    with open(os.devnull, "w") as sink, contextlib.redirect_stdout(sink):
        import bagpipes
        import spectres

    bagpipes.config.R_spec = resolution
    bagpipes.config.max_redshift = max_redshift
    owners = _owners(bagpipes, spectres)
    for (owner, name), replacement in owners.items():
        key = f"_stock_{name}"
        if not hasattr(owner, key):
            setattr(owner, key, getattr(owner, name))
        setattr(owner, name, getattr(owner, key) if stock else replacement)
    return bagpipes


def _owners(bagpipes, spectres) -> dict:
    from bagpipes.models import igm_model, nebular_model, stellar_model

    return {
        (spectres, "spectres"): resample,
        (stellar_model.stellar, "spectrum"): _stellar_spectrum,
        (nebular_model.nebular, "_interpolate_grid"): _interpolate_nebular,
        (igm_model.igm, "trans"): _igm_transmission,
        (bagpipes.model_galaxy, "_calculate_uvj_mags"): lambda self: None,
    }


def _edges(wave: np.ndarray) -> np.ndarray:
    middle = (wave[1:] + wave[:-1]) / 2.0
    first, last = wave[0] - (wave[1] - wave[0]) / 2.0, wave[-1] + (wave[-1] - wave[-2]) / 2.0
    return np.concatenate([[first], middle, [last]])


def resample(
    new_wavs: np.ndarray, spec_wavs: np.ndarray, spec_fluxes: np.ndarray, **_: object
) -> np.ndarray:
    """Mean of a piecewise-constant spectrum over new pixels, zero outside.

    The difference of the cumulative integral at the edges of the pixels.
    """
    old, new = _edges(spec_wavs), _edges(new_wavs)
    integral = np.concatenate([[0.0], np.cumsum(spec_fluxes * np.diff(old))])
    mean = np.diff(np.interp(new, old, integral)) / np.diff(new)
    return np.where((new[:-1] < old[0]) | (new[1:] > old[-1]), 0.0, mean)


def _first_old_bin(birth_cloud_yr: float) -> tuple[int, float]:
    """Bins that reach below the birth-cloud time, and the share of the last that is older."""
    from bagpipes import config

    index = int((config.age_bins < birth_cloud_yr).sum())
    return index, (config.age_bins[index] - birth_cloud_yr) / config.age_widths[index - 1]


def _stellar_spectrum(self, sfh_ceh: np.ndarray, t_bc: float = 0.0):
    index, older = _first_old_bin(t_bc * 1e9)
    if not hasattr(self, "_by_metal"):
        self._by_metal = np.ascontiguousarray(self.grid.transpose(1, 0, 2))
    young, old = sfh_ceh.copy(), sfh_ceh.copy()
    young[:, index - 1] *= 1.0 - older
    old[:, index - 1] *= older
    metals = np.flatnonzero(sfh_ceh.sum(1))
    return (
        sum(self._by_metal[m][:, :index] @ young[m, :index] for m in metals),
        sum(self._by_metal[m][:, index - 1 :] @ old[m, index - 1 :] for m in metals),
    )


def _interpolate_nebular(self, grid, sfh_ceh, t_bc, log_u):
    from bagpipes import config

    tables = self.__dict__.setdefault("_by_metal", {})
    if id(grid) not in tables:
        tables[id(grid)] = np.ascontiguousarray(grid.transpose(1, 2, 0, 3))
    table = tables[id(grid)]
    log_u = log_u + 1e-10 if log_u == config.logU[0] else log_u
    upper = int((config.logU < log_u).sum())
    share = (config.logU[upper] - log_u) / (config.logU[upper] - config.logU[upper - 1])
    index, older = _first_old_bin(t_bc * 1e9)
    young = sfh_ceh[:, :index].copy()
    young[:, -1] *= 1.0 - older
    spectrum = np.zeros(len(grid))
    for metal in np.flatnonzero(young.sum(1)):
        spectrum += (1.0 - share) * (table[metal, upper][:, :index] @ young[metal])
        spectrum += share * (table[metal, upper - 1][:, :index] @ young[metal])
    return spectrum


def _igm_transmission(self, redshift: float) -> np.ndarray:
    known = self.__dict__.setdefault("_known", {})
    if redshift not in known:
        known.clear()
        known[redshift] = type(self)._stock_trans(self, redshift)
    return known[redshift]
