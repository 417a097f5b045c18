"""Five galaxies as both codes are shown them: three mocks by Bagpipes, two spectra of SDSS.

Both codes get the same pixels, the same redshift and the same error of every pixel, which is taken
as exact and independent. The mocks have plain Gaussian noise. To the errors of the real spectra
two per cent of the flux are added for the templates (three outside the range of MILES), and both
codes fit a calibration polynomial of four Chebyshev terms with 3 % standard deviation each. The
resolution is that of the templates, in both codes, so the velocity dispersion of a real galaxy
is the effective one: it contains what the instrument has in excess.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import acie
from acie.observation import WAVELENGTH, Observation
from acie.physics import StellarPopulationModel
from acie.physics.templates import template_sigma_km_s
from acie.seeds import SeedStream
from acie.simulation import NoiseModel, build_galaxy_scm
from acie.units import FLUX_SCALE
from bagpipes_bridge import Bagpipes, air_pixels, air_to_vacuum_density

__all__ = [
    "GALAXIES",
    "MOCKS",
    "Problem",
    "mock",
    "noise_model",
    "observe",
    "paint",
    "problem",
    "real",
    "truth_of",
]

#: Redshift, halo mass [Msun] and whether quenched; all else is drawn from the causal model.
MOCKS = {
    "mock-passive": (0.08, 1e13, 1.0),
    "mock-star-forming": (0.06, 1e12, 0.0),
    "mock-massive": (0.1, 3e12, 0.0),
}
REAL = {"passive": "spec-0266-51630-0367", "star-forming": "spec-0266-51630-0168"}
GALAXIES = (*MOCKS, *REAL)
SIGNAL_TO_NOISE = 20.0
#: What a masked pixel gets as its error in Bagpipes, in units of the median flux.
_INFINITE = 1e8


@dataclass(frozen=True)
class Problem:
    """One galaxy.

    Arguments:
        name: Its name.
        observation: As ACIE sees it, with a batch axis of one.
        truth: The state behind a mock, physical units; empty for a real galaxy.
        calibrated: Whether a calibration polynomial is fitted.
    """

    name: str
    observation: Observation
    truth: dict[str, float]
    calibrated: bool

    @property
    def redshift(self) -> float:
        """Given to both codes."""
        return float(self.observation.redshift[0])

    def bagpipes_table(self) -> np.ndarray:
        """Wavelength in Bagpipes' air, flux density, error: ``(6000, 3)``, erg/s/cm2/A of air."""
        flux = self.observation.flux[0].double().numpy()
        ivar = self.observation.ivar[0].double().numpy()
        density = FLUX_SCALE / air_to_vacuum_density(self.redshift)
        level = float(np.median(flux[ivar > 0]))
        good = ivar > 0
        # Bagpipes drops zeros at the ends of a spectrum, which would move its calibration.
        flux = np.where(good, flux, level)
        error = np.where(good, 1.0 / np.sqrt(np.where(good, ivar, 1.0)), _INFINITE * level)
        return np.column_stack([air_pixels(self.redshift), flux * density, error * density])


def noise_model(calibrated: bool) -> NoiseModel:
    """What both codes are told: errors exact, templates exact, calibration or none."""
    return NoiseModel(
        calibration=0.03 if calibrated else 1e-6,
        calibration_terms=4,
        template_error=0.0,
        template_error_outside=0.0,
        scale_dof=1e9,
    )


def _resolution(redshift: torch.Tensor) -> torch.Tensor:
    """That of the templates, km/s, ``(batch, wave)``; both codes average over the pixels."""
    return template_sigma_km_s(torch.as_tensor(WAVELENGTH.copy()) / (1.0 + redshift[:, None]))


def truth_of(name: str, seed: int, physics: StellarPopulationModel) -> dict[str, float]:
    """State of a mock, drawn from the causal model, in physical units."""
    redshift, halo_mass, quenched = MOCKS[name]
    scm = build_galaxy_scm(physics)
    given = {"redshift": redshift, "halo_mass": halo_mass, "quenched": quenched}
    values, _ = scm.sample(
        (1,),
        given={key: torch.tensor([value]) for key, value in given.items()},
        generator=SeedStream(seed).generator(name),
    )
    return {key: float(value[0]) for key, value in values.items()}


def mock(name: str, seed: int, physics: StellarPopulationModel) -> Problem:
    """A galaxy drawn from the causal model and painted by Bagpipes at converged sampling."""
    truth = truth_of(name, seed, physics)
    clean = paint(truth, Bagpipes(30000.0, log_sampling=1e-4), physics)
    noise = SeedStream(seed).generator(f"{name}-noise")
    observation = observe(clean, MOCKS[name][0], noise, name)
    return Problem(name, observation, truth, calibrated=False)


def paint(
    state: dict[str, float], bagpipes: Bagpipes, physics: StellarPopulationModel
) -> np.ndarray:
    """Bagpipes' spectrum of a state of ACIE, with ACIE's surviving mass fraction, ``(wave,)``."""
    age, tau = (torch.tensor([state[key]], dtype=torch.float64) for key in ("age", "tau"))
    formed = state["stellar_mass"] / float(physics.surviving_fraction(age, tau))
    return bagpipes(state, formed)


def observe(
    clean: np.ndarray,
    redshift: float,
    generator: torch.Generator,
    name: str,
    noise: NoiseModel | None = None,
) -> Observation:
    """A spectrum with the same stated error in every pixel, with a batch axis of one.

    The noise is Gaussian with that error or, with a noise model, what that model says.
    """
    sigma = float(np.median(clean)) / SIGNAL_TO_NOISE
    z = torch.tensor([redshift], dtype=torch.float64)
    flux = torch.as_tensor(clean)[None]
    if noise is None:
        flux = flux + sigma * torch.randn(clean.shape, generator=generator).double()
    else:
        flux = noise.sample(flux.float(), torch.full_like(flux, sigma).float(), z, generator)
    return Observation(
        flux=flux.float(),
        ivar=torch.full((1, flux.shape[-1]), sigma**-2),
        redshift=z,
        lsf=_resolution(z),
        names=(name,),
    )


def real(name: str, folder: Path) -> Problem:
    """A spectrum of SDSS with the template error added to its errors."""
    read = acie.io.read(folder / "sdss" / f"{REAL[name]}.fits").batched()
    relative = NoiseModel().relative_error(read.redshift)
    variance = 1.0 / read.ivar + (relative * read.flux) ** 2
    ivar = torch.where(read.ivar > 0, 1.0 / variance, 0.0)
    observation = Observation(
        flux=read.flux, ivar=ivar, redshift=read.redshift, lsf=_resolution(read.redshift),
        names=(name,), meta=read.meta,
    )  # fmt: skip
    return Problem(name, observation, {}, calibrated=True)


def problem(name: str, seed: int, physics: StellarPopulationModel, folder: Path) -> Problem:
    """One of :data:`GALAXIES`."""
    return mock(name, seed, physics) if name in MOCKS else real(name, folder)
