"""The page, built once, and a real ``acie serve`` that shows it to a real browser."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from dashboards import ARTIFACTS, PAGE, PROJECT, run
from processes import Served


@pytest.fixture(scope="session")
def project():
    """The project with its packages."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        pytest.skip("Node is not installed")
    version = subprocess.check_output([node, "--version"], text=True).strip()
    if int(version.lstrip("v").split(".")[0]) < 20:
        pytest.skip(f"Node 20 or newer is needed, found {version}")
    lock, installed = PROJECT / "package-lock.json", PROJECT / "node_modules/.package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        run("npm", "ci")
    return PROJECT


@pytest.fixture(scope="session")
def page(project):
    """The built page, made again where a source is newer."""
    sources = [project / "package-lock.json", *project.glob("*.ts"), *(project / "src").rglob("*")]
    newest = max(path.stat().st_mtime for path in sources if path.is_file())
    index = PAGE / "index.html"
    if not index.exists() or index.stat().st_mtime < newest:
        run("npm", "run", "build")
    return PAGE


@pytest.fixture(scope="session")
def served(page, tmp_path_factory):
    with Served(tmp_path_factory.mktemp("dashboard")) as server:
        yield server


@pytest.fixture(scope="session")
def script(project):
    """Runs a script of ``e2e/`` in a real browser; what it saw."""
    if not Path(os.environ.get("CHROMIUM", "/usr/bin/chromium")).exists():
        pytest.skip("Chromium is not installed")

    def seen(name: str, *arguments: str) -> dict:
        return json.loads(run("node", f"e2e/{name}.mjs", *arguments).splitlines()[-1])

    return seen


@pytest.fixture(scope="session")
def browse(script, served):
    """The same, against the service; artifacts are in a folder of the script's name."""

    def seen(name: str, *arguments: str) -> dict:
        return script(name, served.url, str(ARTIFACTS / name), *arguments)

    return seen
