"""Velocity dispersion recovered from converged Bagpipes spectra: a test of the sampling alone.

Bagpipes paints a galaxy at R = 30000 and 0.0001 dex in look-back time; ACIE's spectrum of the
same state is fitted to it by least squares with nothing but the dispersion free. What is off is
then the resolution of the forward model: its grid, its interpolation and its pixels. Bagpipes
takes the mean over the observed pixels and paints lines without width, so ACIE's templates are
built with such lines and its instrument has the resolution of the templates.

    python benchmarks/dispersion.py

    km/s                     62.05       100       160
    mock-passive             62.00     99.96    159.94
    mock-star-forming        62.00     99.98    159.99
    mock-massive             62.01     99.98    159.99
"""

import argparse
import json
import warnings
from collections.abc import Callable

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from acie.physics import StellarPopulationModel, TemplateSet
from bagpipes_bridge import Bagpipes
from bagpipes_problems import MOCKS, paint, truth_of

__all__ = ["fitted_dispersion", "recover", "run"]

warnings.filterwarnings("ignore")

#: km/s; the first is that of ``mock-star-forming``.
DISPERSIONS = (62.05, 100.0, 160.0)


def fitted_dispersion(misfit: Callable[[float], float], truth: float) -> float:
    """The dispersion of the least misfit near the truth, km/s."""
    found = minimize_scalar(
        misfit, bounds=(0.7 * truth, 1.5 * truth), method="bounded", options={"xatol": 1e-3}
    )
    return float(found.x)


def recover(
    physics: StellarPopulationModel, state: dict[str, float], spectrum: np.ndarray
) -> float:
    """The dispersion at which ACIE's spectrum of a state is nearest to ``spectrum``, km/s."""
    truth = state["velocity_dispersion"]
    fixed = {name: torch.tensor([value], dtype=torch.float64) for name, value in state.items()}
    target = torch.as_tensor(spectrum)
    level = target.median()

    @torch.no_grad()
    def misfit(dispersion: float) -> float:
        fixed["velocity_dispersion"] = torch.tensor([dispersion], dtype=torch.float64)
        return float(((physics(fixed)[0] - target) / level).square().sum())

    return fitted_dispersion(misfit, truth)


def run(seed: int = 2026) -> dict[str, dict[str, float]]:
    """Recovered dispersions by mock and true dispersion, km/s."""
    physics = StellarPopulationModel(TemplateSet.build(line_fwhm_angstrom=0.0)).double()
    bagpipes = Bagpipes(30000.0, log_sampling=1e-4)
    result = {}
    for name in MOCKS:
        state = truth_of(name, seed, physics)
        for dispersion in DISPERSIONS:
            state = state | {"velocity_dispersion": dispersion}
            spectrum = paint(state, bagpipes, physics)
            found = recover(physics, state, spectrum)
            result.setdefault(name, {})[f"{dispersion:g}"] = found
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=2026, help="of the mocks")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result = run(arguments.seed)
    if arguments.json:
        print(json.dumps(result))
    else:
        print(f"{'km/s':<20}" + "".join(f"{value:>10g}" for value in DISPERSIONS))
        for name, row in result.items():
            print(f"{name:<20}" + "".join(f"{value:>10.2f}" for value in row.values()))
