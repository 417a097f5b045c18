"""Does choosing which galaxies to observe again beat choosing at random?

A pool of simulated galaxies has been observed at S/N 5. A budget pays for some of them to be
observed again at S/N 20 (16 times the exposure), which replaces the first spectrum. What counts is
the error of the posterior means over the whole pool afterwards: of all continuous variables, in
standard deviations of the population, and of the effect of an action on a feature, over the
standard deviation of the true effects. The error of random choice is its exact expectation: the
mean square over all choices of that size. The setting was looked at on seeds 100 to 105, at S/N 10
(4 times the exposure), where re-observing even the whole pool changed little; seeds 0 and up are
for the report.

Run: python benchmarks/active_reobservation.py --seeds 7
"""

import argparse
import json
import math
from dataclasses import replace
from pathlib import Path

import torch

import acie
from acie.active import PoolBuilder, UncertaintySelector
from acie.questions import galaxy_outcome
from acie.scm.effects import contrast
from acie.seeds import SeedStream
from acie.simulation import Simulator, SurveyConfig

DO, ON = ["stellar_mass*=1.5"], "dn4000"
POOL, DRAWS, SNR, EXPOSURE = 48, 64, 5.0, 16.0
BUDGETS = (0, 6, 12, 24, 36, 48)
SCORES = ("posterior_variance", "variance_reduction", "information_gain", "effect_variance")
BATCHES = ("highest", "determinantal")
ERRORS = {"variables": "all variables", "effect": f"effect of {DO[0]} on {ON}"}
FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "reobservation.png"


def observe_twice(engine, stream):
    """Galaxies with their truth, seen shallow and deep."""
    survey = SurveyConfig(redshift=(0.02, 0.3), snr=(SNR, SNR * 1.001))
    simulator = Simulator(engine.scm, engine.physics, survey=survey)
    drawn = simulator.draw(POOL, stream.generator("galaxies"))
    shallow = drawn.observation
    good = shallow.ivar > 0
    sigma = torch.where(good, (EXPOSURE * shallow.ivar).clamp(min=1e-30) ** -0.5, 1.0)
    flux = simulator.noise_model.sample(
        drawn.clean, sigma, shallow.redshift, stream.generator("deep")
    )
    flux = torch.where(good, flux, 0.0).to(shallow.flux)
    return drawn, {"shallow": shallow, "deep": replace(
        shallow, flux=flux, ivar=EXPOSURE * shallow.ivar)}  # fmt: skip


def pool_of(engine, observation, stream, name):
    """Posterior draws of every galaxy."""
    builder = PoolBuilder(engine, DO, ON, EXPOSURE)
    for i in range(len(observation)):
        one = observation[i : i + 1]
        abduction = engine.abduct(one, DRAWS, stream.generator(f"{name}-{i}"))
        builder.add(one, abduction, [str(i)])
    return builder.build(stream.generator("population"))


def truth_of(engine, drawn, stream):
    """True variables in units of the population, and true effects, NaN where there is none."""
    variables = [
        v for v in engine.scm.variables.values() if v.intervenable and v.kind == "continuous"
    ]
    # The population of the pools: the same draws, from the same stream.
    generator, redshift = stream.generator("population"), drawn.observation.redshift.double()
    index = torch.randint(POOL, (8192,), generator=generator)
    prior, _ = engine.scm.sample((8192,), given={"redshift": redshift[index]}, generator=generator)

    def natural(values):
        return torch.stack([v.forward(values[v.name].double()) for v in variables], 1)

    population = natural(prior)
    scaled = (natural(drawn.values) - population.mean(0)) / population.std(0)
    outcome = galaxy_outcome(engine.scm, engine.physics, ON)
    found = contrast(engine.scm, DO, outcome, values=drawn.values, noise=drawn.noise)
    effect = torch.full((POOL,), torch.nan, dtype=torch.float64)
    effect[found.index] = found.difference.double()
    return scaled, effect


