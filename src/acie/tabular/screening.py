r"""Whether what a mechanism leaves as noise still depends on the causes."""

__all__ = ["noise_depends"]

import torch
from torch import Tensor

#: Largest probability to find a dependence where there is none.
_LEVEL = 0.01
#: Half-width of the spline of a noise law; nothing is learned of what lies beyond.
_LIMIT = 6.0
#: Degree of the polynomials in each cause.
_DEGREE = 4


def noise_depends(noise: Tensor, features: Tensor) -> bool:
    r"""Score tests that location, scale and skewness of the noise are the same everywhere.

    The Hermite polynomials :math:`u`, :math:`u^2 - 1` and :math:`u^3 - 3u` of standard normal
    noise are the scores of those three. Each is regressed on polynomials in the ranks of the
    causes, and on products of two ranks; under independence :math:`n R^2` is chi-squared with as
    many degrees of freedom as there are functions.

    References:
        Rayner & Best 1989, Smooth Tests of Goodness of Fit, chapters 4 and 6.

    Arguments:
        noise: Standard normal if independent, ``(row,)``.
        features: The causes as numbers, ``(row, feature)``.
    """
    basis = _basis(features)
    # A cube would let one outlier hide everything else.
    noise = noise.clamp(-_LIMIT, _LIMIT)
    scores = torch.stack([noise, noise.square() - 1.0, noise**3 - 3.0 * noise], 1)
    scores = scores - scores.mean(0)
    explained = (basis.T @ scores).square().sum(0) / scores.square().sum(0)
    statistic = len(noise) * explained
    freedom = torch.full_like(statistic, basis.shape[1])
    p_values = torch.special.gammaincc(freedom / 2.0, statistic / 2.0)
    return bool((p_values < _LEVEL / len(p_values)).any())


def _basis(features: Tensor) -> Tensor:
    """Orthonormal functions of mean zero, ``(row, function)``."""
    ranks = features.argsort(0).argsort(0).to(features.dtype)
    # Indicators and other tied values keep their own scale; ranks would tell ties apart.
    tied = torch.tensor([len(column.unique()) < len(column) // 2 for column in features.T])
    unit = torch.where(tied, features.tanh(), 2.0 * (ranks + 0.5) / len(ranks) - 1.0)
    columns = [unit**degree for degree in range(1, _DEGREE + 1)]
    if unit.shape[1] > 1:
        pairs = torch.combinations(torch.arange(unit.shape[1])).T
        columns.append(unit[:, pairs[0]] * unit[:, pairs[1]])
    basis = torch.cat(columns, 1)
    left, values, _ = torch.linalg.svd(basis - basis.mean(0), full_matrices=False)
    # Powers of an indicator are one function, not four.
    return left[:, values > 1e-6 * values[0]]
