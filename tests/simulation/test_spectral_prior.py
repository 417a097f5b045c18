"""The prior of the spectral variables that the comparison with Bagpipes weights by."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from acie.simulation import SPECTRAL_NAMES

FOLDER = Path(__file__).parents[2] / "benchmarks"


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def draws(scm):
    redshift = torch.full((12,), 0.08, dtype=torch.float64)
    generator = torch.Generator().manual_seed(3)
    values, _ = scm.sample((12,), given={"redshift": redshift}, generator=generator)
    return {name: values[name] for name in ("redshift", *SPECTRAL_NAMES)}


def test_agrees_with_monte_carlo_over_the_latent_variables(scm, draws):
    """Quadrature over halo mass and size against averages of random ones."""
    count = 20_000
    generator = torch.Generator().manual_seed(4)
    halo = 10.8 + 3.7 * torch.rand(count, 1, generator=generator, dtype=torch.float64)
    noise = torch.randn(count, 1, generator=generator, dtype=torch.float64)
    terms = []
    for quenched in (0.0, 1.0):
        state = {name: value.expand(count, -1) for name, value in draws.items()}
        state["halo_mass"] = (10.0**halo).expand(-1, 12)
        state["quenched"] = torch.full_like(state["redshift"], quenched)
        parents = {name: state[name] for name in scm.graph.parents("size")}
        state["size"] = scm.mechanisms["size"].assign(noise, parents)
        terms.append(scm.log_prob(state, ("quenched", *SPECTRAL_NAMES)).exp())
    total = sum(terms)
    exact = load("scm_prior").SpectralPrior(scm).log_prob(draws).exp()
    # Five standard errors of the average, for 12 comparisons.
    error = total.std(0) / count**0.5
    assert (((total.mean(0) - exact) / error).abs() < 5.0).all()


def test_more_nodes_change_nothing(scm, draws):
    prior = load("scm_prior").SpectralPrior
    few, many = prior(scm).log_prob(draws), prior(scm, 1600, 96).log_prob(draws)
    assert (few - many).abs().max() < 1e-3


def test_resampling_is_that_of_spectres():
    spectres = pytest.importorskip("spectres").spectral_resampling.spectres
    rng = np.random.default_rng(0)
    old = 1000.0 * np.exp(np.arange(3000) * 5e-4)
    flux, new = rng.random(3000), np.arange(1100.0, 4000.0, 1.3)
    ours = load("bagpipes_fast").resample(new, old, flux)
    assert np.allclose(ours, spectres(new, old, flux, fill=0.0), rtol=1e-9, atol=1e-12)
