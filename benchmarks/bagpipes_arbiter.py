"""Which sampler is right about ACIE's own posterior density? A third one decides.

``bagpipes_fit.py`` compares ACIE's importance sampling and nautilus. Where they differ about one
density, this asks an ensemble of walkers, which weights nothing, and each of the two once more
with much more work:

    acie       the 12,000 likelihoods of ``bagpipes_fit.py``, several seeds
    acie-long  the same with twenty times as many
    exact      200,000 exact likelihoods, importance sampling of ACIE's without its network and
               reduced likelihood, started from a Student law around ACIE's draws
    walk-acie  128 walkers started from ACIE's draws
    walk-bagpipes  128 walkers started from Bagpipes' posterior by nautilus
    nautilus-N nautilus on the same density with N live points
    bagpipes-spectra   draws of ``exact`` weighted with the likelihood of Bagpipes' spectra over
                       ACIE's
    bagpipes-exact     the same with Bagpipes' likelihood too, which divides by a calibration:
                       Bagpipes' posterior without nautilus
    divided    as ``exact``, of ACIE's spectra with Bagpipes' likelihood
    acie-256   what ACIE answers without being told how much to spend
    inflated   as ``exact``, with the errors inflated as that answer does where residuals are
               correlated
    bagpipes-nautilus  what ``bagpipes_fit.py`` compares with

The first two give the mean over seeds of means and standard deviations, and their scatter from
seed to seed as the error of one run; the others the errors of a jackknife. Columns: mean and
standard deviation of log10 stellar mass and log10 age, with errors.

Needs the extra ``benchmarks`` (emcee, Bagpipes, nautilus) and, for the stages that start from
Bagpipes' posterior, the checkpoints of ``bagpipes_fit.py``. An hour of one core:

    python benchmarks/bagpipes_arbiter.py --data ../shared/data --work fits --out results.json
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.special import expit

import acie
from acie.engine import CounterfactualEngine
from acie.inference import RefinementConfig
from acie.inference.weights import pareto_k
from acie.simulation import SPECTRAL_NAMES, NoiseModel, SpectrumLikelihood
from arbiter_samplers import (
    FEWER,
    IMPORTANCE,
    Density,
    ModelDensity,
    ensemble,
    importance,
    logits_of,
    nested,
    summary,
)
from bagpipes_bridge import engine_without_line_width
from bagpipes_compare import cube_to_prior, prior_ratio, to_acie
from bagpipes_fit import DRAWS, LONG
from bagpipes_modes import bagpipes_spectra, divided_log_likelihood, from_acie
from bagpipes_problems import GALAXIES, REAL, Problem, noise_model, problem
from bagpipes_sampling import fit_bagpipes
from scm_prior import SpectralPrior

STAGES = ("acie", "acie-256", "acie-long", "exact", "walk-acie", "walk-bagpipes", "nautilus-300",
          "divided", "inflated", "bagpipes-spectra", "bagpipes-exact",
          "bagpipes-nautilus")  # fmt: skip
#: Seeds of ACIE's run, and of the one that is twenty times as long.
SEEDS, LONG_SEEDS, FACTOR = 10, 2, 20
WALKERS = 128
#: What the last column of the table shows, where a stage has it.
NOTES = ("efficiency", "distinct", "k", "size", "scatter", "steps_over_tau", "r_hat",
         "evaluations", "cpu_s")  # fmt: skip
#: Draws whose spectra Bagpipes computes.
REWEIGHTED = 1000


class Case:
    """One galaxy, its density and where walkers may start.

    Arguments:
        name: One of ``GALAXIES``.
        engine: ACIE with Bagpipes' lines, or with ``shipped`` as it is.
        arguments: The command line.
    """

    def __init__(
        self, name: str, engine: CounterfactualEngine, arguments: argparse.Namespace
    ) -> None:
        self.arguments = arguments
        if arguments.shipped:
            read = acie.io.read(arguments.data / "sdss" / f"{REAL[name]}.fits").batched()
            self.problem, noise = Problem(name, read, {}, calibrated=True), NoiseModel()
        else:
            self.problem = problem(name, arguments.seed, engine.physics, arguments.data)
            noise = noise_model(self.problem.calibrated)
        self._bundle, self._noise = engine.bundle, noise
        self.density = Density(self._engine(None), self.problem)

    def _engine(self, config: RefinementConfig | None) -> CounterfactualEngine:
        return CounterfactualEngine(self._bundle, self._noise, config)

    def acie(self, config: RefinementConfig | None, draws: int, seed: int) -> tuple:
        """Bagpipes' parameters of ACIE's draws, and the efficiency."""
        generator = torch.Generator().manual_seed(seed)
        engine = self._engine(config)
        found = engine.infer(self.problem.observation, draws, generator)
        values = {name: value[:, 0] for name, value in found.values.items()}
        return from_acie(values, engine), float(found.confidence[0])

    def acie_seeds(self, config: RefinementConfig | None, draws: int, seeds: int) -> dict:
        """Means and standard deviations over seeds, and their scatter."""
        rows, sizes, distinct = [], [], []
        for seed in range(seeds):
            points, efficiency = self.acie(config, draws, self.arguments.seed + seed)
            natural = self.density.natural_of(points)
            rows.append(np.stack([natural.mean(0), natural.std(0)]))
            sizes.append(efficiency)
            distinct.append(len(np.unique(natural[:, 0])))
        mean, scatter = np.mean(rows, 0), np.std(rows, 0, ddof=1)
        table = np.stack([mean[0], scatter[0], mean[1], scatter[1]], -1)
        return {
            "moments": dict(zip(SPECTRAL_NAMES, table.tolist(), strict=True)),
            "efficiency": float(np.mean(sizes)),
            "distinct": float(np.mean(distinct)),
            "seeds": seeds,
        }

    def starts(self, source: str) -> np.ndarray:
        """Bagpipes' parameters of the walkers' first places."""
        rng = np.random.default_rng(5)
        if source == "acie":
            points, _ = self.acie(LONG, DRAWS, self.arguments.seed)
            points = np.unique(points, axis=0)
            return rng.permutation(points)[:WALKERS]
        found = self._fit()
        weights = np.exp(found["log_weights"] - found["log_weights"].max())
        rows = rng.choice(len(weights), WALKERS, replace=False, p=weights / weights.sum())
        return found["samples"][rows]

    def walk(self, source: str) -> dict:
        """The ensemble from one start."""
        density = ModelDensity(self._engine(None), self.problem)
        start = density.coordinates(self.starts(source))
        seed = {"acie": 1, "bagpipes": 2}[source]
        steps = self.arguments.steps
        walk = ensemble(density, start, steps, steps // 2, seed)
        np.save(self.arguments.work / f"walk-{source}-{self.problem.name}.npy", walk.chain)
        return walk.summary(density)

    def _likelihood(self, kind: str) -> Callable[[torch.Tensor], torch.Tensor] | None:
        """Another likelihood than ACIE's own: ``divided`` or ``inflated``."""
        if kind == "divided":
            return lambda spectra: divided_log_likelihood(self.problem, spectra[:, 0])[:, None]
        if kind != "inflated":
            return None
        engine, observation = self._engine(None), self.problem.observation
        best = engine.infer(observation, 256, torch.Generator().manual_seed(1)).spectra
        likelihood = SpectrumLikelihood(observation, self._noise)
        best = best[likelihood(best)[:, 0].argmax()][None]
        binned, single = likelihood.misfit(best)
        return SpectrumLikelihood(observation, self._noise, (binned / single)[0])

    def exact(self, kind: str = "exact") -> dict:
        """Long importance sampling with exact likelihoods."""
        points, _ = self.acie(LONG, DRAWS, self.arguments.seed)
        other = self._likelihood(kind)
        density = Density(self._engine(None), self.problem, other) if other else self.density
        found = importance(density, logits_of(points), 3, FEWER if other else IMPORTANCE)
        used = found["weights"] > 0.0
        natural = self.density.natural(found["logits"][used])
        rng = np.random.default_rng(0)
        rows = rng.choice(len(found["weights"]), DRAWS, p=found["weights"])
        if not other:
            np.save(self._exact_draws, cube_to_prior(expit(found["logits"][rows])))
        block = np.arange(len(found["weights"]))[used] % 20
        return {
            "moments": summary(natural, found["weights"][used], block),
            **{name: found[name] for name in ("k", "size", "efficiency")},
            "evaluations": len(found["weights"]),
        }

    @property
    def _exact_draws(self) -> Path:
        stem = f"exact-{self.problem.name}{'-shipped' * self.arguments.shipped}.npy"
        return self.arguments.work / stem

    def bagpipes_exact(self, own: bool) -> dict:
        """Some draws of the long importance sampling with Bagpipes' spectra in place of ACIE's.

        Arguments:
            own: With Bagpipes' own likelihood, too.
        """
        points = np.load(self._exact_draws)[:REWEIGHTED]
        theirs = bagpipes_spectra(self.problem, points, 10000.0)[:, None]
        engine = self._engine(None)
        values, _ = to_acie(points, self.problem.redshift, engine.physics)
        observation = self.problem.observation
        excess = engine.physics.lsf_excess(observation.redshift, observation.lsf)
        with torch.no_grad():
            ours = engine.physics({name: v[:, None] for name, v in values.items()}, excess)
            likelihood = SpectrumLikelihood(observation, self._noise)
            owed = (likelihood(theirs) - likelihood(ours))[:, 0]
            if own and self.problem.calibrated:
                new = divided_log_likelihood(self.problem, theirs[:, 0])
                owed = new - likelihood(ours)[:, 0]
                owed = owed - owed.mean()
        weights = torch.softmax(owed, 0).numpy()
        return {
            "moments": summary(
                self.density.natural_of(points), weights, np.arange(len(points)) % 20
            ),
            "size": float(1.0 / (weights**2).sum()),
            "scatter": float(owed.std()),
            "k": float(pareto_k(owed[:, None])[0]),
            "evaluations": len(points),
        }

    def bagpipes_nautilus(self) -> dict:
        """Bagpipes' fit with nautilus under the causal prior."""
        found = self._fit()
        physics = self._engine(None).physics
        values, log_det = to_acie(found["samples"], self.problem.redshift, physics)
        ratio = prior_ratio(
            values, log_det, found["samples"], SpectralPrior(self._engine(None).scm)
        )
        weights = np.exp(found["log_weights"] + ratio - (found["log_weights"] + ratio).max())
        block = np.random.default_rng(0).permutation(len(weights)) % 20
        return {
            "moments": summary(self.density.natural_of(found["samples"]), weights, block),
            "size": float(weights.sum() ** 2 / (weights**2).sum()),
            "evaluations": found["n_like"],
        }

    def _fit(self) -> dict:
        return fit_bagpipes(
            self.problem, self.arguments.work, resolution=10000.0, live=300, effective=2000, seed=1
        )

    def nautilus(self, live: int) -> dict:
        """Nested sampling of the same density."""
        stem = f"control-{self.problem.name}{'-shipped' * self.arguments.shipped}-{live}.h5"
        samples, log_weights, count = nested(
            self.density, live, 1, 2000, self.arguments.work / stem
        )
        weights = np.exp(log_weights - log_weights.max())
        block = np.random.default_rng(0).permutation(len(weights)) % 20
        return {
            "moments": summary(self.density.natural_of(samples), weights, block),
            "evaluations": count,
            "size": float(weights.sum() ** 2 / (weights**2).sum()),
        }

    def run(self, stage: str) -> dict:
        """One of :data:`STAGES`."""
        longer = replace(
            LONG, first=FACTOR * LONG.first, rounds=tuple(FACTOR * n for n in LONG.rounds)
        )
        calls: dict[str, Callable[[], dict]] = {
            "acie": lambda: self.acie_seeds(LONG, DRAWS, SEEDS),
            "acie-256": lambda: self.acie_seeds(None, 256, SEEDS),
            "acie-long": lambda: self.acie_seeds(longer, 4 * DRAWS, LONG_SEEDS),
            "exact": self.exact,
            "divided": lambda: self.exact("divided"),
            "inflated": lambda: self.exact("inflated"),
            "bagpipes-spectra": lambda: self.bagpipes_exact(own=False),
            "bagpipes-exact": lambda: self.bagpipes_exact(own=True),
            "bagpipes-nautilus": self.bagpipes_nautilus,
            "walk-acie": lambda: self.walk("acie"),
            "walk-bagpipes": lambda: self.walk("bagpipes"),
        }
        kind, _, live = stage.partition("-")
        start = time.process_time()
        found = self.nautilus(int(live)) if kind == "nautilus" else calls[stage]()
        return {**found, "cpu_s": time.process_time() - start}


