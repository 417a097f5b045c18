"""Do the intervals of ``acie effect`` and ``acie explain`` hold the truth as often as they say?

Simulated galaxies have known noise, so the true effect on each of them, its true direct part, the
true share of a first step and the true change that reaches a target are known. Prints, for every
question, the share of galaxies whose truth lies in the 68 % interval, with its binomial error.

Run: python benchmarks/ladder_coverage.py --n 100
"""

import argparse
import math
import time

import torch

import acie
from acie.questions import (
    GalaxyDraws,
    draws_of,
    explain_effect,
    galaxy_effect,
    galaxy_outcome,
    mediated_effect,
    seek_target,
)
from acie.scm.intervals import spread_estimate
from acie.seeds import SeedStream
from acie.simulation import Simulator, SurveyConfig

DO = "stellar_mass*=1.5"


def answers(engine, draws: GalaxyDraws, outcomes, goal: float) -> dict:
    """Every question, as (central value, low, high); on one draw all three are the value."""
    found = {}
    for name in ("dn4000", "g_r", "halpha_ew"):
        found[f"effect on {name}"] = galaxy_effect(engine.scm, draws, DO, outcomes[name]).spread()
    parts = mediated_effect(engine.scm, draws, DO, outcomes["dn4000"], ["sfr"])
    found["direct, not through sfr"] = parts["direct"]
    found["through sfr"] = parts["indirect"]
    steps = explain_effect(engine.scm, draws.thinned(32), DO, outcomes["dn4000"])["first_steps"]
    found["share of the step to metallicity"] = steps.shares["stellar_mass>metallicity"]
    sought = seek_target(engine.scm, draws, "age", outcomes["g_r"], goal)
    if sought.share > 0.5:
        reached = draws.take(sought.reached.nonzero()[:, 0])
        found["change of age for g_r - 0.05"] = spread_estimate(
            sought.change[sought.reached], effective=reached.effective
        )
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--snr", type=float, default=20.0)
    options = parser.parse_args()
    engine = acie.load()
    survey = SurveyConfig(redshift=(0.02, 0.3), snr=(options.snr, options.snr * 1.001))
    stream = SeedStream(11)
    drawn = Simulator(engine.scm, engine.physics, survey=survey).draw(
        options.n, stream.generator("coverage")
    )
    names = ("dn4000", "g_r", "halpha_ew")
    outcomes = {name: galaxy_outcome(engine.scm, engine.physics, name) for name in names}
    inside, asked, start = {}, {}, time.perf_counter()
    for index in range(options.n):
        truth = GalaxyDraws(
            {name: value[index : index + 1] for name, value in drawn.values.items()},
            {name: value[index : index + 1] for name, value in drawn.noise.items()},
        )
        goal = float(outcomes["g_r"].function(truth.values)) - 0.05
        abduction = engine.abduct(
            drawn.observation[index : index + 1], options.samples, stream.generator(str(index))
        )
        known = answers(engine, truth, outcomes, goal)
        for name, estimate in answers(engine, draws_of(abduction), outcomes, goal).items():
            if name in known:
                asked[name] = asked.get(name, 0) + 1
                hit = estimate.low <= known[name].value <= estimate.high
                inside[name] = inside.get(name, 0) + hit
    for name, count in asked.items():
        share = inside[name] / count
        error = math.sqrt(0.68 * 0.32 / count)
        print(f"{name:>36}  {share:.3f} +- {error:.3f}  ({count} galaxies, 0.68 wanted)")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
