"""Simulated training features, made shard by shard and kept, so that a killed run goes on."""

__all__ = ["TrainingPool", "encoder_from_population"]

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from acie.errors import CausalError
from acie.inference.encoder import SpectrumEncoder
from acie.physics.kinematics import broaden_and_shift
from acie.physics.templates import REST_STEP, REST_WAVELENGTH
from acie.seeds import SeedStream
from acie.simulation import LATENT_NAMES, SPECTRAL_NAMES, Simulator
from acie.tensor_files import read_tensors, write_tensors
from acie.training.processes import Processes

#: Resolution at which the components of the encoder are computed, km/s.
_RESOLUTION = 65.0
#: Galaxies drawn at a time.
_DRAWN = 500


@torch.no_grad()
def encoder_from_population(
    simulator: Simulator, count: int, components: int, seed: int
) -> SpectrumEncoder:
    """Principal components of noise-free rest-frame spectra of the population."""
    device = simulator.device
    generator = SeedStream(seed).generator("population", device)
    there = {"generator": generator, "device": device}
    low, high = simulator.survey.redshift
    redshift = low + (high - low) * torch.rand(count, dtype=torch.float64, **there)
    values, _ = simulator.scm.sample((count,), given={"redshift": redshift}, **there)
    grid = SpectrumEncoder.rest_grid()
    position = np.log(grid / REST_WAVELENGTH[0]) / REST_STEP
    index = torch.as_tensor(position.astype(int), device=device)
    share = torch.as_tensor(position - position.astype(int), device=device).float()
    rows = []
    for start in range(0, count, 500):
        part = {name: value[start : start + 500] for name, value in values.items()}
        light = simulator.physics.rest_luminosity(part)
        variance = part["velocity_dispersion"].to(light.dtype) ** 2 + _RESOLUTION**2
        light = broaden_and_shift(light, variance, light.new_zeros(1), REST_STEP)
        rows.append(light[:, index] * (1.0 - share) + light[:, index + 1] * share)
    return SpectrumEncoder.from_spectra(torch.cat(rows).cpu(), components)


class TrainingPool:
    """Simulated training features that grow shard by shard on disk.

    A finished shard is never simulated again, so a killed run goes on where it stopped. Each shard
    has a seed of its own: what it holds depends neither on how many processes there are nor on
    which of them makes it. (It does depend on the kind of device, whose random numbers differ.)

    Arguments:
        simulator: Draws and observes galaxies, on the device of its physics.
        encoder: Turns observations into features; on the same device.
        folder: Where the shards are kept; the same for all processes.
        size: Observations per shard.
        seed: Seed of the simulations.
        processes: Who shares the work.
    """

    def __init__(
        self,
        simulator: Simulator,
        encoder: SpectrumEncoder,
        folder: Path,
        size: int,
        seed: int,
        processes: Processes | None = None,
    ) -> None:
        self._simulator, self._encoder = simulator, encoder
        self._folder, self._size, self._stream = folder, size, SeedStream(seed)
        self._processes = Processes() if processes is None else processes
        self._loaded: list[dict[str, Tensor]] = []
        self._processes.first(self._tidy)

    def grow(self, shards: int) -> Iterable[int]:
        """Load or simulate until there are ``shards``; yields the number of each new one.

        All processes must call it alike: each simulates its share of what is missing and waits
        for the others.
        """
        wanted = range(len(self._loaded), shards)
        missing = [shard for shard in wanted if not self._path(shard).exists()]
        own = self._processes.share(missing)
        for shard in own:
            write_tensors(self._simulate(shard), self._path(shard))
            yield shard
        if wanted:
            self._processes.wait()
        for shard in wanted:
            self._loaded.append(read_tensors(self._path(shard)))
            if shard not in own:
                yield shard

    def table(self) -> dict[str, Tensor]:
        """Everything loaded so far: ``features``, ``reduced_chi2``, variables and redshift."""
        names = self._loaded[0]
        return {name: torch.cat([part[name] for part in self._loaded]) for name in names}

    def _path(self, shard: int) -> Path:
        return self._folder / f"{shard:05d}.safetensors"

    def _tidy(self) -> None:
        """Make the folder, and remove what processes left that were killed while writing."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for partial in self._folder.glob("*.partial"):
            partial.unlink(missing_ok=True)

    @torch.no_grad()
    def _simulate(self, shard: int) -> dict[str, Tensor]:
        scm, device = self._simulator.scm, self._simulator.device
        generator = self._stream.generator(f"shard-{shard}", device)
        parts = []
        for _ in range(math.ceil(self._size / _DRAWN)):
            try:
                drawn = self._simulator.draw(min(_DRAWN, self._size), generator)
            except CausalError:
                # A tail of the population without an allowed value: redraw, do not repair.
                continue
            # Threads take small chunks; an accelerator takes all galaxies at once.
            chunk = 20 if device.type == "cpu" else _DRAWN
            encoding = self._encoder.encode(drawn.observation, chunk)
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
        return {name: value[finite.all(0)].cpu() for name, value in table.items()}