def table(name: str, found: dict[str, dict]) -> str:
    """One galaxy at 100 columns."""
    lines = [name, f"{'':>17} {'mass':>17} {'its deviation':>17} {'age':>17} {'its deviation':>17}"
             "  notes"]  # fmt: skip
    for stage, one in found.items():
        mass, age = (one["moments"][key] for key in ("stellar_mass", "age"))
        cells = [f"{row[i]:8.4f}+-{row[i + 1]:.4f}" for row in (mass, age) for i in (0, 2)]
        notes = [f"{key} {one[key]:.3g}" for key in NOTES if key in one]
        columns = " ".join(f"{cell:>17}" for cell in cells)
        lines.append(f"{stage:>17} {columns}  {', '.join(notes)}")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("bagpipes-fits"), help="checkpoints")
    parser.add_argument("--out", type=Path, default=Path("bagpipes_arbiter.json"))
    parser.add_argument("--galaxy", nargs="+", choices=GALAXIES,
                        default=["mock-massive", "star-forming"])  # fmt: skip
    stages = (*STAGES, "nautilus-1000", "nautilus-2000")
    parser.add_argument("--stage", nargs="+", choices=stages, default=STAGES)
    parser.add_argument("--steps", type=int, default=1000, help="of the walkers")
    parser.add_argument("--shipped", action="store_true",
                        help="a real galaxy with the shipped model and noise model")  # fmt: skip
    parser.add_argument("--seed", type=int, default=2026, help="of mocks and of ACIE")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    if arguments.shipped:
        engine = CounterfactualEngine.load()
    else:
        cache = arguments.work / "templates-narrow-lines.safetensors"
        engine = engine_without_line_width("galaxy-v1", cache)
    done = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    for name in arguments.galaxy:
        case = Case(name, engine, arguments)
        found = done.setdefault(name + "-shipped" * arguments.shipped, {})
        for stage in arguments.stage:
            if stage not in found:
                found[stage] = case.run(stage)
                arguments.out.parent.mkdir(parents=True, exist_ok=True)
                arguments.out.write_text(json.dumps(done, indent=1) + "\n")
        print(table(name, found))


if __name__ == "__main__":
    main()
