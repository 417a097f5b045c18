"""What the documents show, run against the application."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import acie

ROOT = Path(__file__).parents[3]
SDK = ROOT / "clients" / "python"
EXAMPLES = sorted((ROOT / "examples").glob("ask_by_*.py"))


def run(script, *arguments):
    paths = [str(SDK / "src"), str(Path(acie.__file__).parents[1])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        capture_output=True, text=True, check=False, env=environment, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_example_by_rest(live):
    out = run(ROOT / "examples" / "ask_by_rest.py", live.url)
    assert "stellar_mass*=1.5" in out
    assert "refused: stellar_mass; Did you mean scale 1.5" in out
    levels = [float(line.rsplit(" ", 1)[1]) for line in out.splitlines() if "A_V" in line]
    # More dust, less light.
    assert len(levels) == 3
    assert levels == sorted(levels, reverse=True)


@pytest.mark.slow
def test_the_example_by_grpc(live):
    out = run(ROOT / "examples" / "ask_by_grpc.py", live.rpc)
    lines = dict(line.split(": ", 1) for line in out.splitlines()[1:])
    assert set(lines) == {"dust_av=0", "age-=1", "no_such_variable=1"}
    assert lines["no_such_variable=1"].startswith("refused")
    assert lines["dust_av=0"].startswith("confidence")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_examples_are_short(path):
    assert len(path.read_text("utf-8").splitlines()) <= 60


def test_the_example_of_the_readme(live, tmp_path):
    (block,) = re.findall(r"```python\n(.*?)```", (SDK / "README.md").read_text("utf-8"), re.S)
    default = "http://127.0.0.1:8080"
    assert default in block
    script = tmp_path / "readme.py"
    script.write_text(block.replace(default, live.url), "utf-8")
    out = run(script)
    assert "Answer(galaxy-v1@" in out
    assert "(6000,) (6000,)" in out
    assert "stellar_mass Did you mean scale 1.5" in out