def one_seed(engine, seed):
    """Squared errors after every budget, ``{error: {(score, batch): (budget,)}}``."""
    stream = SeedStream(seed)
    drawn, seen = observe_twice(engine, stream)
    pools = {name: pool_of(engine, seen[name], stream, name) for name in seen}
    truth, effect = truth_of(engine, drawn, stream)
    known = effect.isfinite()
    miss = {
        name: {
            "variables": (pool.theta.mean(0) - truth).square().mean(-1),
            "effect": ((pool.effect.nanmean(0) - effect)[known] / effect[known].std()).square(),
        }
        for name, pool in pools.items()
    }
    found = {}
    for error in ERRORS:
        before, after = miss["shallow"][error], miss["deep"][error]
        share = torch.tensor(BUDGETS, dtype=torch.float64) / POOL
        random = (1.0 - share) * before.mean() + share * after.mean()
        found[error] = {"random": random.tolist()}
        for by in SCORES:
            for batch in BATCHES:
                means = []
                for budget in BUDGETS:
                    deep = torch.zeros(POOL, dtype=torch.bool)
                    if budget:
                        chosen = UncertaintySelector(by, batch).select(pools["shallow"], budget)
                        deep[chosen.index] = True
                    deep = deep[known] if error == "effect" else deep
                    means.append(float(torch.where(deep, after, before).mean()))
                found[error][f"{by} {batch}"] = means
    return found


def summarise(runs, error):
    """Root mean square errors with standard errors over the seeds, and paired differences."""
    curves = {k: torch.tensor([run[error][k] for run in runs]).sqrt() for k in runs[0][error]}
    root, rows = math.sqrt(len(runs)), {}
    for name, curve in curves.items():
        gain = curves["random"] - curve
        rows[name] = {
            "error": curve.mean(0).tolist(),
            "standard_error": (curve.std(0) / root).tolist(),
            "better_than_random": gain.mean(0).tolist(),
            "its_standard_error": (gain.std(0) / root).tolist(),
            "seeds_won": (gain > 0).sum(0).tolist(),
        }
    return rows


def draw(tables, path):
    """The paired gain over random choice, for both errors."""
    from acie.evaluation.style import PAPER, legend, new_figure, tidy

    looks = ((PAPER.two, "s"), (PAPER.three, "^"), (PAPER.one, "D"), (PAPER.ink, "o"))
    figure = new_figure(8.4, 3.8)
    for axis, (error, title) in zip(figure.subplots(1, 2), ERRORS.items(), strict=True):
        axis.axhline(0.0, color=PAPER.muted, ls="--", lw=1.2)
        for by, (colour, marker) in zip(SCORES, looks, strict=True):
            row = tables[error][f"{by} highest"]
            axis.errorbar(
                BUDGETS, row["better_than_random"], row["its_standard_error"], color=colour,
                marker=marker, ms=4, lw=1.4, capsize=2, label=by.replace("_", " "),
            )  # fmt: skip
        tidy(axis, PAPER, f"galaxies observed again, of {POOL}",
             "error at random - error", title)  # fmt: skip
    axis.margins(y=0.35)  # room for the legend
    legend(axis, PAPER)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, facecolor="white")


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=7)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--figure", type=Path, default=FIGURE)
    parser.add_argument("--log", type=Path, help="a line per seed; those there are kept")
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("--seeds: at least 2, for standard errors")
    done = {}
    if options.log is not None and options.log.exists():
        lines = options.log.read_text("utf-8").splitlines()
        done = {line["seed"]: line["found"] for line in map(json.loads, lines)}
    engine = acie.load()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    for seed in seeds:
        if seed in done:
            continue
        done[seed] = one_seed(engine, seed)
        if options.log is not None:
            with options.log.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"seed": seed, "found": done[seed]}) + "\n")
    tables = {error: summarise([done[seed] for seed in seeds], error) for error in ERRORS}
    draw(tables, options.figure)
    for error, title in ERRORS.items():
        print(f"{title}: error at random, and how much lower (paired), {len(seeds)} seeds")
        print(f"{'observed again':32s}" + "".join(f"{budget:>17d}" for budget in BUDGETS))
        rows = tables[error]
        print(f"{'random':32s}" + "".join(f"{e:17.3f}" for e in rows.pop("random")["error"]))
        for name, row in rows.items():
            pairs = zip(row["better_than_random"], row["its_standard_error"], strict=True)
            print(f"{name:32s}" + "".join(f"{f'{g:+.3f} +- {s:.3f}':>17s}" for g, s in pairs))


if __name__ == "__main__":
    main()
