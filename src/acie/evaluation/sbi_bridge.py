"""The diagnostics of the package sbi on draws that are already there.

Its functions ask for a posterior object; :class:`StoredPosterior` is one that hands out draws it
was given. Importing sbi loads zuko, which switches the validation of torch's distributions off
for the whole process, and its functions seed torch's global generator: both are put back.
"""

__all__ = ["StoredPosterior", "local_test", "sbc_ranks", "tarp_curve", "tarp_references"]

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from acie.errors import ConfigurationError


class StoredPosterior:
    """Draws of a batch of posteriors, as sbi asks for them.

    Arguments:
        draws: ``(sample, batch, dim)``.
    """

    def __init__(self, draws: Tensor) -> None:
        self.draws = draws

    def sample_batched(self, sample_shape: Any, x: Tensor, **options: Any) -> Tensor:
        """The draws of every galaxy, ``(sample, batch, dim)``; ``x`` gives the number of them."""
        count = int(torch.Size(sample_shape).numel())
        if count > len(self.draws) or len(x) != self.draws.shape[1]:
            raise ConfigurationError(
                "draws", expected=f"{count} draws of {len(x)} galaxies",
                found=f"{len(self.draws)} of {self.draws.shape[1]}",
            )  # fmt: skip
        return self.draws[:count]


@contextmanager
def _sbi() -> Iterator[Any]:
    """The module ``sbi.diagnostics``, with torch's global state as it was afterwards."""
    validation = Distribution._validate_args
    try:
        import sbi.diagnostics as diagnostics
    except ImportError as error:
        raise ConfigurationError(
            "evaluate", expected="the package sbi", found=str(error),
            remedy="Install it with: pip install 'acie[evaluate]'.",
        ) from None  # fmt: skip
    finally:
        Distribution.set_default_validate_args(validation)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # It warns of few draws; the report states its own sampling errors.
        warnings.simplefilter("ignore")
        yield diagnostics


def sbc_ranks(truth: Tensor, draws: Tensor) -> Tensor:
    """Number of draws below the truth, ``(batch, dim)``, by ``sbi.diagnostics.run_sbc``.

    Arguments:
        truth: ``(batch, dim)``.
        draws: ``(sample, batch, dim)``, exchangeable, without ties with the truth.
    """
    with _sbi() as diagnostics:
        ranks, _ = diagnostics.run_sbc(
            truth, truth, StoredPosterior(draws), num_posterior_samples=len(draws),
            show_progress_bar=False,
        )  # fmt: skip
    return ranks


def tarp_references(theta: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Reference points: other draws of the population, on the same scale, ``(count, dim)``."""
    return theta[torch.randint(len(theta), (count,), generator=generator)]


def tarp_curve(truth: Tensor, draws: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
    """Expected coverage and credibility levels by ``sbi.diagnostics.run_tarp``.

    Truth, draws and references must have been standardised together: distances are not rescaled
    here, because sbi's own scaling, by the range of the truths, depends on their outliers.
    """
    with _sbi() as diagnostics:
        coverage, levels = diagnostics.run_tarp(
            truth, truth, StoredPosterior(draws), references, num_posterior_samples=len(draws),
            show_progress_bar=False, z_score_theta=False, num_bins=max(len(truth) // 10, 10),
        )  # fmt: skip
    return coverage, levels


def local_test(
    truth: Tensor, one_draw: Tensor, summary: Tensor, objects: list[tuple[Tensor, Tensor]],
    trials: int, seed: int,
) -> list[dict[str, float]]:  # fmt: skip
    """The local classifier two-sample test at chosen objects, by ``sbi.diagnostics.LC2ST``.

    A classifier learns to tell (truth, data) from (posterior draw, data); the statistic at one
    object is the mean squared distance of its probabilities from 1/2 over that object's draws.
    The null law comes from classifiers trained on permuted labels.

    References:
        Linhart, Gramfort & Rodrigues 2023, arXiv:2306.03580.

    Arguments:
        truth: ``(batch, dim)``.
        one_draw: One posterior draw of each galaxy, ``(batch, dim)``. Both, and the draws of the
            objects, may have gone through any one-to-one map that depends on the data.
        summary: Summary of the data, ``(batch, feature)``.
        objects: Posterior draws ``(sample, dim)`` and summary ``(feature,)`` of each object.
        trials: Classifiers under the null hypothesis.
        seed: Seed of the classifiers and permutations.

    Returns:
        ``statistic``, ``null_median`` and ``p`` for each object, where p counts the observed
        statistic among the trials and so is never zero.
    """
    with _sbi() as diagnostics:
        test = diagnostics.LC2ST(
            prior_samples=truth.float(), xs=summary.float(), posterior_samples=one_draw.float(),
            seed=seed, num_trials_null=trials, z_score=True,
            classifier_kwargs={"n_iter_no_change": 10, "max_iter": 200, "early_stopping": True},
        )  # fmt: skip
        test.train_on_observed_data(verbosity=0).train_under_null_hypothesis(verbosity=0)
        found = []
        for draws, features in objects:
            theta, x = draws.float(), features.float()[None]
            observed = float(test.get_statistic_on_observed_data(theta_o=theta, x_o=x))
            null = test.get_statistics_under_null_hypothesis(theta_o=theta, x_o=x, verbosity=0)
            null = torch.as_tensor(null.scores)
            p = (int((null >= observed).sum()) + 1) / (trials + 1)
            found.append({"statistic": observed, "null_median": float(null.median()), "p": p})
    return found
