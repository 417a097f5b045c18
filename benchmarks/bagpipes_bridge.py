"""One galaxy in the terms of ACIE and in those of Bagpipes: parameters, wavelengths, pixels.

Bagpipes keeps its templates in air and paints lines without width. Both are matched: its spectra
are asked for at the air wavelengths of the vacuum pixels, and ACIE is given templates whose lines
have no width (:func:`engine_without_line_width`).
"""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

import acie
from acie.engine import CounterfactualEngine
from acie.observation import WAVELENGTH
from acie.physics import TemplateSet
from acie.physics.dust import BIRTH_CLOUD_RATIO
from acie.refraction import vacuum_to_air
from acie.units import FLUX_SCALE, SOLAR_METALLICITY, SOLAR_OXYGEN
from bagpipes_fast import load_bagpipes

__all__ = [
    "Bagpipes",
    "air_pixels",
    "air_to_vacuum_density",
    "engine_without_line_width",
]


def air_pixels(redshift: float, keep: slice = slice(None)) -> np.ndarray:
    """Wavelengths at which Bagpipes has what ACIE has at its vacuum pixels.

    Air and vacuum differ in the rest frame of the templates, whatever the redshift.
    """
    rest = torch.as_tensor(WAVELENGTH.copy()) / (1.0 + redshift)
    return vacuum_to_air(rest).numpy()[keep] * (1.0 + redshift)


def air_to_vacuum_density(redshift: float, keep: slice = slice(None)) -> np.ndarray:
    """Flux per angstrom of vacuum over flux per angstrom of air, shape ``(wave,)``."""
    return (np.gradient(air_pixels(redshift)) / np.gradient(WAVELENGTH))[keep]


class Bagpipes:
    """Bagpipes' forward model in ACIE's parameters.

    Arguments:
        resolution: ``R_spec``; Bagpipes samples its spectra at twice this.
        log_sampling: Step of the history in log10 of the look-back time; 0.0025 by default.
    """

    def __init__(self, resolution: float = 30000.0, log_sampling: float | None = None) -> None:
        self.bagpipes = load_bagpipes(resolution)
        self.resolution, self.log_sampling = resolution, log_sampling
        self._model = None

    @staticmethod
    def components(state: Mapping[str, float], formed: float) -> dict:
        """Bagpipes' description of a state whose mass formed is given, Msun."""
        return {
            "redshift": state["redshift"],
            "veldisp": state["velocity_dispersion"],
            "delayed": {
                "age": state["age"],
                "tau": state["tau"],
                "massformed": np.log10(formed),
                "metallicity": state["metallicity"] / SOLAR_METALLICITY,
            },
            "dust": {
                "type": "Salim",
                "Av": state["dust_av"],
                "delta": state["dust_slope"],
                "B": 0.0,
                "eta": BIRTH_CLOUD_RATIO,
            },
            "nebular": {
                "logU": state["ionization_parameter"],
                "metallicity": 10.0 ** (state["gas_metallicity"] - SOLAR_OXYGEN),
            },
        }

    def __call__(self, state: Mapping[str, float], formed: float) -> np.ndarray:
        """Flux at ACIE's pixels, 1e-17 erg/s/cm2/A of vacuum, ``(wave,)``."""
        redshift = state["redshift"]
        components = self.components(state, formed)
        self.bagpipes.config.R_spec = self.resolution
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self._model is None:
                self._model = self.bagpipes.model_galaxy(components, spec_wavs=WAVELENGTH.copy())
                if self.log_sampling is not None:
                    history = type(self._model.sfh)
                    self._model.sfh = history(components, log_sampling=self.log_sampling)
                    self._model.neb_sfh = history(components, log_sampling=self.log_sampling)
            self._model.spec_wavs = air_pixels(redshift)
            self._model.update(components)
        return self._model.spectrum[:, 1] / FLUX_SCALE * air_to_vacuum_density(redshift)


def engine_without_line_width(model: str, cache: Path) -> CounterfactualEngine:
    """The engine with emission lines as narrow as Bagpipes paints them.

    The network was trained with lines of the templates' resolution; the exact likelihood, which
    weighs its proposals, has lines without width. The templates take half a minute to make and
    are kept in ``cache``.
    """
    if cache.exists():
        templates = TemplateSet(load_file(cache))
    else:
        templates = TemplateSet.build(line_fwhm_angstrom=0.0)
        cache.parent.mkdir(parents=True, exist_ok=True)
        save_file({k: v.contiguous() for k, v in templates.state_dict().items()}, cache)
    return CounterfactualEngine(replace(acie.load(model).bundle, templates=templates))
