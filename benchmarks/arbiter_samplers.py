"""Three samplers of one density: importance sampling, an ensemble of walkers, nested sampling.

The density is what ``bagpipes_fit.py --control`` gives to nautilus: ACIE's likelihood times the
causal model's prior, over the unit cube of Bagpipes' priors. Importance sampling moves in the
logits of the cube, which have no walls; walkers in the unconstrained variables of the causal
model.
"""

from collections.abc import Callable
from pathlib import Path

import emcee
import numpy as np
import torch
from nautilus import Sampler
from scipy.special import expit, log_expit, logit
from scipy.stats import norm
from torch import Tensor

from acie.engine import CounterfactualEngine
from acie.inference import AdaptiveImportanceSampler, RefinementConfig
from acie.inference.student import fit_student_mixture
from acie.refinement.density import CAUSES
from acie.simulation import SPECTRAL_NAMES, SpectrumLikelihood
from bagpipes_compare import cube_to_prior, log_posterior, to_acie
from bagpipes_problems import Problem
from bagpipes_sampling import NAMES, PRIORS
from scm_prior import SpectralPrior

__all__ = [
    "FEWER",
    "IMPORTANCE",
    "Density",
    "ModelDensity",
    "Walk",
    "ensemble",
    "importance",
    "logits_of",
    "nested",
    "summary",
]

#: Draws of the long importance sampling.
IMPORTANCE = RefinementConfig(
    first=20_000, rounds=(20_000, 40_000, 60_000, 60_000), components=3, size_per_dim=50.0
)
#: The same where a likelihood costs three times as much.
FEWER = RefinementConfig(
    first=6000, rounds=(6000, 12_000, 18_000, 18_000), components=3, size_per_dim=50.0
)
#: Blocks of the jackknife.
_BLOCKS = 20
_MOVES = ((emcee.moves.DEMove(), 0.6), (emcee.moves.DESnookerMove(), 0.1),
          (emcee.moves.StretchMove(), 0.3))  # fmt: skip


