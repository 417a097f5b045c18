"""Importance refinement of an amortised posterior with an exact likelihood."""

__all__ = [
    "AdaptiveImportanceSampler",
    "Guide",
    "ImportanceResult",
    "LogTarget",
    "Proposal",
    "RefinementConfig",
]

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from acie.errors import ConfigurationError
from acie.inference.student import StudentMixture, fit_student_mixture, temper
from acie.inference.weights import effective_sample_size, pareto_k, systematic_resample
from acie.native import student as compiled
from acie.native import weights as compiled_weights


class LogTarget(Protocol):
    """Unnormalised log posterior density (prior times likelihood) in unconstrained space."""

    def __call__(self, x: Tensor) -> Tensor:
        """Map ``(sample, batch, dim)`` to ``(sample, batch)``."""
        ...


class Guide(Protocol):
    """A second opinion on where the target is, such as a Gauss-Newton step."""

    def __call__(self, x: Tensor, log_weights: Tensor) -> tuple[Tensor, Tensor]:
        """Mean ``(batch, dim)`` and covariance ``(batch, dim, dim)`` from the draws so far.

        Arguments:
            x: Draws, ``(total, batch, dim)``, in the order in which the target saw them.
            log_weights: Their log weights, ``(total, batch)``.
        """
        ...


