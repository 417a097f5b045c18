"""A small catalogue whose truth is known, and a model learned from it."""

import numpy as np
import pytest

from acie.io import Catalogue
from acie.tabular import FitConfig, GraphSpec, TabularEngine, fit

GRAPH = {
    "name": "small",
    "aliases": {"mass": "lg_mass"},
    "variables": {
        "z": [],
        "lg_mass": {"parents": ["z"], "unit": "dex", "mechanism": "additive"},
        "quenched": {"parents": ["lg_mass"], "mechanism": "logistic"},
        "shape": {"parents": ["lg_mass"], "mechanism": "logistic"},
        "companions": {"parents": ["lg_mass"], "mechanism": "logistic"},
        "size": {
            "parents": ["lg_mass", "shape"], "transform": "log10", "unit": "kpc",
            "mechanism": "additive",
        },
    },
}  # fmt: skip
SHAPES = np.array(["disc", "irregular", "spheroid"], dtype=object)


def draw(count, seed):
    """Columns, and the part of lg_mass that its cause explains."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.01, 0.3, count)
    mean = 10.0 + 2.0 * z + 3.0 * z**2
    mass = mean + 0.4 * rng.normal(size=count)
    quenched = rng.uniform(size=count) < 1.0 / (1.0 + np.exp(-3.0 * (mass - 10.5)))
    logits = np.stack([0.5 - (mass - 10.3), np.full(count, -1.0), 1.5 * (mass - 10.3)])
    shape = SHAPES[(logits + rng.gumbel(size=(3, count))).argmax(0)]
    companions = np.clip(np.floor(rng.exponential(1.0, count) + mass - 10.0), 0, 3)
    lg_size = 0.4 * (mass - 10.0) - 0.3 * (shape == "spheroid") + 0.1 * rng.normal(size=count)
    columns = {
        "z": z, "lg_mass": mass, "quenched": quenched.astype(float), "shape": shape,
        "companions": companions, "size": 10.0**lg_size,
    }  # fmt: skip
    return columns, mean


@pytest.fixture(scope="session")
def columns():
    found, _ = draw(1500, 1)
    rng = np.random.default_rng(2)
    # Size is missing at random in one row of ten.
    found["size"] = np.where(rng.uniform(size=1500) < 0.1, np.nan, found["size"])
    return found


@pytest.fixture(scope="session")
def bundle(columns):
    return fit(GraphSpec.parse(GRAPH), Catalogue(columns), FitConfig(seed=3, steps=400))


@pytest.fixture(scope="session")
def engine(bundle):
    return TabularEngine(bundle)
