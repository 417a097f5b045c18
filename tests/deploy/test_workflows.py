"""The workflows: valid, least privilege, and made of commands that this repository has."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from oldest_versions import oldest
from servers import program

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))


def tool(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else program(name)


def jobs():
    for path in FILES:
        for name, job in yaml.safe_load(path.read_text())["jobs"].items():
            yield path.name, name, job


def commands() -> list[str]:
    """Every line that a step runs, continued lines joined."""
    found = []
    for _, _, job in jobs():
        for step in job["steps"]:
            text = step.get("run", "").replace("\\\n", " ")
            found += [line.strip() for line in text.splitlines() if line.strip()]
    return found


def test_the_files_are_valid():
    assert {path.stem for path in FILES} == {"ci", "release", "deploy"}
    done = subprocess.run(
        [tool("check-jsonschema"), "--builtin-schema", "vendor.github-workflows",
         *map(str, FILES)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_zizmor_finds_nothing():
    done = subprocess.run(
        [tool("zizmor"), "--offline", "--pedantic", "--no-progress", str(FOLDER)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_zizmor_would_find_something(tmp_path):
    """An action by its tag, and what a stranger writes in a shell."""
    bad = tmp_path / ".github" / "workflows" / "bad.yml"
    bad.parent.mkdir(parents=True)
    bad.write_text(
        "on: pull_request_target\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - uses: actions/checkout@v6\n"
        "      - run: echo ${{ github.event.pull_request.title }}\n"
    )
    done = subprocess.run(
        [tool("zizmor"), "--offline", "--no-progress", str(bad)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "template-injection" in done.stdout


def test_every_action_is_pinned_to_one_commit_of_a_named_version():
    pins: dict[str, set[str]] = {}
    for path in FILES:
        for line in path.read_text().splitlines():
            if "uses:" in line:
                found = re.search(r"uses: ([\w./-]+)@([0-9a-f]{40}) # v\d+\.\d+\.\d+$", line)
                assert found, f"{path.name}: {line.strip()}"
                pins.setdefault(found[1], set()).add(line.split("@")[1])
    assert all(len(versions) == 1 for versions in pins.values()), pins
    # docs/deploy.md says where each comes from, for whoever must verify them.
    page = (ROOT / "docs" / "deploy.md").read_text()
    for action, versions in pins.items():
        commit, version = re.match(r"([0-9a-f]+) # (\S+)", versions.pop()).groups()
        assert commit in page, action
        assert version in page, action


def test_jobs_have_few_rights_and_little_time():
    for path in FILES:
        text = yaml.safe_load(path.read_text())
        assert text["permissions"] == {}, path.name
        assert text["concurrency"]["group"], path.name
    writes = {}
    for file, name, job in jobs():
        assert 0 < job["timeout-minutes"] <= 90, (file, name)
        assert "permissions" in job, (file, name)
        assert not re.search("latest", job["runs-on"]), (file, name)
        more = {right for right, level in job["permissions"].items() if level == "write"}
        if more:
            writes[file, name] = more
    assert writes == {
        ("release.yml", "image"): {"packages"},
        ("release.yml", "index"): {"id-token"},
        ("release.yml", "notes"): {"contents"},
    }


def test_secrets_are_in_one_step_of_a_protected_environment():
    for path in FILES:
        named = set(re.findall(r"secrets\.(\w+)", path.read_text()))
        assert named == ({"KUBECONFIG"} if path.name == "deploy.yml" else set()), path.name
    for file, name, job in jobs():
        for step in job["steps"]:
            if "secrets." in str(step):
                assert job["environment"], (file, name)
        assert "secrets." not in str(job.get("env", "")), (file, name)


def test_pythons_are_those_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (test,) = [job for file, name, job in jobs() if (file, name) == ("ci.yml", "test")]
    matrix = test["strategy"]["matrix"]
    assert project["requires-python"] == f">={matrix['python'][0]}"
    assert matrix["python"] == ["3.11", "3.12", "3.13"]
    assert {one["versions"] for one in matrix["include"]} == {"oldest", "newest"}


def test_commands_of_make_and_of_files_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    variables = set(re.findall(r"^(\w+) \?=", (ROOT / "Makefile").read_text(), re.M))
    used = 0
    for line in commands():
        for target in re.findall(r"\bmake (?:-s )?([a-z]+)", line):
            assert target in targets, line
            used += 1
        for variable in re.findall(r"\bmake .*?\b([A-Z]+)=", line):
            assert variable in variables, line
        for file in re.findall(r"python ([\w/]+\.py)", line):
            assert (ROOT / file).is_file(), line
        for module in re.findall(r"python -m (acie[\w.]*)", line):
            assert (ROOT / "src" / module.replace(".", "/")).with_suffix(".py").is_file(), line
        for file in re.findall(r" -f (deploy/\S+)", line):
            assert (ROOT / file).is_file(), line
    assert used >= 7


def test_build_arguments_are_those_of_the_dockerfile():
    declared = set(
        re.findall(r"^ARG (\w+)", (ROOT / "deploy/docker/Dockerfile.production").read_text(), re.M)
    )
    used = set(re.findall(r"--build-arg (\w+)=", " ".join(commands())))
    assert used == {"PIP_OPTIONS", "REVISION", "ACCELERATOR", "VERSION", "CREATED"}
    assert used <= declared


def test_scripts_of_the_dashboard_exist():
    package = ROOT / "clients" / "dashboard" / "package.json"
    if not package.is_file():
        pytest.skip("clients/dashboard is not part of this checkout")
    import json

    scripts = json.loads(package.read_text())["scripts"]
    for line in commands():
        for name in re.findall(r"npm run ([\w:]+)", line):
            assert name in scripts, line
        if line == "npm test":
            assert "test" in scripts


def test_acie_deploy_has_the_options_that_are_used(capsys, monkeypatch):
    from acie.cli import main

    monkeypatch.setenv("COLUMNS", "200")
    (line,) = [line for line in commands() if "acie deploy" in line]
    assert main(["deploy", "--help"]) == 0
    text = capsys.readouterr().out
    for option in re.findall(r"(--[a-z-]+)", line):
        assert option in text, option


def test_oldest_versions_are_the_declared_bounds():
    found = oldest(ROOT / "pyproject.toml")
    assert found["torch"] == "2.6"
    assert found["grpcio-tools"] == "1.85.1"
    assert found["uvicorn"] == "0.34"
    # Several groups name it, with one bound.
    assert found["scipy"] == "1.11"
    assert "acie" not in found
