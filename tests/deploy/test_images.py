"""The Dockerfile: linted always; built, run and asked by `make images` (the marker `image`)."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import httpx
import pytest
from images import build
from processes import question
from servers import free_port, program

from acie.serving.settings import ServerSettings

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile.production"
PAGE = ROOT / "src" / "acie" / "serving" / "page" / "index.html"
WITH_IMAGE = [pytest.mark.image, pytest.mark.slow]


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _normal(name: str) -> str:
    """The one spelling of a package's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def hadolint(path: Path) -> subprocess.CompletedProcess:
    beside = Path(sys.executable).with_name("hadolint")
    return subprocess.run(
        [str(beside) if beside.exists() else program("hadolint"), str(path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_hadolint_finds_nothing(tmp_path):
    done = hadolint(DOCKERFILE)
    assert done.returncode == 0, done.stdout
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM debian\nRUN cd /tmp\nUSER root\n")
    assert "DL3006" in hadolint(bad).stdout


def test_bases_are_exact_versions():
    text = DOCKERFILE.read_text()
    for default in re.findall(r"^ARG \w+_IMAGE=(\S+)$", text, re.M):
        assert re.search(r":\d+\.\d+\.\d+-", default), default
    # Both Python stages are of one base, so that the environment fits where it goes.
    assert re.findall(r"^FROM (\S+) AS (\w+)$", text, re.M) == [
        ("${NODE_IMAGE}", "page"), ("${BASE_IMAGE}", "build"), ("${BASE_IMAGE}", "production")
    ]  # fmt: skip
    base = re.search(r"BASE_IMAGE=\S+python:(\d+)\.(\d+)", text)
    assert project()["requires-python"] == f">={base[1]}.{base[2]}"


def test_it_agrees_with_the_project_and_the_server():
    text, server = DOCKERFILE.read_text(), ServerSettings()
    assert f"ARG VERSION={project()['version']}\n" in text
    assert f"EXPOSE {server.port} {server.grpc_port}\n" in text
    assert f"'ACIE_SERVER__PORT', '{server.port}'" in text
    (extras,) = re.findall(r"^ARG EXTRAS=(\S+)$", text, re.M)
    assert set(extras.split(",")) <= set(project()["optional-dependencies"])


def test_the_context_has_no_secrets_and_no_history():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {line[1:] for line in rules if line.startswith("!")}
    assert allowed == {
        "src", "clients", "contracts", "pyproject.toml", "setup.py", "MANIFEST.in",
        "constraints.txt", "README.md", "LICENSE",
    }  # fmt: skip
    copied = {
        source.strip("/").split("/")[0]
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text(), re.M)
        for source in line.split()
    }
    assert copied == allowed


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The image for CPUs; minutes."""
    folder = tmp_path_factory.mktemp("image")
    page = "given" if PAGE.is_file() else "none"
    with build(folder, "localhost/acie:test", PAGE=page, REVISION="abc") as image:
        sys.stderr.write(
            f"\nimage: built in {image.seconds:.0f} s, {image.bytes / 1e9:.2f} GB of files\n"
        )
        yield image


@pytest.fixture(scope="module")
def served(built, tmp_path_factory):
    """The image as it is run: its user, its command, a root that is read only."""
    log = tmp_path_factory.mktemp("served") / "log"
    port = free_port()
    with built.started(
        log, "serve", "--host", "127.0.0.1", "--port", str(port), "--grpc-port", str(free_port())
    ) as one:
        end = time.monotonic() + 400.0
        while time.monotonic() < end and one.process.poll() is None:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.2)
        else:
            pytest.fail(log.read_text()[-3000:])
        yield one, port


class TestImage:
    pytestmark = WITH_IMAGE

    def test_it_says_what_it_is(self, built):
        labels = built.config["Labels"]
        assert labels["org.opencontainers.image.version"] == project()["version"]
        assert labels["org.opencontainers.image.revision"] == "abc"
        assert labels["acie.accelerator"] == "cpu"
        assert built.config["User"] == "10001:10001"
        assert built.config["Entrypoint"] == ["acie"]
        assert set(built.config["ExposedPorts"]) == {"8080/tcp", "50051/tcp"}
        assert built.config["Healthcheck"]["Test"][0] == "CMD"

    def test_nothing_in_it_compiles(self, built):
        names = {"cc", "gcc", "g++", "c++", "clang", "ld", "as", "make", "rustc", "go", "nvcc"}
        found = [
            path
            for folder in ("usr/bin", "usr/local/bin", "opt/acie/bin", "usr/sbin", "bin")
            for path in (built.root / folder).glob("*")
            if path.name in names
        ]
        assert found == []
        assert not (built.root / "opt" / "tools").exists()
        assert not (built.root / "source").exists()
        assert built.run("python", "-m", "pip", "--version").returncode != 0

    def test_nothing_in_it_runs_as_its_owner_or_is_everybodys(self, built):
        find = ["find", built.root, "-xdev", "-type", "f", "-perm"]
        for mode in ("/6000", "-0002"):
            done = subprocess.run([*find, mode], capture_output=True, text=True, check=True)
            assert done.stdout == "", mode
        theirs = subprocess.run(
            ["find", built.root, "-xdev", "-uid", "10001"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert theirs.stdout.split() == [str(built.root / "var/lib/acie")]

    def test_nothing_of_the_build_is_in_it(self, built):
        """Neither pip's settings nor what was lent to the build."""
        assert not (built.root / "etc" / "pip.conf").exists()
        assert not (built.root / "root" / ".npmrc").exists()
        history = json.dumps(built.config)
        assert "secret" not in history.lower()

    def test_it_lists_its_contents(self, built):
        folder = built.root / "opt/acie/share/sbom"
        python = json.loads((folder / "python.cdx.json").read_text())
        assert python["bomFormat"] == "CycloneDX"
        listed = {_normal(one["name"]): one["version"] for one in python["components"]}
        assert listed["torch"].startswith("2.")
        pip = built.run(
            "python", "-c",
            "from importlib.metadata import distributions as d\n"
            "print('\\n'.join(x.metadata['Name'] for x in d()))",
        )  # fmt: skip
        installed = {_normal(name) for name in pip.stdout.split()} - {"acie"}
        assert len(installed) > 80
        assert installed <= set(listed)
        assert "libc6" in (folder / "debian.txt").read_text()

    def test_the_wheel_and_its_model_are_in_it(self, built):
        done = built.run("acie", "models")
        assert done.returncode == 0, done.stderr
        assert "galaxy-v1" in done.stdout
        done = built.run("acie", "doctor")
        assert done.returncode == 0, done.stdout + done.stderr

    def test_strangers_are_not_let_in_by_default(self, built):
        done = built.run("acie", *built.config["Cmd"])
        assert done.returncode == 2
        assert "ACIE_AUTH__SECRET" in done.stderr

    def test_it_answers_a_question(self, served, built):
        one, port = served
        answer = httpx.post(
            f"http://127.0.0.1:{port}/api/v2/inference/counterfactual",
            json=question(seed=1), timeout=120.0,
        )  # fmt: skip
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert len(body["counterfactual"]) == 6000
        assert 0.0 < body["confidence"] <= 1.0
        status = Path(f"/proc/{one.pid}/status").read_text()
        assert re.search(r"^Uid:\s+10001\s+10001", status, re.M)
        assert re.search(r"^NSpid:\s+\d+\s+1$", status, re.M), "it is not the first process"
        mounts = Path(f"/proc/{one.pid}/mountinfo").read_text().splitlines()
        (root,) = [line for line in mounts if line.split()[4] == "/"]
        assert "ro" in root.split()[5].split(",")

    def test_its_health_check_knows(self, served, built):
        _, port = served
        command = built.config["Healthcheck"]["Test"][1:]
        assert built.run(*command, ACIE_SERVER__PORT=str(port)).returncode == 0
        assert built.run(*command, ACIE_SERVER__PORT=str(free_port())).returncode != 0

    def test_the_page_is_served_when_it_was_given(self, served):
        if not PAGE.is_file():
            pytest.skip("the dashboard was not built: make dashboard")
        _, port = served
        page = httpx.get(f"http://127.0.0.1:{port}/dashboard/", follow_redirects=True)
        assert page.status_code == 200
        assert "<html" in page.text

    def test_it_drains_at_sigterm(self, served):
        """The last of the tests: a question that is open is answered, and the exit code is 0."""
        import concurrent.futures

        one, port = served
        url = f"http://127.0.0.1:{port}/api/v2/inference/counterfactual"
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            asked = pool.submit(httpx.post, url, json=question(seed=2, samples=512), timeout=120.0)
            time.sleep(0.2)
            os.kill(one.pid, signal.SIGTERM)
            assert asked.result().status_code == 200
        assert one.process.wait(60) == 0
        assert '"left"' in one.log.read_text()
