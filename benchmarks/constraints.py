"""Physical constraints: states per second for residuals and penalty, and for the projection.

The states are drawn from the galaxy model, in single precision. The first rate is that of the
constraints between the variables the model draws; the second adds the dust energy balance and the
mass budget, for which every state carries its dust luminosity and masses.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch

from acie.physics import PhysicsConstraints, StellarPopulationModel, TemplateSet
from acie.simulation import build_galaxy_scm


def rate(function: Callable, count: int, repeats: int = 3) -> float:
    """States per second: the median of some repeats after a warm-up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return count / statistics.median(times[1:])


@torch.no_grad()
def run(count: int = 100_000, seed: int = 3, device: str = "auto") -> dict[str, float]:
    physics = StellarPopulationModel(TemplateSet.build())
    constraints = PhysicsConstraints(physics, device)
    generator = torch.Generator().manual_seed(seed)
    redshift = 0.005 + 0.595 * torch.rand(count, generator=generator, dtype=torch.float64)
    scm = build_galaxy_scm(physics)
    double, _ = scm.sample((count,), given={"redshift": redshift}, generator=generator)
    state = {name: value.float().to(constraints.device) for name, value in double.items()}
    surviving = constraints.physics.surviving_fraction(state["age"], state["tau"])
    full = state | {"mass_formed": state["stellar_mass"] / surviving}
    full["mass_returned"] = full["mass_formed"] - state["stellar_mass"]
    full["dust_luminosity"] = state["stellar_mass"]

    def both(which: dict) -> Callable:
        return lambda: constraints.penalty(which, constraints.residuals(which)).sum().item()

    small = {name: value[:5000] for name, value in state.items()}
    broken = constraints.report(state)
    return {
        "states_per_s": rate(both(state), count),
        "states_per_s_with_dust": rate(both(full), count, 1),
        "projections_per_s": rate(lambda: constraints.project(small), 5000, 1),
        "states": count,
        "threads": torch.get_num_threads(),
        "broken": sum(violation.count for violation in broken),
        "device": constraints.device.type,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--states", type=int, default=100_000)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    result = run(arguments.states, device=arguments.device)
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            shown = value if isinstance(value, str) else f"{value:.6g}"
            print(f"{name:>24} {shown:>12}")
