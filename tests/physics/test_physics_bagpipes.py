"""Spectra against Bagpipes, an independent code with the same templates."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from acie.physics import StellarPopulationModel, TemplateSet

PATH = Path(__file__).parents[2] / "benchmarks" / "forward_model.py"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_spectra_agree():
    pytest.importorskip("bagpipes")
    spec = importlib.util.spec_from_file_location("forward_model", PATH)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    state = benchmark.draw(4, seed=11)
    physics = StellarPopulationModel(TemplateSet.build(line_fwhm_angstrom=0.0))
    with torch.no_grad():
        ours = physics(state).double().numpy()
        formed = state["stellar_mass"] / physics.surviving_fraction(state["age"], state["tau"])
    # At its default sampling of the history Bagpipes is itself 0.3 % off.
    bagpipes = benchmark.Bagpipes(30000.0)
    rows = [{name: float(value[i]) for name, value in state.items()} for i in range(4)]
    theirs = np.array([bagpipes(row, float(mass)) for row, mass in zip(rows, formed, strict=True)])
    deviation = np.abs(ours / theirs - 1.0)
    assert np.median(deviation) < 0.005, np.median(deviation)
    # Beside strong lines the two interpolations differ more.
    assert np.percentile(deviation, 99) < 0.05, np.percentile(deviation, 99)
