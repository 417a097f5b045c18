"""Which candidates to take next: a score for each, and a batch that does not repeat itself."""

__all__ = ["Pool", "Selection", "UncertaintySelector"]

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from acie.active.batches import BATCH_RULES
from acie.errors import ConfigurationError, InferenceError


class Pool(Protocol):
    """Candidates that know how much taking each of them would tell."""

    @property
    def acquisitions(self) -> tuple[str, ...]:
        """Names of the scores that this pool can give."""
        ...

    def __len__(self) -> int: ...

    def score(self, by: str) -> Tensor:
        """The score of every candidate, not negative, ``(candidate,)``."""
        ...

    def similarity(self, index: int) -> Tensor:
        """How far each candidate repeats this one: 1 when entirely, ``(candidate,)``."""
        ...


@dataclass(frozen=True, eq=False)
class Selection:
    """A batch in the order of choice.

    Arguments:
        index: Positions in the pool, ``(batch,)``.
        scores: Scores of the chosen ones, ``(batch,)``.
        pool_scores: Scores of the whole pool, ``(candidate,)``.
    """

    index: Tensor
    scores: Tensor
    pool_scores: Tensor


@dataclass(frozen=True)
class UncertaintySelector:
    """Chooses which candidates to observe or simulate next.

    Arguments:
        by: The acquisition: what ``pool.acquisitions`` lists, or ``random``, which is what an
            acquisition has to beat.
        batch: How a batch avoids repetition: ``determinantal``, ``k_centre``, or ``highest`` for
            no care at all.

    Raises:
        ConfigurationError: There is no such rule for batches.

    Example:
        >>> selector = UncertaintySelector("posterior_variance", batch="highest")
    """

    by: str = "posterior_variance"
    batch: str = "determinantal"

    def __post_init__(self) -> None:
        if self.batch not in BATCH_RULES:
            raise ConfigurationError(
                "batch", expected=" or ".join(BATCH_RULES), found=repr(self.batch)
            )

    def score(self, pool: Pool) -> Tensor:
        """The score of every candidate, ``(candidate,)``.

        Raises:
            ConfigurationError: The pool is empty, or cannot give this score.
            InferenceError: A score is not a number.
        """
        if len(pool) == 0:
            raise ConfigurationError(
                "pool", expected="at least one candidate", found="none",
                remedy="Give galaxies to choose from.",
            )  # fmt: skip
        if self.by == "random":
            return torch.ones(len(pool), dtype=torch.float64)
        if self.by not in pool.acquisitions:
            raise ConfigurationError(
                "by", expected=" or ".join((*pool.acquisitions, "random")), found=repr(self.by),
                remedy="effect_variance needs an action and an outcome."
                if self.by == "effect_variance" else "",
            )  # fmt: skip
        scores = pool.score(self.by)
        bad = ~scores.isfinite() | (scores < 0.0)
        if bool(bad.any()):
            raise InferenceError(
                self.by, expected="scores of at least 0",
                found=f"{float(scores[bad][0]):g} for candidate {int(bad.nonzero()[0, 0])}",
                remedy="Leave it out of the pool.",
            )  # fmt: skip
        return scores

    def select(
        self, pool: Pool, count: int, generator: torch.Generator | None = None
    ) -> Selection:
        """The best batch.

        Arguments:
            pool: The candidates.
            count: Number to choose.
            generator: Decides between equal scores; seed 0 when left out.

        Raises:
            ConfigurationError: Fewer candidates than asked for, or none asked for.
        """
        scores = self.score(pool)
        if not 1 <= count <= len(pool):
            raise ConfigurationError(
                "n", expected=f"from 1 to {len(pool)}, the size of the pool", found=str(count),
                remedy="Ask for fewer, or give a larger pool.",
            )  # fmt: skip
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        order = torch.randperm(len(pool), generator=generator)
        # Random choice is to be random: a diverse batch would already be a design.
        rule = BATCH_RULES["highest" if self.by == "random" else self.batch]

        def similarity(index: int) -> Tensor:
            return pool.similarity(int(order[index]))[order]

        index = order[rule(scores[order], similarity, count)]
        return Selection(index, scores[index], scores)
