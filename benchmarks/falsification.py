"""How often do data refute a right graph, and how often a wrong one?

Catalogues are drawn from the galaxy model, redshifts uniform from 0.02 to 0.3, all variables
but the derived one. The right graph may be refuted in at most 5 % of them. Wrong graphs are
tested on the same catalogues, but for the last:

  removed     the edge stellar_mass > metallicity is left out
  reversed    the edge dust_av > dust_slope is turned round, and dust_slope has no other cause
  unconfounded  the common cause halo_mass is left out of graph and catalogue without saying so:
                quenched and stellar_mass share nothing but redshift
  weak        the right graph, on catalogues with an arrow of -0.1 dex per dex from sfr to
              metallicity (the alternative metallicity_from_sfr)

Run: python benchmarks/falsification.py --n 100
"""

import argparse
import json
import time
from collections import Counter
from pathlib import Path

import torch
from scipy.stats import kstest

import acie
from acie.questions import alternatives
from acie.scm import CausalGraph
from acie.scm.falsification import falsify
from acie.seeds import SeedStream

ROWS, WRONG_ROWS = (500, 1000, 2500, 5000), (500, 2500)
DERIVED, LEVEL = "tau", 0.05


def catalogue(scm, rows, seed):
    """Columns on the scale of their mechanisms."""
    generator = SeedStream(seed).generator("catalogue")
    redshift = 0.02 + 0.28 * torch.rand(rows, generator=generator, dtype=torch.float64)
    values, _ = scm.sample((rows,), given={"redshift": redshift}, generator=generator)
    return {
        name: variable.forward(values[name].double())
        for name, variable in scm.variables.items() if name != DERIVED
    }  # fmt: skip


def graphs(scm):
    """The right graph, and the wrong ones, by name."""
    names = [name for name in scm.graph.order if name != DERIVED]
    right = {n: [p for p in scm.graph.parents(n) if p != DERIVED] for n in names}
    reversed_ = {**right, "dust_slope": [], "dust_av": [*right["dust_av"], "dust_slope"]}
    less = {n: [p for p in ps if p != "halo_mass"] for n, ps in right.items() if n != "halo_mass"}
    return {
        "right": CausalGraph(right),
        "removed": CausalGraph({**right, "metallicity": []}),
        "reversed": CausalGraph(reversed_),
        "unconfounded": CausalGraph(less),
        "weak": CausalGraph(right),
    }


def one(scm, name, rows, seed):
    """Whether one catalogue refutes one graph, and its p values."""
    start = time.process_time()
    graph = graphs(scm)[name]
    world = alternatives(scm, ["metallicity_from_sfr"])[0].model if name == "weak" else scm
    columns = catalogue(world, rows, seed)
    found = falsify(
        graph, {n: columns[n] for n in graph.order}, level=LEVEL,
        generator=SeedStream(seed).generator("falsify"),
    )  # fmt: skip
    worst = min(found.tests, key=lambda test: test.p_value)
    return {
        "graph": name, "rows": rows, "seed": seed, "rejected": found.rejected,
        "worst": f"{worst.variable} {worst.other}", "p": [t.p_value for t in found.tests],
        "cpu_s": time.process_time() - start,
    }  # fmt: skip


def report(runs):
    """A line per graph and number of rows."""
    print(
        "graph         rows  catalogues  refuted   p<0.05   p<0.01  p<0.001  uniform p  "
        "worst statements"
    )
    for name, rows in dict.fromkeys((run["graph"], run["rows"]) for run in runs):
        part = [run for run in runs if (run["graph"], run["rows"]) == (name, rows)]
        p = torch.tensor([run["p"] for run in part], dtype=torch.float64)
        # Is every single statement's p value uniform? Bonferroni over the statements.
        uniform = p.shape[1] * min(kstest(column.numpy(), "uniform").pvalue for column in p.T)
        worst = Counter(run["worst"] for run in part if run["rejected"]).most_common(2)
        shares = "  ".join(f"{float((p < a).double().mean()):7.4f}" for a in (0.05, 0.01, 0.001))
        shares += f"  {min(uniform, 1.0):9.2g}"
        print(
            f"{name:12s} {rows:5d}  {len(part):10d}  {sum(run['rejected'] for run in part):7d}  "
            f"{shares}  {', '.join(f'{w} ({c})' for w, c in worst) or '-'}"
        )


def main() -> None:
    """Test, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=100, help="catalogues of the right graph")
    parser.add_argument("--wrong", type=int, default=25, help="catalogues of each wrong graph")
    parser.add_argument("--rows", type=int, nargs="*", default=ROWS)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--log", type=Path, help="a line per catalogue; those there are kept")
    options = parser.parse_args()
    scm = acie.load().scm
    runs = []
    if options.log is not None and options.log.exists():
        runs = [json.loads(line) for line in options.log.read_text("utf-8").splitlines()]
    done = {(run["graph"], run["rows"], run["seed"]) for run in runs}
    plan = [("right", rows, options.n) for rows in options.rows]
    wrong = [name for name in graphs(scm) if name != "right"]
    plan += [(name, rows, options.wrong) for name in wrong for rows in WRONG_ROWS]
    for name, rows, count in plan:
        for seed in range(options.first_seed, options.first_seed + count):
            if (name, rows, seed) in done:
                continue
            runs.append(one(scm, name, rows, seed))
            if options.log is not None:
                with options.log.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(runs[-1]) + "\n")
    report(runs)
    print(f"{sum(run['cpu_s'] for run in runs):.0f} CPU seconds")


if __name__ == "__main__":
    main()
