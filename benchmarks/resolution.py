"""Velocity dispersion under a resolution that changes along the spectrum, as real ones do.

The reference needs no mixing: spectra of one resolution each, in 40 steps, between the two nearest
of which every pixel is interpolated. A spectrum of the forward model is fitted to it with nothing
but the dispersion free, at the line-spread function of real SDSS spectra. Columns: the true
dispersion, the fitted one, and chi-square of the difference at the true one at S/N 20 per pixel.

    python benchmarks/resolution.py --data ../shared/data
"""

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

import acie
from acie.physics import StellarPopulationModel
from bagpipes_problems import truth_of
from dispersion import fitted_dispersion

SPECTRA = ("spec-0266-51630-0168", "spec-0266-51602-0573", "spec-0268-51633-0251")
MOCKS = ("mock-star-forming", "mock-passive")
DISPERSIONS = (45.0, 70.0, 110.0, 160.0)
STEPS, SIGNAL_TO_NOISE = 40, 20.0


def spectrum(
    physics: StellarPopulationModel, state: dict[str, float], sigma: float, excess: Tensor
) -> Tensor:
    """The engine's spectrum of a state, ``(wave,)``."""
    state = state | {"velocity_dispersion": sigma}
    tensors = {name: torch.tensor([[value]]).double() for name, value in state.items()}
    return physics(tensors, excess)[0, 0].double()


def reference(
    physics: StellarPopulationModel, state: dict[str, float], sigma: float, excess: Tensor
) -> Tensor:
    """The same from spectra of one resolution each, ``(wave,)``."""
    low, high = float(excess.min()) - 1.0, float(excess.max()) + 1.0
    nodes = torch.linspace(low, high, STEPS + 1, dtype=torch.float64)
    constant = (torch.full_like(excess, float(node)) for node in nodes)
    spectra = torch.stack([spectrum(physics, state, sigma, one) for one in constant])
    place = (excess[0] - low) / (nodes[1] - nodes[0])
    below = place.long().clamp(max=STEPS - 1)
    pixel = torch.arange(len(place))
    return torch.lerp(spectra[below, pixel], spectra[below + 1, pixel], place - below)


@torch.no_grad()
def run(data: Path) -> list[dict[str, float | str]]:
    """One row for each resolution, galaxy and dispersion."""
    physics = acie.load().physics
    rows = []
    for file in SPECTRA:
        seen = acie.io.read(data / "sdss" / f"{file}.fits").batched()
        excess = physics.lsf_excess(seen.redshift, seen.lsf)
        for mock in MOCKS:
            state = truth_of(mock, 2026, physics) | {"redshift": float(seen.redshift)}
            for sigma in DISPERSIONS:
                expected = reference(physics, state, sigma, excess)
                error = expected.median() / SIGNAL_TO_NOISE

                def misfit(value: float, state=state, expected=expected, error=error) -> float:
                    found = spectrum(physics, state, value, excess)  # noqa: B023
                    return float(((found - expected) / error).square().sum())

                rows.append(
                    {"resolution": file, "galaxy": mock, "true_km_s": sigma,
                     "fitted_km_s": fitted_dispersion(misfit, sigma), "chi2": misfit(sigma)}
                )  # fmt: skip
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = run(arguments.data)
    if arguments.json:
        print(json.dumps(found))
    else:
        for row in found:
            print(f"{row['resolution']:>21} {row['galaxy']:>18} {row['true_km_s']:6.0f}"
                  f" {row['fitted_km_s']:8.2f} {row['chi2']:8.3f}")  # fmt: skip