class Density:
    """ACIE's posterior density of one galaxy, in the logits of the cube of Bagpipes' priors.

    Arguments:
        engine: ACIE.
        problem: The galaxy.
        likelihood: Another one of ACIE's spectra, ``(sample, 1, wave)``.
    """

    def __init__(
        self,
        engine: CounterfactualEngine,
        problem: Problem,
        likelihood: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self._engine, self._redshift = engine, problem.redshift
        # Of far fewer nodes than by default, which changes it by less than 1e-9 where it matters.
        prior = SpectralPrior(engine.scm, halo_nodes=200, size_nodes=20)
        self.of_parameters = log_posterior(engine, problem, prior, likelihood)

    def __call__(self, y: np.ndarray) -> np.ndarray:
        """Log density per unit of the logits ``(sample, 9)``, ``(sample,)``; never NaN."""
        u = expit(y)
        value = self.of_parameters(cube_to_prior(u)) + (log_expit(y) + log_expit(-y)).sum(-1)
        return np.where(np.isfinite(value), value, -1e99)

    def natural(self, y: np.ndarray) -> np.ndarray:
        """The spectral variables on their natural scales, ``(sample, 9)``."""
        return self.natural_of(cube_to_prior(expit(y)))

    def natural_of(self, samples: np.ndarray) -> np.ndarray:
        """The same of Bagpipes' parameters, ``(sample, 9)``."""
        values, _ = to_acie(samples, self._redshift, self._engine.physics)
        return _natural(self._engine, values)


def logits_of(samples: np.ndarray) -> np.ndarray:
    """Bagpipes' parameters within their limits as logits of the cube, ``(sample, 9)``."""
    columns = []
    for value, (kind, low, high, *shape) in zip(samples.T, PRIORS.values(), strict=True):
        if kind == "uniform":
            columns.append((value - low) / (high - low))
        elif kind == "log_10":
            columns.append(np.log(value / low) / np.log(high / low))
        else:
            law = norm(*shape)
            ends = law.cdf([low, high])
            columns.append((law.cdf(value) - ends[0]) / (ends[1] - ends[0]))
    cube = np.stack(columns, -1)
    return logit(cube[((cube > 0.0) & (cube < 1.0)).all(-1)])


def summary(natural: np.ndarray, weights: np.ndarray, blocks: np.ndarray) -> dict[str, list]:
    """Mean and standard deviation of every variable, and their jackknife errors.

    Arguments:
        natural: Shape ``(sample, 9)``.
        weights: Not negative, ``(sample,)``.
        blocks: Which block each sample is in; blocks are left out one at a time.

    Returns:
        For each variable mean, its error, standard deviation, its error.
    """
    numbers = np.unique(blocks)
    sums = np.stack([_sums(natural[blocks == n], weights[blocks == n]) for n in numbers])
    whole, left = _moments(sums.sum(0)), np.stack([_moments(sums.sum(0) - one) for one in sums])
    error = np.sqrt((len(numbers) - 1) * left.var(0))
    rows = np.stack([whole[0], error[0], whole[1], error[1]], -1)
    return {name: row.tolist() for name, row in zip(SPECTRAL_NAMES, rows, strict=True)}


def _sums(natural: np.ndarray, weights: np.ndarray) -> np.ndarray:
    w = weights[:, None]
    # Shifted by a constant near the means, so that the squares keep their digits.
    return np.stack([(w * np.ones_like(natural)).sum(0), (w * natural).sum(0),
                     (w * natural**2).sum(0)])  # fmt: skip


def _moments(sums: np.ndarray) -> np.ndarray:
    mean = sums[1] / sums[0]
    return np.stack([mean, np.sqrt(np.maximum(sums[2] / sums[0] - mean**2, 0.0))])


class ModelDensity:
    """The same density per unit of the causal model's unconstrained variables.

    Bagpipes' limits are left out; the posterior is far from them.

    Arguments:
        engine: ACIE.
        problem: The galaxy.
    """

    def __init__(self, engine: CounterfactualEngine, problem: Problem) -> None:
        self._engine, self._redshift = engine, problem.redshift
        self._prior = SpectralPrior(engine.scm, halo_nodes=200, size_nodes=20)
        self._likelihood = SpectrumLikelihood(problem.observation, engine.noise_model)
        self._excess = engine.physics.lsf_excess(
            problem.observation.redshift, problem.observation.lsf
        )

    def _values(self, x: np.ndarray) -> tuple[dict[str, Tensor], Tensor]:
        redshift = torch.full((len(x),), self._redshift, dtype=torch.float64)
        return self._engine.scm.from_unconstrained(
            torch.as_tensor(x), SPECTRAL_NAMES, {"redshift": redshift}
        )

    @torch.no_grad()
    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Log density of ``(sample, 9)``, ``(sample,)``; never NaN."""
        values, log_det = self._values(x)
        prior = self._prior.log_prob({n: values[n] for n in ("redshift", *SPECTRAL_NAMES)})
        spectra = self._engine.physics(
            {name: values[name][:, None] for name in CAUSES}, self._excess
        )
        likelihood = torch.cat([self._likelihood(part)[:, 0] for part in spectra.split(16)])
        value = (prior - log_det + likelihood).numpy()
        return np.where(np.isfinite(value), value, -1e99)

    def natural(self, x: np.ndarray) -> np.ndarray:
        """The spectral variables on their natural scales, ``(sample, 9)``."""
        return _natural(self._engine, self._values(x)[0])

    def coordinates(self, samples: np.ndarray) -> np.ndarray:
        """Of Bagpipes' parameters, ``(sample, 9)``."""
        values, _ = to_acie(samples, self._redshift, self._engine.physics)
        # Asked for, though no bound of the spectral variables needs them.
        others = {"halo_mass": 1e12, "size": 4.0, "quenched": 0.0}
        like = values["stellar_mass"]
        values.update({name: torch.full_like(like, value) for name, value in others.items()})
        return self._engine.scm.to_unconstrained(values, SPECTRAL_NAMES)[0].numpy()


def _natural(engine: CounterfactualEngine, values: dict[str, Tensor]) -> np.ndarray:
    variables = engine.scm.variables
    columns = [variables[name].forward(values[name].double()) for name in SPECTRAL_NAMES]
    return torch.stack(columns, -1).numpy()


class Walk:
    """The end of an ensemble's walk.

    Arguments:
        chain: Coordinates, ``(step, walker, 9)``, without the first part.
        log_density: ``(step, walker)``.
        accepted: Share of the moves that were accepted.
    """

    def __init__(self, chain: np.ndarray, log_density: np.ndarray, accepted: float) -> None:
        self.chain, self.log_density, self.accepted = chain, log_density, accepted

    def summary(self, density: ModelDensity) -> dict[str, object]:
        """Moments with errors from groups of walkers, autocorrelation times, and R-hat.

        Autocorrelation is that around each walker's own mean, so walkers that stay apart do not
        show in it; they do in the groups and in R-hat (Gelman & Rubin 1992, largest variable).
        """
        steps, walkers, dim = self.chain.shape
        natural = density.natural(self.chain.reshape(-1, dim))
        by_step = natural.reshape(steps, walkers, dim)
        tau = emcee.autocorr.integrated_time(by_step, quiet=True)
        within, between = by_step.var(0, ddof=1).mean(0), by_step.mean(0).var(0, ddof=1)
        block = np.tile(np.arange(walkers) % _BLOCKS, steps)
        return {
            "moments": summary(natural, np.ones(len(natural)), block),
            "tau": tau.tolist(),
            "steps_over_tau": float(steps / tau.max()),
            "r_hat": float(np.sqrt((steps - 1) / steps + between / within).max()),
            "accepted": self.accepted,
            "best": float(self.log_density.max()),
            "evaluations": int(steps * walkers),
        }


def ensemble(
    density: ModelDensity, start: np.ndarray, steps: int, burn: int, seed: int
) -> Walk:
    """Walk an ensemble: stretches, differences and snooker moves, then independent ones too.

    Half of the moves that are kept are proposals from Student laws that were fitted to the second
    half of the burn-in, and do not change any more: they forget where they came from.

    References:
        Goodman & Weare 2010, CAMCoS 5, 65; ter Braak & Vrugt 2008, Stat. Comput. 18, 435;
        Tierney 1994, Ann. Stat. 22, 1701 (independent proposals, mixtures of moves).

    Arguments:
        density: What is sampled.
        start: First places of the walkers, ``(walker, 9)``.
        steps: How many are kept.
        burn: How many before them are not.
        seed: Of the walk.
    """
    begin = emcee.State(start, random_state=np.random.RandomState(seed).get_state())
    first = _sampler(density, len(start), _MOVES)
    end = first.run_mcmc(begin, burn, skip_initial_state_check=True)
    law = _Around(first.get_chain(discard=burn // 2, flat=True), components=3)
    generator = torch.Generator().manual_seed(seed)

    def propose(y: np.ndarray, rng: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
        new, density = law.sample_and_log_prob(len(y), generator)
        old = law.log_prob(torch.as_tensor(y)[:, None])[:, 0]
        # They come component by component, and every walker must get all of them.
        order = torch.randperm(len(y), generator=generator)
        return new[order, 0].numpy(), (old - density[order, 0]).numpy()

    moves = (*((move, 0.5 * share) for move, share in _MOVES), (emcee.moves.MHMove(propose), 0.5))
    sampler = _sampler(density, len(start), moves)
    sampler.run_mcmc(end, steps)
    return Walk(
        sampler.get_chain(), sampler.get_log_prob(), float(sampler.acceptance_fraction.mean())
    )


def _sampler(density: ModelDensity, walkers: int, moves: tuple) -> emcee.EnsembleSampler:
    return emcee.EnsembleSampler(walkers, len(NAMES), density, vectorize=True, moves=list(moves))


class _Around:
    """Student laws fitted to draws, as a proposal."""

    def __init__(self, draws: np.ndarray, components: int = 1) -> None:
        x = torch.as_tensor(draws)[:, None]
        reference = torch.cov(x[:, 0].T)[None]
        self._law = fit_student_mixture(
            x,
            torch.zeros(x.shape[:2]),
            reference,
            components=components,
            dof=5,
            target=len(draws) / (4.0 * components),
        )

    def sample_and_log_prob(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        x = self._law.sample(count, generator)
        return x, self.log_prob(x)

    def log_prob(self, x: Tensor) -> Tensor:
        return self._law.log_prob(x)


def importance(
    density: Callable[[np.ndarray], np.ndarray],
    draws: np.ndarray,
    seed: int,
    config: RefinementConfig = IMPORTANCE,
) -> dict[str, np.ndarray | float]:
    """Long adaptive importance sampling that starts from Student laws around ``draws``.

    Returns:
        ``logits`` and ``log_weights`` of all draws, Pareto's ``k``, ``size`` and ``efficiency``.
    """

    def target(x: Tensor) -> Tensor:
        parts = [density(part.numpy()) for part in x[:, 0].split(256)]
        return torch.as_tensor(np.concatenate(parts))[:, None]

    found = AdaptiveImportanceSampler(config).run(
        target, _Around(draws), 1000, torch.Generator().manual_seed(seed)
    )
    weights = torch.softmax(found.log_weights[:, 0], 0)
    return {
        "logits": found.draws[:, 0].numpy(),
        "weights": weights.numpy(),
        "k": float(found.pareto_k[0]),
        "size": float(1.0 / weights.square().sum()),
        "efficiency": float(found.efficiency[0]),
    }


def nested(
    density: Density, live: int, seed: int, effective: int, checkpoint: Path
) -> tuple[np.ndarray, np.ndarray, int]:
    """Nautilus: Bagpipes' parameters ``(sample, 9)``, log weights, number of likelihoods."""
    sampler = Sampler(
        cube_to_prior, density.of_parameters, n_dim=len(NAMES), n_live=live, vectorized=True,
        seed=seed, n_batch=256, filepath=str(checkpoint), resume=True,
    )  # fmt: skip
    sampler.run(n_eff=effective)
    samples, log_weights, _ = sampler.posterior()
    return samples, log_weights, int(sampler.n_like)
