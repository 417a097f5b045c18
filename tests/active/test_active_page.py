"""The page docs/active.md: its Python runs and its commands succeed; the command's refusals."""

import json
import re
import shlex
from pathlib import Path

import pytest

from acie.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "active.md").read_text("utf-8")


def run(capsys, *arguments):
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the Python blocks leave, run one after another in one folder."""
    folder = tmp_path_factory.mktemp("page")
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
            exec(compile(block, "active.md", "exec"), found)
    return {**found, "folder": folder}


@pytest.mark.slow
def test_the_python_examples_learn(names):
    assert names["state"].labelled == 20
    assert names["error"] < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("command", re.findall(r"^\$ acie (.*)$", PAGE, re.MULTILINE))
def test_the_commands_succeed(names, command, monkeypatch, capsys):
    monkeypatch.chdir(names["folder"])
    code, out, err = run(capsys, *shlex.split(command), "--samples", "32")
    assert (code, err) == (0, "")
    assert "pool-1.fits" in out
    # The same galaxy is never chosen twice.
    assert ("pool-0.fits" in out) + ("twin.fits" in out) == 1


@pytest.mark.slow
def test_a_bad_file_does_not_stop_the_others(names, monkeypatch, capsys):
    monkeypatch.chdir(names["folder"])
    Path("bad.txt").write_text("no spectrum")
    code, out, _ = run(
        capsys, "active", "--pool", "bad.txt", "pool-0.fits", "twin.fits", "--n", "3",
        "--samples", "32", "--by", "information_gain", "--out", "o", "--json",
    )  # fmt: skip
    error, answer = (json.loads(line) for line in out.splitlines())
    assert code == 1
    assert error["error"]["type"] == "ReaderNotFound"
    assert (answer["pool"], answer["failed"]) == (2, 1)
    assert [row["rank"] for row in answer["ranking"]] == [1, 2]
    assert {row["input"] for row in answer["ranking"]} == {"pool-0.fits", "twin.fits"}
    assert json.loads(Path("o/ranking.json").read_text()) == answer
    assert len(Path("o/ranking.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--by", "entropy"), "information_gain"),
        (("--by", "effect_variance"), "an action and an outcome"),
        (("--do", "stellar_mass*=1.5"), "an action and an outcome"),
        (("--on", "dn4000"), "effect_variance"),
        (("--do", "stellar_mass*=1.5", "--on", "nonsense"), "UnknownVariable"),
        (("--batch", "best"), "k_centre"),
        (("--exposure", "1"), "above 1"),
    ],
)
def test_wrong_questions_are_refused_before_any_file_is_read(capsys, arguments, message):
    code, out, err = run(capsys, "active", "--pool", "missing.fits", "--n", "1", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "missing.fits" not in err


def test_more_galaxies_than_the_pool_has(capsys):
    from importlib import resources

    example = resources.files("acie") / "examples" / "example.fits"
    code, _, err = run(capsys, "active", "--pool", example, "--n", "2")
    assert code == 2
    assert "from 1 to 1" in err
