"""A real MLflow server on a free port, and bundles that differ from the shipped one."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import pytest

from acie.manifest import bundled_models
from acie.tracking import Registry, TrackingSettings
from acie.tracking.store import Store

#: The server ends with the tests even if they are killed: then the pipe from them closes.
_WITH_US = 'exec 3<&0; "$@" </dev/null 3<&- & cat <&3 >/dev/null; kill -KILL 0'


class MlflowServer:
    """``mlflow server`` with SQLite and a folder of artifacts that it serves itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen | None = None

    def start(self, patience_s: float = 240.0) -> None:
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1",
            "--port", str(self.port), "--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db",
            "--artifacts-destination", str(self.folder / "artifacts"), "--serve-artifacts",
        ]  # fmt: skip
        # Its own jobs are for other things than runs and models.
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self.folder / "log").open("ab") as log:
            # A group of its own, since the server starts workers.
            self._process = subprocess.Popen(
                ["sh", "-c", _WITH_US, "sh", *command], stdin=subprocess.PIPE, stdout=log,
                stderr=log, env=os.environ | quiet, cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + patience_s
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise RuntimeError((self.folder / "log").read_text()[-3000:])
            time.sleep(0.1)

    def answers(self) -> bool:
        with contextlib.suppress(OSError, urllib.error.URLError):
            return urllib.request.urlopen(f"{self.url}/health", timeout=5).status == 200
        return False

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self._process.wait(20)

    @contextlib.contextmanager
    def frozen(self):
        """It accepts connections (the kernel does) and never answers."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def stored(self, source: str, file: str) -> Path:
        """Where the server keeps a file of an artifact folder."""
        return self.folder / "artifacts" / source.removeprefix("mlflow-artifacts:/") / file


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory):
    server = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """No settings but the test's own."""
    for name in [n for n in os.environ if n.startswith(("ACIE_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ACIE_MLFLOW__CACHE", str(tmp_path / "cache"))
    return monkeypatch


@pytest.fixture
def impatient(environment):
    """Requests to a server that is gone or frozen end soon."""
    environment.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    environment.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.fixture
def server(mlflow_server, environment):
    """The server, as that of the environment."""
    environment.setenv("ACIE_MLFLOW__URI", mlflow_server.url)
    return mlflow_server


@pytest.fixture
def registry(server):
    return Registry(Store(TrackingSettings.read()))


@pytest.fixture
def name():
    """A model that no other test knows."""
    return f"m{uuid.uuid4().hex[:8]}"


@pytest.fixture
def report():
    """The evaluation of the shipped model, as it was measured."""
    path = bundled_models()["galaxy-v1"] / "evaluation.json"
    return json.loads(path.read_text("utf-8"))