class Proposal(Protocol):
    """A density per galaxy that can be sampled and evaluated."""

    def sample_and_log_prob(
        self, num_samples: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draws ``(sample, batch, dim)`` and their log density ``(sample, batch)``."""
        ...

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density ``(sample, batch)`` of ``(sample, batch, dim)``."""
        ...


@dataclass(frozen=True)
class RefinementConfig:
    """How many target evaluations to spend, and on what.

    Arguments:
        first: Draws from the amortised posterior.
        rounds: Draws of each adapted round; the last one decides the efficiency. Empty means
            plain importance sampling.
        components: Student laws of the adapted proposal from its second round on, for galaxies
            with enough effective draws; all others, and the first adapted round, use one.
        dof: Degrees of freedom of the Student laws.
        size_per_dim: Weights are tempered to this effective size per dimension for the fit.
        least_size: Draws that are worth less than this have their weights flattened until they
            are worth as much before they are resampled: an interval from two draws is worse than
            one that is a little too wide. The efficiency is that of the weights as they were.
    """

    first: int = 256
    rounds: tuple[int, ...] = (256, 256, 256)
    components: int = 2
    dof: int = 7
    size_per_dim: float = 4.0
    least_size: float = 16.0

    def __post_init__(self) -> None:
        counts = (self.first, *self.rounds)
        if min(counts) < 8 or self.components < 1 or self.dof < 3 or self.size_per_dim <= 0:
            raise ConfigurationError(
                "RefinementConfig",
                expected="rounds of at least 8 draws, components >= 1, dof >= 3",
                found=repr(self),
            )

    @property
    def evaluations(self) -> int:
        """Evaluations of the target per galaxy."""
        return self.first + sum(self.rounds)


@dataclass(frozen=True)
class ImportanceResult:
    """What a refinement found.

    Arguments:
        samples: Equally weighted posterior draws, ``(num_samples, batch, dim)``.
        index: Which of ``draws`` each sample is, ascending, ``(num_samples, batch)``.
        log_target: Log target at ``samples``, ``(num_samples, batch)``.
        efficiency: Effective sample size over number of draws of the last round, under the
            deterministic-mixture weights, ``(batch,)`` in [0, 1]. The effective size of all
            draws together caps it, so that a mode found early and missed by the last round
            lowers it.
        amortised_efficiency: Effective sample size over number of the draws of the amortised
            posterior alone, ``(batch,)``: how well it agrees with the exact likelihood.
        size: Effective size of all draws together, ``(batch,)``.
        draws: All draws, ``(total, batch, dim)``.
        log_weights: Their log weights, ``(total, batch)``.
    """

    samples: Tensor
    index: Tensor
    log_target: Tensor
    efficiency: Tensor
    amortised_efficiency: Tensor
    size: Tensor
    draws: Tensor
    log_weights: Tensor

    @property
    def pareto_k(self) -> Tensor:
        """Tail shape of all weights, ``(batch,)``."""
        return pareto_k(self.log_weights)

    @property
    def log_evidence(self) -> Tensor:
        """Log of the mean weight, ``(batch,)``; minus infinity without weight."""
        return torch.logsumexp(self.log_weights, 0) - math.log(len(self.log_weights))


class AdaptiveImportanceSampler:
    r"""Adaptive multiple importance sampling, batched over galaxies.

    Round 0 draws from the amortised posterior :math:`q_0`; every later round from a Student
    mixture :math:`q_t` fitted to all weighted draws so far. All draws share the deterministic
    mixture weight

    .. math:: w(x) = \frac{\pi(x)}{\sum_t (N_t / N) \, q_t(x)} ,

    which is bounded wherever one of the proposals covers the target, so :math:`q_0` stays as a
    defence against an adapted proposal that is too narrow. The target is evaluated once per draw.

    References:
        Cornuet et al. 2012, Scandinavian J. of Statistics 39, 798 (the algorithm);
        Veach & Guibas 1995, SIGGRAPH (balance heuristic).

    Arguments:
        config: Numbers of draws and shape of the proposal.
    """

    def __init__(self, config: RefinementConfig | None = None) -> None:
        self.config = config if config is not None else RefinementConfig()

    @torch.no_grad()
    def run(
        self,
        log_target: LogTarget,
        proposal: Proposal,
        num_samples: int,
        generator: torch.Generator,
        guide: Guide | None = None,
    ) -> ImportanceResult:
        """Refine ``proposal`` towards ``log_target`` and resample.

        Arguments:
            log_target: The exact log density up to a constant; NaN and infinities count as
                impossible.
            proposal: The amortised posterior of the same batch.
            num_samples: Equally weighted draws to return.
            generator: Source of all randomness.
            guide: Adds a component of its own to every adapted proposal.
        """
        config = self.config
        x, log_q = proposal.sample_and_log_prob(config.first, generator)
        target = _clean(log_target(x))
        # One row per proposal of the mixture: log density at every draw, (total, batch).
        densities = [_clean(log_q)]
        counts = [config.first]
        amortised = effective_sample_size(target - densities[0]) / config.first
        reference = _covariance(x)
        weights = _mixture_weights(target, densities, counts)
        fitted: list[StudentMixture] = []
        for index, count in enumerate(config.rounds):
            adapted = fit_student_mixture(
                x,
                weights,
                reference,
                components=1 if index == 0 else config.components,
                dof=config.dof,
                target=config.size_per_dim * x.shape[-1],
            )
            if guide is not None:
                adapted = adapted.joined(*guide(x, weights))
            fitted.append(adapted)
            new = adapted.sample(count, generator).to(x.dtype)
            target = torch.cat([target, _clean(log_target(new))])
            known = [proposal.log_prob(new), *(part.log_prob(new) for part in fitted[:-1])]
            densities = [
                torch.cat([old, _clean(extra)])
                for old, extra in zip(densities, known, strict=True)
            ]
            x = torch.cat([x, new])
            densities.append(adapted.log_prob(x))
            counts.append(count)
            weights = _mixture_weights(target, densities, counts)
        return _summarise(x, target, weights, amortised, counts, num_samples, generator, config)


def _summarise(
    x: Tensor,
    target: Tensor,
    weights: Tensor,
    amortised: Tensor,
    counts: list[int],
    num_samples: int,
    generator: torch.Generator,
    config: RefinementConfig,
) -> ImportanceResult:
    first, last = counts[0], counts[-1]
    final = effective_sample_size(weights[-last:])
    pooled = effective_sample_size(weights)
    chosen, short = weights, pooled < config.least_size
    if bool(short.any()):
        flattened = temper(weights, min(config.least_size, 0.5 * len(weights)))[0].log()
        # Without any weight, the amortised draws are the only answer there is.
        fallback = torch.full_like(weights, -torch.inf)
        fallback[:first] = 0.0
        chosen = torch.where(short, flattened, weights)
        chosen = torch.where(pooled == 0, fallback, chosen)
    index = systematic_resample(chosen, num_samples, generator)
    return ImportanceResult(
        samples=x.gather(0, index.unsqueeze(-1).expand(-1, -1, x.shape[-1])),
        index=index,
        log_target=target.gather(0, index),
        efficiency=(torch.minimum(final, pooled) / last).clamp(0.0, 1.0),
        amortised_efficiency=amortised.clamp(0.0, 1.0),
        size=pooled,
        draws=x,
        log_weights=weights,
    )


def _clean(value: Tensor) -> Tensor:
    """Double precision, with NaN and infinities as minus infinity."""
    return torch.nan_to_num(value.double(), nan=-torch.inf, posinf=-torch.inf, neginf=-torch.inf)


def _mixture_weights(target: Tensor, densities: list[Tensor], counts: list[int]) -> Tensor:
    """Log of the target over the mixture of all proposals, by their shares of the draws."""
    total = math.log(sum(counts))
    logs = [math.log(count) - total for count in counts]
    share = torch.tensor(logs, dtype=target.dtype, device=target.device)
    if len(counts) <= compiled_weights.MOST_PARTS and compiled_weights.fits(target, *densities):
        return compiled_weights.over_mixture(target, torch.stack(densities), share)
    mixture = torch.logsumexp(torch.stack(densities, -1) + share, -1)
    # -inf - -inf is NaN: a draw without density cannot be weighted, so it does not count.
    return _clean(target - mixture)


def _covariance(x: Tensor) -> Tensor:
    """Covariance of ``(sample, batch, dim)`` over the finite draws, ``(batch, dim, dim)``."""
    x = x.double()
    if compiled.fits(x):
        return compiled.scatter(x)
    good = x.isfinite().all(-1, keepdim=True)
    values = torch.where(good, x, 0.0)
    count = good.sum(0).clamp_min(2)
    centred = torch.where(good, values - values.sum(0) / count, 0.0)
    cov = torch.einsum("nbd,nbe->bde", centred, centred) / count.unsqueeze(-1)
    return cov + 1e-10 * torch.eye(x.shape[-1], dtype=cov.dtype, device=cov.device)
