"""ACIE's posterior against a Bagpipes fit with nautilus of the same spectra.

Three mocks made by Bagpipes and two spectra of SDSS. Both codes see the same pixels, errors and
redshift, and the same calibration freedom (see ``bagpipes_problems.py``). Bagpipes is fitted with
broad independent priors; its samples are then weighted with the causal model's prior, summed over
halo mass, size and quenching, which Bagpipes does not have. ``--control`` adds nautilus on ACIE's
own likelihood and prior: where it agrees with Bagpipes but ACIE does not, ACIE's inference is at
fault; where it agrees with ACIE but Bagpipes does not, the forward models differ.

Columns: mean and standard deviation of both on the natural scale (log10 for masses, rates, ages,
metallicity and dispersion), ACIE's mean minus Bagpipes' in Bagpipes' standard deviations, the
ratio of the standard deviations, and the same shift of the control. A star marks what is not
within one standard deviation and 30 % of the width. The last line tells a missed mode: where both
codes find one's best draw much better than the other's best, the other sampler missed it.

A fit takes some ten minutes of one core, most of it Bagpipes. Its state is kept in ``--work``, so
that a run that was cut off goes on. Usage, with the data of the project's README:

    python benchmarks/bagpipes_fit.py --data ../shared/data --work /tmp/fits --out results.json
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from acie.engine import CounterfactualEngine
from acie.inference import RefinementConfig
from acie.simulation import SPECTRAL_NAMES
from bagpipes_bridge import engine_without_line_width
from bagpipes_compare import (
    acie_posterior,
    amortised_seconds,
    compare,
    control,
    effective,
    moments,
    prior_ratio,
    to_acie,
)
from bagpipes_fast import load_bagpipes
from bagpipes_modes import from_acie, mode_gains
from bagpipes_problems import GALAXIES, Problem, noise_model, problem
from bagpipes_sampling import fit_bagpipes, fit_instructions
from scm_prior import SpectralPrior

#: Draws of ACIE whose moments are compared, and the refinement behind them.
DRAWS = 4000
LONG = RefinementConfig(first=2000, rounds=(1000, 1000, 1000, 1000, 2000, 4000), components=2)


def stock_seconds(galaxy: Problem, resolution: float, max_redshift: float) -> float:
    """Seconds per likelihood of Bagpipes as it is, median of nine."""
    bagpipes = load_bagpipes(resolution, max_redshift, stock=True)
    table = galaxy.bagpipes_table()
    shown = bagpipes.galaxy(galaxy.name, lambda _: table, photometry_exists=False)
    model = bagpipes.fitting.fitted_model(shown, fit_instructions(galaxy))
    point = model.prior.transform(np.full(model.ndim, 0.4))
    model.lnlike(point)
    times = []
    for _ in range(9):
        start = time.process_time()
        model.lnlike(point)
        times.append(time.process_time() - start)
    return sorted(times)[4]


def run_one(
    name: str, engine: CounterfactualEngine, arguments: argparse.Namespace
) -> dict[str, object]:
    """Bagpipes, ACIE and their difference for one galaxy."""
    galaxy = problem(name, arguments.seed, engine.physics, arguments.data)
    found = fit_bagpipes(
        galaxy, arguments.work, resolution=arguments.resolution, live=arguments.live,
        effective=arguments.effective, seed=arguments.seed_sampler, narrow=arguments.narrow,
    )  # fmt: skip
    told = CounterfactualEngine(engine.bundle, noise_model(galaxy.calibrated))
    long = CounterfactualEngine(engine.bundle, told.noise_model, LONG)
    values, log_det = to_acie(found["samples"], galaxy.redshift, engine.physics)
    ratio = prior_ratio(values, log_det, found["samples"], SpectralPrior(engine.scm))
    bagpipes = moments(engine, values, found["log_weights"] + ratio)
    acie = acie_posterior(long, galaxy, DRAWS, arguments.seed)
    times = [acie_posterior(told, galaxy, 256, seed)["seconds"] for seed in range(5)]
    best = found["samples"][found["log_likelihood"].argmax()]
    gains = mode_gains(told, galaxy, from_acie(acie["best"], told)[0], best, arguments.resolution)
    stock = stock_seconds(galaxy, 1000.0, 10.0)
    return {
        "name": name,
        "signal_to_noise": float(galaxy.observation.signal_to_noise[0]),
        "truth": _truth(engine, galaxy),
        "acie": acie["moments"],
        "bagpipes": bagpipes,
        "acie_vs_bagpipes": compare(acie["moments"], bagpipes),
        "effective": {
            "bagpipes_nautilus": found["n_eff"],
            "bagpipes_reweighted": effective(found["log_weights"] + ratio),
            "acie_efficiency": acie["efficiency"],
            "acie_distinct": acie["distinct"],
        },
        "live": arguments.live,
        "narrow": arguments.narrow,
        "likelihoods": found["n_like"],
        "mode_gains": gains,
        "residual_width_acie": acie["fit"],
        "seconds": {
            "bagpipes_cpu": found["cpu_s"],
            "bagpipes_stock": found["n_like"] * stock,
            "acie_256": sorted(times)[2],
            "acie_amortised_256": amortised_seconds(told, galaxy),
        },
        "stock_likelihood_ms": stock * 1e3,
    }


def add_control(result: dict, engine: CounterfactualEngine, arguments: argparse.Namespace) -> None:
    """Nautilus on ACIE's own posterior, and its difference from both."""
    galaxy = problem(result["name"], arguments.seed, engine.physics, arguments.data)
    told = CounterfactualEngine(engine.bundle, noise_model(galaxy.calibrated))
    found = control(
        told, galaxy, SpectralPrior(engine.scm), live=arguments.live,
        effective_size=arguments.effective, seed=arguments.seed_sampler,
    )  # fmt: skip
    result["control"] = found
    result["acie_vs_control"] = compare(result["acie"], found["moments"])
    result["control_vs_bagpipes"] = compare(found["moments"], result["bagpipes"])


