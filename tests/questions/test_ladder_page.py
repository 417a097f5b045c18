"""The page docs/ladder.md: its Python runs, its commands succeed, its list is complete."""

import re
import shlex
from pathlib import Path

import pytest

from acie.cli import main
from acie.physics.features import FEATURES
from acie.questions import ALTERNATIVES

PAGE = (Path(__file__).parents[2] / "docs" / "ladder.md").read_text("utf-8")


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the Python blocks leave, run one after another in one folder."""
    folder = tmp_path_factory.mktemp("page")
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
            exec(compile(block, "ladder.md", "exec"), found)
    return {**found, "folder": folder}


@pytest.mark.slow
def test_the_python_examples_say_what_the_page_says(names):
    low, high = names["sensitivity"].interval
    assert low < 0.75 * names["sensitivity"].statistical.value
    assert high >= names["sensitivity"].statistical.value
    assert names["search"].share == 1.0
    assert names["done"].value == pytest.approx(2.0, abs=1e-9)
    assert names["seen"].low < 3.5 < names["seen"].high
    assert float(names["through"].direct.mean()) == pytest.approx(3.0)
    assert float(names["through"].indirect.mean()) == pytest.approx(2.0)
    assert not names["report"].identified
    assert not names["verdict"].tests
    total = sum(share.value for share in names["own"].shares.values())
    assert total == pytest.approx(names["own"].total.value, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("command", re.findall(r"^\$ acie (.*)$", PAGE, re.MULTILINE))
def test_the_commands_succeed(names, command, monkeypatch, capsys):
    monkeypatch.chdir(names["folder"])
    arguments = shlex.split(command)
    if arguments[0] == "effect" or "--do" in arguments or "--target" in arguments:
        arguments += ["--samples", "32"]
    assert main(arguments) == 0
    assert capsys.readouterr().err == ""


def test_every_alternative_and_feature_is_on_the_page():
    for name in (*ALTERNATIVES, *FEATURES):
        assert f"`{name}`" in PAGE
