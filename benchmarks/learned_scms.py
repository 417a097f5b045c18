"""Counterfactual error of learned mechanisms on models whose truth is known.

Protocol of the paper: 25,000 rows, of which 0.8 train, 0.1 choose and 0.1 only measure; every
listed node is set to its 25th, 50th and 75th percentile, rounded to 0.01; the error of
counterfactuals is the mean over rows of the Euclidean distance to the truth, that of average
effects the distance between differences of means of 10,000 rows, learned and true drawn apart.
Counterfactuals are asked of 2,500 rows that the fit has not seen.

Usage: python benchmarks/learned_scms.py [--models a,b] [--seeds N] [--rows N] [--json]
       [--mechanism auto|additive|spline] [--out FILE]

With ``--out`` every fit is appended to a file of JSON lines as soon as it is done, and what the
file holds is not fitted again: a run that was interrupted goes on where it stopped. Seeds are the
outer loop, so that a run that was cut short has all models.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch

from acie.io import Catalogue
from acie.tabular import FitConfig, GraphSpec, TabularEngine, fit
from causal_models import ACTED, PARENTS, PUBLISHED, SEEDS, draw_noise, solve

TEST, EFFECT = 2_500, 10_000


def graph_of(name, mechanism="auto"):
    nodes = enumerate(PARENTS[name], start=1)
    return GraphSpec.parse(
        {
            "name": name,
            "variables": {
                f"x{node}": {"parents": [f"x{p}" for p in parents], "kind": "continuous",
                             "mechanism": mechanism}
                for node, parents in nodes
            },
        }
    )  # fmt: skip


def table_of(values):
    return Catalogue({f"x{i}": np.ascontiguousarray(row) for i, row in enumerate(values, 1)})


def stack(values, count):
    return np.stack([v.expand(1, count)[0].numpy() for v in values.values()])


def counterfactual_error(engine, name, levels, rng):
    """Mean distance to the true counterfactual, and seconds for a counterfactual of one row."""
    noise = draw_noise(name, TEST, rng)
    table = table_of(solve(name, noise))
    names = list(table.columns)
    errors, seconds = [], 0.0
    for node, values in levels.items():
        for value in values:
            start = time.process_time()
            result = engine.counterfactual(table, {f"x{node}": value}, num_samples=1)
            seconds += time.process_time() - start
            found = stack({n: result.values[n] for n in names}, TEST)
            distance = np.sqrt(((found - solve(name, noise, node, value)) ** 2).sum(0))
            errors.append(float(distance.mean()))
    return statistics.mean(errors), seconds / len(errors) / TEST


def effect_error(engine, name, levels, rng):
    """Mean distance between learned and true average effects, contrasts 25-50, 25-75, 50-75."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    errors = []
    for node, values in levels.items():
        means = []
        noise = draw_noise(name, EFFECT, rng)
        state, drawn = engine.scm.sample((EFFECT,), generator=generator)
        for value in values:
            truth = solve(name, noise, node, value).mean(1)
            acted = engine.scm.predict(drawn, state, engine.act({f"x{node}": value}))
            found = np.array([float(acted[f"x{i}"].mean()) for i in range(1, len(truth) + 1)])
            means.append((truth, found))
        for a, b in ((0, 1), (0, 2), (1, 2)):
            difference = (means[b][0] - means[a][0]) - (means[b][1] - means[a][1])
            errors.append(float(np.sqrt((difference**2).sum())))
    return statistics.mean(errors)


def measure(name, seed, rows=25_000, mechanism="auto"):
    """One fit and its errors."""
    rng = np.random.default_rng(seed)
    values = solve(name, draw_noise(name, rows, rng))
    # Processor time, so that a busy machine changes nothing.
    start = time.process_time()
    bundle = fit(graph_of(name, mechanism), table_of(values), FitConfig(seed=seed))
    seconds = time.process_time() - start
    engine = TabularEngine(bundle)
    levels = {
        node: [round(float(np.percentile(values[node - 1], q)), 2) for q in (25, 50, 75)]
        for node in ACTED[name]
    }
    cf, each = counterfactual_error(engine, name, levels, rng)
    return {
        "model": name,
        "seed": seed,
        "rmse_cf": cf,
        "rmse_ate": effect_error(engine, name, levels, rng),
        "fit_seconds": seconds,
        "counterfactuals_per_second": 1.0 / each,
        "mechanisms": {n: facts["mechanism"] for n, facts in bundle.report.items()},
        "held_out": {n: facts["held_out"] for n, facts in bundle.report.items()},
    }


def collect(names, options):
    """All fits of the models and seeds asked for, those of the file included."""
    runs = known(options.out)
    found = []
    for seed in SEEDS[: options.seeds]:
        for name in names:
            key = (name, seed, options.rows, options.mechanism)
            if key not in runs:
                runs[key] = measure(*key) | {"rows": options.rows, "asked": options.mechanism}
                if options.out:
                    with options.out.open("a") as file:
                        print(json.dumps(runs[key]), file=file)
            found.append(runs[key])
            if options.json:
                published = dict(zip(("rmse_cf", "rmse_ate"), PUBLISHED[name], strict=True))
                print(json.dumps(runs[key] | {"published": published}), flush=True)
            else:
                print(f"{name} seed {seed}: {runs[key]['rmse_cf']:.4f}", file=sys.stderr)
    return found


def known(file):
    """Fits of a file of JSON lines by model, seed, rows and mechanism."""
    lines = file.read_text().splitlines() if file and file.exists() else []
    runs = [json.loads(line) for line in lines]
    return {(run["model"], run["seed"], run["rows"], run["asked"]): run for run in runs}


def table(names, runs):
    """Means over the seeds, one line for every model, at 80 columns."""
    head = ("model", "CF error", "largest", "published", "ATE err.", "published", "fit s", "CF/s")
    lines = ["{:<16}{:>15}{:>8}{:>10}{:>9}{:>10}{:>6}{:>7}".format(*head)]
    over = 0
    for name in names:
        found = [run for run in runs if run["model"] == name]
        cf = [run["rmse_cf"] for run in found]
        spread = statistics.stdev(cf) if len(cf) > 1 else float("nan")
        ate, seconds, rate = (
            statistics.mean(run[key] for run in found)
            for key in ("rmse_ate", "fit_seconds", "counterfactuals_per_second")
        )
        over += statistics.mean(cf) > PUBLISHED[name][0]
        lines.append(
            f"{name:<16}{statistics.mean(cf):>7.4f} ±{spread:>6.4f}{max(cf):>8.4f}"
            f"{PUBLISHED[name][0]:>10.4f}{ate:>9.3f}{PUBLISHED[name][1]:>10.3f}"
            f"{seconds:>6.0f}{rate:>7.0f}"
        )
    seeds = len({run["seed"] for run in runs})
    lines.append(f"{len(names) - over} of {len(names)} models at or below the published CF error, "
                 f"mean of {seeds} seeds")  # fmt: skip
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(PARENTS), help="names, separated by commas")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="how many of the seeds")
    parser.add_argument("--rows", type=int, default=25_000)
    parser.add_argument("--mechanism", default="auto", choices=("auto", "additive", "spline"))
    parser.add_argument("--json", action="store_true", help="one line of JSON for every fit")
    parser.add_argument("--out", type=Path, help="JSON lines to append to and to go on from")
    options = parser.parse_args()
    names = options.models.split(",")
    if unknown := set(names) - set(PARENTS):
        parser.error(f"unknown models {', '.join(sorted(unknown))}; known: {', '.join(PARENTS)}")
    runs = collect(names, options)
    if not options.json:
        print(table(names, runs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
