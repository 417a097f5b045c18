"""Simulated training features, made shard by shard and kept, so that a killed run goes on."""

__all__ = ["TrainingPool", "encoder_from_population"]

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from acie.errors import CausalError
from acie.inference.encoder import SpectrumEncoder
from acie.physics.kinematics import broaden_and_shift
from acie.physics.templates import REST_STEP, REST_WAVELENGTH
from acie.seeds import SeedStream
from acie.simulation import LATENT_NAMES, SPECTRAL_NAMES, Simulator

#: Resolution at which the components of the encoder are computed, km/s.
_RESOLUTION = 65.0


@torch.no_grad()
def encoder_from_population(
    simulator: Simulator, count: int, components: int, seed: int
) -> SpectrumEncoder:
    """Principal components of noise-free rest-frame spectra of the population."""
    generator = SeedStream(seed).generator("population")
    low, high = simulator.survey.redshift
    redshift = low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64)
    values, _ = simulator.scm.sample((count,), given={"redshift": redshift}, generator=generator)
    grid = SpectrumEncoder.rest_grid()
    position = np.log(grid / REST_WAVELENGTH[0]) / REST_STEP
    index = torch.as_tensor(position.astype(int))
    share = torch.as_tensor(position - position.astype(int)).float()
    rows = []
    for start in range(0, count, 500):
        part = {name: value[start : start + 500] for name, value in values.items()}
        light = simulator.physics.rest_luminosity(part)
        variance = part["velocity_dispersion"].to(light.dtype) ** 2 + _RESOLUTION**2
        light = broaden_and_shift(light, variance, light.new_zeros(1), REST_STEP)
        rows.append(light[:, index] * (1.0 - share) + light[:, index + 1] * share)
    return SpectrumEncoder.from_spectra(torch.cat(rows), components)


class TrainingPool:
    """Simulated training features that grow shard by shard on disk.

    A finished shard is never simulated again, so a killed run goes on where it stopped.

    Arguments:
        simulator: Draws and observes galaxies.
        encoder: Turns observations into features.
        folder: Where the shards are kept.
        size: Observations per shard.
        seed: Seed of the simulations.
    """

    def __init__(
        self, simulator: Simulator, encoder: SpectrumEncoder, folder: Path, size: int, seed: int
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._simulator, self._encoder = simulator, encoder
        self._folder, self._size, self._stream = folder, size, SeedStream(seed)
        self._loaded: list[dict[str, Tensor]] = []

    def grow(self, shards: int) -> Iterable[int]:
        """Load or simulate until there are ``shards``; yields the number of each new one."""
        for shard in range(len(self._loaded), shards):
            path = self._folder / f"{shard:05d}.safetensors"
            if not path.exists():
                # Written aside and renamed, so that a kill leaves no half shard behind.
                partial = path.with_suffix(".partial")
                save_file(self._simulate(self._stream.generator(f"shard-{shard}")), partial)
                partial.rename(path)
            self._loaded.append(load_file(path))
            yield shard

    def table(self) -> dict[str, Tensor]:
        """Everything loaded so far: ``features``, ``reduced_chi2``, variables and redshift."""
        names = self._loaded[0]
        return {name: torch.cat([part[name] for part in self._loaded]) for name in names}

    @torch.no_grad()
    def _simulate(self, generator: torch.Generator) -> dict[str, Tensor]:
        scm = self._simulator.scm
        parts = []
        for _ in range(math.ceil(self._size / 500)):
            try:
                drawn = self._simulator.draw(min(500, self._size), generator)
            except CausalError:
                # A tail of the population without an allowed value: redraw, do not repair.
                continue
            encoding = self._encoder.encode(drawn.observation)
            both, _ = scm.to_unconstrained(drawn.values, (*SPECTRAL_NAMES, *LATENT_NAMES))
            parts.append(
                {
                    "features": encoding.features.float(),
                    "reduced_chi2": encoding.reduced_chi2.float(),
                    "spectral": both[:, : len(SPECTRAL_NAMES)].float(),
                    "latent": both[:, len(SPECTRAL_NAMES) :].float(),
                    "redshift": drawn.values["redshift"].float(),
                }
            )
        table = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        finite = torch.stack([v.reshape(len(v), -1).isfinite().all(1) for v in table.values()])
        return {name: value[finite.all(0)].contiguous() for name, value in table.items()}
