"""The commands of docs/rest.md do what the page says."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "rest.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_commands_run(rest_url, tmp_path):
    # "python" of the page is the one that runs the tests.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for text in blocks("sh"):
        command = text.replace("http://localhost:8080", rest_url)
        subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=tmp_path, check=True,
                       env={**os.environ, "PATH": path}, timeout=120)  # fmt: skip
    answer = json.loads((tmp_path / "answer.json").read_text())
    assert answer["interventions"] == ["stellar_mass*=1.5"]
    answers = json.loads((tmp_path / "answers.json").read_text())["answers"]
    assert [one.get("status") for one in answers] == [None, 422]
    lines = (tmp_path / "rows.ndjson").read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["catalogue", "row", "end"]


def test_the_program_runs(rest_url):
    (text,) = blocks("python")
    names = {}
    exec(compile(text.replace("http://localhost:8080", rest_url), str(PAGE), "exec"), names)
    assert names["answer"]["interventions"] == ["dust_av=0"]
    assert names["flux"].shape == (6000,)


def test_the_problem_on_the_page_is_what_is_answered(rest, galaxy):
    (text,) = blocks("json")
    response = rest.post(
        "/api/v2/inference/counterfactual", json={**galaxy, "intervention": "mass=1.5"}
    )
    assert response.json() == json.loads(text)


def test_the_page_names_every_field(rest):
    schemas = rest.get("/openapi.json").json()["components"]["schemas"]
    page = PAGE.read_text("utf-8")
    for name in ("RequestBody", "AnswerBody", "ObservationBody"):
        for field in schemas[name]["properties"]:
            assert f"`{field}`" in page, f"{name}.{field}"
