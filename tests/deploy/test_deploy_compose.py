"""``acie deploy --platform compose``: the real docker-compose renders; the engine is recorded."""

import json
import shutil

import pytest
import yaml
from servers import program

from acie.cli import main
from acie.deploying import manifests_folder

#: Says that it is docker with compose 2.29, renders by the real docker-compose, and writes down
#: what else it is asked. ``up`` fails as often as the file ``fails`` has lines.
DOCKER = """#!/bin/sh
case "$*" in
    "compose version --short") echo 2.29.1; exit ;;
    "version --format"*) [ -e {folder}/no-engine ] && {{ echo "no engine" >&2; exit 1; }}
        echo 28.2.2; exit ;;
    compose*config) shift; exec {compose} "$@" ;;
esac
printf '%s\\n' "$*" >> {folder}/asked
if [ -s {folder}/fails ]; then
    sed -i 1d {folder}/fails
    echo "container acie-acie-1 is unhealthy" >&2
    exit 1
fi
"""


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """A folder: what docker was asked, and the secrets."""
    path = tmp_path / "bin" / "docker"
    path.parent.mkdir()
    path.write_text(DOCKER.format(folder=tmp_path, compose=program("docker-compose")))
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    # The manifests as a copy, so that secrets can be put beside them.
    copy = tmp_path / "deploy"
    shutil.copytree(manifests_folder(), copy, ignore=shutil.ignore_patterns("secrets"))
    monkeypatch.setattr("acie.deploying.composing.manifests_folder", lambda: copy)
    return tmp_path


def deploy(capsys, *arguments):
    capsys.readouterr()
    code = main(["deploy", "--platform", "compose", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def asked(folder):
    file = folder / "asked"
    return file.read_text().splitlines() if file.exists() else []


def secrets_of(folder):
    text = (folder / "deploy" / "compose" / "docker-compose.production.yml").read_text()
    where = folder / "deploy" / "compose" / "secrets"
    where.mkdir()
    for name in yaml.safe_load(text)["secrets"]:
        (where / name).write_text(f"value of {name}")
    return where


def test_a_project_and_one_that_fails(docker, capsys):
    run = ("--replicas", 3, "--gpu-per-pod", 2, "--image", "acie:0.1.0-cuda", "--namespace", "sky")
    code, out, err = deploy(capsys, *run, "--dry-run", "--out", docker / "out")
    assert code == 0
    assert "would be refused: secrets" in err
    project = yaml.safe_load((docker / "out" / "compose.yaml").read_text())
    service = project["services"]["acie"]
    assert project["name"] == "sky"
    assert service["image"] == "acie:0.1.0-cuda"
    assert service["deploy"]["replicas"] == 3
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert device["count"] == 2
    assert "+    image: acie:0.1.0-cuda" in out

    code, _, err = deploy(capsys, *run, "--yes")
    assert code == 2
    assert "make_secrets.sh" in err
    folder = secrets_of(docker)
    (folder / "auth_secret").write_text("")
    code, _, err = deploy(capsys, *run, "--yes")
    assert code == 2
    assert "auth_secret (empty)" in err
    assert asked(docker) == []

    (folder / "auth_secret").write_text("value")
    code, _, err = deploy(capsys, *run, "--yes", "--timeout", 60)
    assert code == 0, err
    (up,) = asked(docker)
    assert up.startswith("compose -p sky -f ")
    assert up.endswith("up --detach --remove-orphans --wait --wait-timeout 60")
    kept = docker / "state" / "acie" / "deploy" / "compose-sky.yml"
    assert kept.stat().st_mode & 0o077 == 0
    before = kept.read_text()
    code, out, err = deploy(capsys, *run, "--dry-run")
    assert (code, out) == (0, "")
    assert "no differences" in err

    # One that does not become healthy: what ran before is started again, and stays what is kept.
    (docker / "fails").write_text("once\n")
    newer = [str(word).replace("0.1.0", "0.2.0") for word in run]
    code, out, err = deploy(capsys, *newer, "--yes")
    assert code == 1
    assert "-    image: acie:0.1.0-cuda" in out
    assert "unhealthy" in err
    assert "The release before runs again" in err
    assert [f"-f {kept} " in line for line in asked(docker)] == [False, False, True]
    assert kept.read_text() == before
    (docker / "fails").write_text("once\nand again\n")
    code, _, err = deploy(capsys, *newer, "--yes")
    assert code == 1
    assert "Going back failed too" in err


def test_no_engine_and_no_compose(docker, capsys, monkeypatch):
    secrets_of(docker)
    (docker / "no-engine").touch()
    code, _, err = deploy(capsys, "--yes")
    assert code == 2
    assert "ClusterUnreachable: docker" in err
    assert json.dumps(asked(docker)) == "[]"
    monkeypatch.setenv("PATH", str(docker / "empty"))
    code, _, err = deploy(capsys, "--dry-run")
    assert code == 2
    assert "ProgramMissing: docker compose" in err
