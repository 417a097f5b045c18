"""Whether the kernels are there, and whether those of every generation of processors agree."""

import os
import shutil
import subprocess
import sys

import pytest
import torch

import acie
from acie.native import available, kernels
from acie.simulation import Simulator


def test_they_are_there_where_there_is_a_compiler():
    if not (shutil.which("gcc") or shutil.which("cc")):
        pytest.skip("no compiler")
    assert available()


@pytest.mark.skipif(not available(), reason="the kernels were not compiled")
@pytest.mark.parametrize("generation", ["any", "v3", "v4"])
def test_every_generation_gives_the_same_answer(generation):
    engine = acie.load("galaxy-v1")
    simulator = Simulator(engine.scm, engine.physics)
    one = simulator.draw(3, torch.Generator().manual_seed(4)).observation

    def answer():
        result = engine.counterfactual(one, "stellar_mass*=1.5", num_samples=64)
        return result.abduction.posterior, result.values

    factual, counterfactual = answer()
    best = next(name for name in ("v4", "v3", "any") if kernels.choose(name))
    try:
        if not kernels.choose(generation):
            pytest.skip("this processor is older")
        other, moved = answer()
    finally:
        assert kernels.choose(best)
    # Draws are taken again by weights, so rounding may exchange one for another: compare laws.
    for name in ("stellar_mass", "age", "velocity_dispersion"):
        for ours, theirs in (
            (factual.values[name], other.values[name]),
            (counterfactual[name], moved[name]),
        ):
            moved_by = (ours.log().mean(0) - theirs.log().mean(0)).abs()
            assert (moved_by < 0.4 * ours.log().std(0)).all(), name
    assert not kernels.choose("v9")


def test_the_environment_switches_them_off():
    code = "import acie.native as n; print(n.available(), n.kernels)"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "ACIE_NATIVE": "0"},
    )  # fmt: skip
    assert found.stdout.split() == ["False", "None"]
