r"""Batches that are good and diverse: greedy choices whose members do not repeat one another.

Both rules take a score :math:`s_i \ge 0` and a similarity :math:`k_{ij}` with
:math:`k_{ii} = 1`, and add one candidate at a time.

References:
    Kulesza & Taskar 2012, Foundations and Trends in Machine Learning 5, section 3.1: the kernel
    :math:`\sqrt{s_i}\, k_{ij} \sqrt{s_j}` of a determinantal process, quality times diversity.
    Chen, Zhang & Zhou 2018, NeurIPS, algorithm 1: its greedy maximum with one row per step.
    Kirsch, van Amersfoort & Gal 2019, NeurIPS, section 3: BatchBALD. Where k is the correlation
    of Gaussian predictions and s their variance, the determinantal rule is BatchBALD.
    Sener & Savarese 2018, ICLR, algorithm 1: greedy k-centre.
"""

__all__ = ["BATCH_RULES", "Similarity"]

from collections.abc import Callable

import torch
from torch import Tensor

#: Row of the similarity matrix, ``candidate -> (candidate,)``: the whole matrix is never held.
Similarity = Callable[[int], Tensor]
#: What is left of a candidate below which it repeats the chosen ones, to rounding.
_NOTHING = 1e-10


def highest(scores: Tensor, similarity: Similarity, count: int) -> Tensor:
    """The highest scores, whatever they have in common."""
    return scores.argsort(descending=True, stable=True)[:count]


def determinantal(scores: Tensor, similarity: Similarity, count: int) -> Tensor:
    r"""Greedy maximum of the determinant of :math:`\sqrt{s_i} k_{ij} \sqrt{s_j}`.

    The gain of a candidate is its score times the part of it that the chosen ones leave
    unexplained: a pivoted Cholesky decomposition.

    Arguments:
        scores: Not negative, ``(candidate,)``.
        similarity: Rows of k.
        count: Number to choose.

    Returns:
        Indices in the order of choice, ``(count,)``. Candidates that repeat the chosen ones come
        last, by score.
    """
    left = torch.ones_like(scores)
    factor = scores.new_zeros((count, len(scores)))

    def update(step: int, best: int) -> Tensor:
        row = similarity(best).to(scores) - factor[:step, best] @ factor[:step]
        factor[step] = row / left[best].sqrt()
        return (left - factor[step].square()).clamp(min=0.0)

    chosen: list[int] = []
    for step in range(count):
        gain = (scores * left).index_fill(0, _index(chosen), -1.0)
        gain = gain.masked_fill(left <= _NOTHING, -1.0)
        best = int(gain.argmax())
        if gain[best] <= 0.0:
            break
        left = update(step, best)
        chosen.append(best)
    return _filled(chosen, scores, count)


def k_centre(scores: Tensor, similarity: Similarity, count: int) -> Tensor:
    r"""Farthest first: score times the distance to the nearest chosen one.

    The distance is :math:`\sqrt{2 - 2 k_{ij}}`. With equal scores this is the greedy k-centre
    rule, which covers the pool within twice the smallest possible radius.
    """
    nearest = scores.new_full(scores.shape, 2.0**0.5)
    chosen: list[int] = []
    for _ in range(count):
        gain = (scores * nearest).index_fill(0, _index(chosen), -1.0)
        best = int(gain.argmax())
        if gain[best] <= 0.0:
            break
        distance = (2.0 - 2.0 * similarity(best).to(scores)).clamp(min=0.0).sqrt()
        nearest = torch.minimum(nearest, distance)
        nearest[best] = 0.0
        chosen.append(best)
    return _filled(chosen, scores, count)


def _index(chosen: list[int]) -> Tensor:
    return torch.tensor(chosen, dtype=torch.int64)


def _filled(chosen: list[int], scores: Tensor, count: int) -> Tensor:
    """The chosen ones, and behind them the rest by score."""
    index = _index(chosen)
    rest = scores.index_fill(0, index, -1.0).argsort(descending=True, stable=True)
    return torch.cat([index, rest])[:count]


#: How a batch is put together, by name.
BATCH_RULES = {"determinantal": determinantal, "k_centre": k_centre, "highest": highest}
