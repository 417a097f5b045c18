"""Simulated galaxies whose exogenous noise, and so whose true counterfactual, is known."""

__all__ = ["SimulatedSet", "Simulator", "SurveyConfig"]

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from acie.observation import WAVELENGTH, Observation
from acie.physics.spectrum import StellarPopulationModel
from acie.scm import StructuralCausalModel
from acie.simulation.noise import NoiseModel


@dataclass(frozen=True)
class SurveyConfig:
    """The population of observations.

    Arguments:
        redshift: Smallest and largest redshift, drawn uniformly.
        snr: Smallest and largest median signal-to-noise ratio per pixel, drawn log-uniformly.
        lsf_km_s: Smallest and largest instrumental sigma.
        start_angstrom: Range from which the first covered wavelength is drawn.
        stop_angstrom: Range from which the last covered wavelength is drawn.
        bad_pixels: Largest fraction of isolated bad pixels.
    """

    redshift: tuple[float, float] = (0.005, 0.6)
    snr: tuple[float, float] = (2.0, 60.0)
    lsf_km_s: tuple[float, float] = (45.0, 85.0)
    start_angstrom: tuple[float, float] = (3600.0, 3850.0)
    stop_angstrom: tuple[float, float] = (9150.0, 9600.0)
    bad_pixels: float = 0.05


@dataclass(frozen=True)
class SimulatedSet:
    """Simulated galaxies.

    Arguments:
        values: Every variable, shape ``(batch,)``.
        noise: Exogenous noise of every random variable, shape ``(batch,)``.
        clean: Spectra before calibration and noise, ``(batch, wave)``.
        observation: What a survey would deliver.
    """

    values: dict[str, Tensor]
    noise: dict[str, Tensor]
    clean: Tensor
    observation: Observation


@dataclass
class Simulator:
    """Draws galaxies from the causal model and observes them.

    Arguments:
        scm: The causal model.
        physics: The forward model.
        noise_model: Calibration, template and pixel noise.
        survey: The population of observations.
    """

    scm: StructuralCausalModel
    physics: StellarPopulationModel
    noise_model: NoiseModel = field(default_factory=NoiseModel)
    survey: SurveyConfig = field(default_factory=SurveyConfig)

    @property
    def device(self) -> torch.device:
        """Where galaxies are made: that of the forward model."""
        return self.physics.light_basis.device

    @torch.no_grad()
    def draw(self, count: int, generator: torch.Generator) -> SimulatedSet:
        """Galaxies with their noise and observations.

        Arguments:
            count: How many.
            generator: Source of all randomness, on the device of the forward model.
        """
        survey, there = self.survey, {"generator": generator, "device": self.device}

        def uniform(low: float, high: float) -> Tensor:
            draw = torch.rand(count, dtype=torch.float64, **there)
            return low + (high - low) * draw

        redshift = uniform(*survey.redshift)
        values, noise = self.scm.sample(
            (count,), given={"redshift": redshift}, **there
        )
        wave = torch.as_tensor(WAVELENGTH.copy(), device=self.device)
        tilt = (wave - 6600.0) / 3000.0
        # Resolution in km/s improves towards the red in grating spectrographs.
        lsf = uniform(*survey.lsf_km_s)[:, None] * (1.0 - 0.1 * uniform(-0.5, 1.5)[:, None] * tilt)
        clean = self.physics(values, self.physics.lsf_excess(redshift, lsf))
        snr = torch.exp(uniform(*(math.log(edge) for edge in survey.snr)))
        # Noise rises towards both ends, as throughput falls.
        shape = 1.0 + uniform(0.0, 1.0)[:, None] * (-tilt).clamp(min=0.0) ** 2
        shape = shape + uniform(0.0, 1.0)[:, None] * tilt.clamp(min=0.0) ** 2
        level = clean.median(-1, keepdim=True).values
        sigma = (level / snr[:, None] * shape / shape.median(-1, keepdim=True).values).float()
        flux = self.noise_model.sample(clean, sigma, redshift, generator)
        start, stop = uniform(*survey.start_angstrom), uniform(*survey.stop_angstrom)
        good = (wave >= start[:, None]) & (wave <= stop[:, None])
        dropped = uniform(0.0, survey.bad_pixels)[:, None]
        good &= torch.rand(flux.shape, **there) >= dropped
        observation = Observation(
            flux=torch.where(good, flux, 0.0),
            ivar=torch.where(good, sigma**-2, 0.0),
            redshift=redshift,
            lsf=lsf,
            names=tuple(f"sim-{index}" for index in range(count)),
        )
        return SimulatedSet(values, noise, clean, observation)

    @torch.no_grad()
    def true_counterfactual(
        self, truth: SimulatedSet, do: Mapping | str, hold: tuple[str, ...] = ()
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The state and the noise-free spectrum that each galaxy would have had."""
        from acie.scm import parse_interventions

        actions = parse_interventions(do, self.scm.variables, self.scm.aliases)
        values = self.scm.predict(truth.noise, truth.values, actions, hold)
        excess = self.physics.lsf_excess(truth.values["redshift"], truth.observation.lsf)
        return values, self.physics(values, excess)
