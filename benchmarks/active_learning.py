"""Does choosing what to simulate beat simulating at random?

A simulation of a galaxy with and without an action gives one causal effect. From few of them a
Gaussian process learns the effect of the action on a feature of the spectrum as a function of the
galaxy's properties. It is judged on fresh galaxies of the same population, which are never
labelled, by the root mean square of the error over the standard deviation of the effect. Every
strategy starts from the same random labels and has the same budget; the seeds differ in pool,
held-out galaxies and first labels. The batch rule and the sizes were settled on seeds 100 to 104.

Run: python benchmarks/active_learning.py --seeds 10
"""

import argparse
import json
import time
from pathlib import Path

import torch

import acie
from acie.active import ActiveLearner, GaussianProcess, UncertaintySelector
from acie.questions import galaxy_outcome
from acie.scm.effects import contrast
from acie.seeds import SeedStream

DO, ON = "stellar_mass*=1.5", "dn4000"
STRATEGIES = ("random", "posterior_variance", "information_gain")
POOL, HELD_OUT, FIRST, BATCH, BUDGET = 1000, 1000, 20, 10, 120
FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "active.png"


def population(engine, count, generator):
    """Properties of galaxies on their natural scale, and the true effect on each."""
    redshift = 0.02 + 0.28 * torch.rand(count, generator=generator, dtype=torch.float64)
    values, noise = engine.scm.sample((count,), given={"redshift": redshift}, generator=generator)
    outcome = galaxy_outcome(engine.scm, engine.physics, ON)
    found = contrast(engine.scm, DO, outcome, values=values, noise=noise)
    columns = [v.forward(found.state[n].double()) for n, v in engine.scm.variables.items()]
    return torch.stack(columns, 1), found.difference.double()


def one_seed(engine, seed):
    """Held-out error of every strategy after every round, ``{strategy: {labels: error}}``."""
    stream = SeedStream(seed)
    x, y = population(engine, POOL + HELD_OUT, stream.generator("galaxies"))
    mean, spread = x[:POOL].mean(0), x[:POOL].std(0)
    kept = spread > 1e-9
    x = ((x - mean) / spread.clamp(min=1e-9))[:, kept]
    pool, held_x, labels, truth = x[:POOL], x[POOL:], y[:POOL], y[POOL:]
    errors = {}
    for by in STRATEGIES:
        learner = ActiveLearner(
            pool, labels.__getitem__, UncertaintySelector(by), GaussianProcess(), pool[:300]
        )
        errors[by] = {}
        # The same generator for every strategy: the same first labels.
        for state in learner.run(BUDGET, BATCH, stream.generator("choice"), FIRST):
            miss = learner.model.predict(held_x)[0] - truth
            errors[by][state.labelled] = float(miss.square().mean().sqrt() / truth.std())
    return errors


def summarise(runs):
    """Means with standard errors over the seeds, and paired differences to random."""
    rows = []
    for labelled in runs[0]["random"]:
        row = {"labels": labelled}
        base = torch.tensor([run["random"][labelled] for run in runs])
        for by in STRATEGIES:
            error = torch.tensor([run[by][labelled] for run in runs])
            gain = base - error
            root = len(runs) ** 0.5
            row[by] = {
                "error": float(error.mean()),
                "standard_error": float(error.std() / root),
                "better_than_random": float(gain.mean()),
                "its_standard_error": float(gain.std() / root),
                "seeds_won": int((gain > 0).sum()),
            }
        rows.append(row)
    return rows


def draw(rows, path):
    """The learning curves."""
    from acie.evaluation.style import PAPER, legend, new_figure, tidy

    figure = new_figure(6.4, 3.8)
    axis = figure.subplots()
    looks = ((PAPER.muted, "o", "--"), (PAPER.two, "s", "-"), (PAPER.one, "D", "-"))
    for by, (colour, marker, dash) in zip(STRATEGIES, looks, strict=True):
        labels = [row["labels"] for row in rows]
        axis.errorbar(
            labels, [row[by]["error"] for row in rows],
            [row[by]["standard_error"] for row in rows], color=colour, marker=marker, ls=dash,
            ms=4, lw=1.4, capsize=2, label=by.replace("_", " "),
        )  # fmt: skip
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.yaxis.set_minor_formatter(lambda value, _: f"{value:.2g}")
    tidy(axis, PAPER, "simulations", "held-out error / spread of the effect",
         f"Learning the effect of {DO} on {ON}")  # fmt: skip
    legend(axis, PAPER)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, facecolor="white")


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--figure", type=Path, default=FIGURE)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("--seeds: at least 2, for standard errors")
    engine, start = acie.load(), time.perf_counter()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    rows = summarise([one_seed(engine, seed) for seed in seeds])
    draw(rows, options.figure)
    if options.json:
        print(json.dumps({"seeds": list(seeds), "do": DO, "on": ON, "rows": rows}))
        return
    print("labels  " + "  ".join(f"{by:>20}" for by in STRATEGIES))
    for row in rows:
        cells = (f"{row[by]['error']:.4f} +- {row[by]['standard_error']:.4f}" for by in STRATEGIES)
        print(f"{row['labels']:6d}  " + "  ".join(f"{cell:>20}" for cell in cells))
    last = rows[-1]
    for by in STRATEGIES[1:]:
        found = last[by]
        print(
            f"{by} at {last['labels']} labels: error lower than random by "
            f"{found['better_than_random']:.4f} +- {found['its_standard_error']:.4f} (paired), "
            f"better on {found['seeds_won']} of {len(seeds)} seeds"
        )
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