def _truth(engine: CounterfactualEngine, galaxy: Problem) -> dict[str, float]:
    """The state behind a mock on the natural scales."""
    names = SPECTRAL_NAMES if galaxy.truth else ()
    return {
        name: float(engine.scm.variables[name].forward(torch.tensor(galaxy.truth[name])))
        for name in names
    }


def table(result: dict) -> str:
    """One galaxy at 80 columns."""
    lines = [f"{result['name']}  (S/N {result['signal_to_noise']:.0f})"]
    lines.append(f"{'variable':>21} {'ACIE':>15} {'Bagpipes':>15} {'shift':>6} {'width':>6}"
                 f" {'control':>6}")  # fmt: skip
    for name in SPECTRAL_NAMES:
        ours, theirs = result["acie"][name], result["bagpipes"][name]
        row = result["acie_vs_bagpipes"][name]
        known = "control" in result
        check = f"{result['control_vs_bagpipes'][name]['shift']:+6.2f}" if known else f"{'':6}"
        flag = "" if abs(row["shift"]) < 1.0 and 1 / 1.3 < row["width"] < 1.3 else " *"
        lines.append(
            f"{name:>21} {ours[0]:7.3f}+-{ours[1]:.3f} {theirs[0]:8.3f}+-{theirs[1]:.3f}"
            f" {row['shift']:+6.2f} {row['width']:6.2f} {check}{flag}"
        )
    seconds, size = result["seconds"], result["effective"]
    lines.append(
        f"  Bagpipes {seconds['bagpipes_cpu']:.0f} s ({result['likelihoods']}"
        f" likelihoods; as shipped {seconds['bagpipes_stock']:.0f} s), effective size"
        f" {size['bagpipes_nautilus']:.0f},"
        f" under the causal prior {size['bagpipes_reweighted']:.0f}"
    )
    lines.append(
        f"  ACIE {seconds['acie_256'] * 1e3:.0f} ms for 256 draws, amortised"
        f" {seconds['acie_amortised_256'] * 1e3:.1f} ms; efficiency {size['acie_efficiency']:.2f}"
    )
    gains = result["mode_gains"]
    lines.append(
        f"  log likelihood at ACIE's best minus that at Bagpipes': {gains['acie']:+.1f} (ACIE),"
        f" {gains['bagpipes']:+.1f} (Bagpipes)"
    )
    return "\n".join(lines)


def _keep(done: dict, path: Path | None) -> None:
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(done, indent=1) + "\n")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("bagpipes-fits"), help="checkpoints")
    parser.add_argument("--out", type=Path, help="JSON file that keeps finished galaxies")
    parser.add_argument("--galaxy", nargs="+", choices=GALAXIES, default=GALAXIES)
    parser.add_argument("--control", action="store_true", help="nautilus on ACIE's density too")
    parser.add_argument("--model", default="galaxy-v1")
    parser.add_argument("--resolution", type=float, default=10000.0, help="Bagpipes' R_spec")
    parser.add_argument("--live", type=int, default=400, help="live points")
    parser.add_argument("--effective", type=int, default=2000, help="effective size of nautilus")
    parser.add_argument("--narrow", action="store_true", help="narrower limits of the priors")
    parser.add_argument("--seed", type=int, default=2026, help="of mocks and of ACIE")
    parser.add_argument("--seed-sampler", type=int, default=1, help="of nautilus")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    # All times are processor time of one core, so that they mean the same on a busy machine.
    torch.set_num_threads(1)
    cache = arguments.work / "templates-narrow-lines.safetensors"
    engine = engine_without_line_width(arguments.model, cache)
    done = (
        json.loads(arguments.out.read_text()) if arguments.out and arguments.out.exists() else {}
    )
    for name in arguments.galaxy:
        if name not in done:
            done[name] = run_one(name, engine, arguments)
            _keep(done, arguments.out)
        if arguments.control and "control" not in done[name]:
            add_control(done[name], engine, arguments)
            _keep(done, arguments.out)
        if not arguments.json:
            print(table(done[name]))
    if arguments.json:
        print(json.dumps({name: done[name] for name in arguments.galaxy}))


if __name__ == "__main__":
    main()
