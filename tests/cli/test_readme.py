"""The examples of the README and of the how-to page run as they are written."""

import re
from pathlib import Path

import pytest
import torch

import acie
import acie.io
from acie.seeds import SeedStream
from acie.simulation import Simulator

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/counterfactuals.md"])
def test_the_python_examples_run(page, tmp_path, monkeypatch):
    engine = acie.load()
    drawn = Simulator(engine.scm, engine.physics).draw(1, SeedStream(5).generator("readme"))
    acie.io.write_observation(drawn.observation[0], tmp_path / "spec.fits")
    monkeypatch.chdir(tmp_path)
    names = {}
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, page, "exec"), names)
    # Both pages end with an action on dust_av, a result of which is left in ``result``.
    result = names["result"]
    assert result.effect("flux").shape[1:] == (1, acie.WAVELENGTH.size)
    assert torch.equal(result.worlds[0][0, 0].double(), names["spectrum"].flux.double())
    assert bool((result.effect("dust_av") <= 0.0).all())
    assert result.effect("halo_mass").abs().max() == 0.0
