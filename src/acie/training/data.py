"""Simulated training features, made shard by shard and kept, so that a killed run goes on."""

__all__ = ["encoder_from_population", "load_features", "simulate_features"]

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
        light = broaden_and_shift(light, variance, torch.zeros_like(variance), REST_STEP)
        rows.append(light[:, index] * (1.0 - share) + light[:, index + 1] * share)
    return SpectrumEncoder.from_spectra(torch.cat(rows), components)


@torch.no_grad()
def simulate_features(
    simulator: Simulator, encoder: SpectrumEncoder, folder: Path, shards: int, size: int, seed: int
) -> Iterable[int]:
    """Simulate the shards that are missing; yields the number of each when it is on disk."""
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(shards):
        path = folder / f"{shard:05d}.safetensors"
        if path.exists():
            yield shard
            continue
        generator = SeedStream(seed).generator(f"shard-{shard}")
        parts = []
        for _ in range(math.ceil(size / 500)):
            try:
                drawn = simulator.draw(min(500, size), generator)
            except CausalError:
                # A tail of the population without an allowed value: redraw, do not repair.
                continue
            encoding = encoder.encode(drawn.observation)
            spectral, _ = simulator.scm.to_unconstrained(drawn.values, SPECTRAL_NAMES)
            latent, _ = simulator.scm.to_unconstrained(
                drawn.values, (*SPECTRAL_NAMES, *LATENT_NAMES)
            )
            parts.append(
                {
                    "features": encoding.features.float(),
                    "reduced_chi2": encoding.reduced_chi2.float(),
                    "spectral": spectral.float(),
                    "latent": latent[:, len(SPECTRAL_NAMES) :].float(),
                    "redshift": drawn.values["redshift"].float(),
                }
            )
        table = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        finite = torch.stack([v.reshape(len(v), -1).isfinite().all(1) for v in table.values()])
        table = {name: value[finite.all(0)].contiguous() for name, value in table.items()}
        # Written aside and renamed, so that a kill leaves no half shard behind.
        partial = path.with_suffix(".partial")
        save_file(table, partial)
        partial.rename(path)
        yield shard


def load_features(folder: Path) -> dict[str, Tensor]:
    """All shards in one table."""
    parts = [load_file(path) for path in sorted(folder.glob("*.safetensors"))]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
