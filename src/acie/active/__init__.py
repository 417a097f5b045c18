"""Active learning: which galaxies to observe or simulate next."""

__all__ = [
    "ActiveLearner",
    "GalaxyPool",
    "GaussianProcess",
    "Pool",
    "PoolBuilder",
    "RegressionPool",
    "Round",
    "RowPool",
    "RowPoolBuilder",
    "Selection",
    "UncertaintySelector",
]

from acie.active.galaxies import GalaxyPool, PoolBuilder
from acie.active.learner import ActiveLearner, Round
from acie.active.regression import GaussianProcess, RegressionPool
from acie.active.rows import RowPool, RowPoolBuilder
from acie.active.selector import Pool, Selection, UncertaintySelector
