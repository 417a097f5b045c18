"""The example of the README runs as it is written."""

import re
from pathlib import Path

import pytest
import torch

import acie
import acie.io
from acie.seeds import SeedStream
from acie.simulation import Simulator

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.slow
def test_the_python_example_runs(tmp_path, monkeypatch):
    engine = acie.load()
    drawn = Simulator(engine.scm, engine.physics).draw(1, SeedStream(5).generator("readme"))
    acie.io.write_observation(drawn.observation[0], tmp_path / "spec.fits")
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    names = {}
    exec(compile(block, str(README), "exec"), names)
    result = names["result"]
    assert result.effect("flux").shape[1:] == (1, acie.WAVELENGTH.size)
    assert torch.equal(result.worlds[0][0, 0].double(), names["spectrum"].flux.double())
    assert bool((result.values["dust_av"] == 0.0).all())
