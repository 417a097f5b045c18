"""The real application, listening on real ports of this machine."""

import asyncio
import contextlib
import importlib.resources
import threading
import time

import numpy as np
import pytest
import torch
import uvicorn

import acie.io
from acie.serving import Settings, create_app


class LiveApp:
    """REST and gRPC on free ports, on an event loop of a thread."""

    def __init__(self, settings):
        self.app = create_app(settings)
        self._server = uvicorn.Server(
            uvicorn.Config(self.app, port=settings.server.port, log_level="warning")
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._up = threading.Event()

    def _run(self):
        async def main():
            self.loop = asyncio.get_running_loop()
            serving = asyncio.create_task(self._server.serve())
            while not self._server.started and not serving.done():
                await asyncio.sleep(0.02)
            self._up.set()
            await serving

        asyncio.run(main())

    def __enter__(self):
        self._thread.start()
        self._up.wait(300)
        if not self._server.started:
            raise RuntimeError("the application did not start")
        return self

    def __exit__(self, *error):
        self._server.should_exit = True
        self._thread.join(60)

    @property
    def resources(self):
        return self.app.state.resources

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"

    @property
    def rpc(self):
        return f"127.0.0.1:{self.app.state.rpc.port}"

    def call(self, function, *arguments):
        """The result of a coroutine function that runs on the loop of the application."""
        return asyncio.run_coroutine_threadsafe(function(*arguments), self.loop).result(120)

    @property
    def waiting(self):
        """Questions that the service has accepted and not begun."""
        return self.resources.service._batcher.depth

    @contextlib.contextmanager
    def busy(self):
        """The engine's thread has other work, so that questions wait until the end."""
        free, begun = threading.Event(), threading.Event()

        def work():
            begun.set()
            free.wait(120)

        self.resources.service._executor.submit(work)
        begun.wait(120)
        try:
            yield
        finally:
            free.set()


def eventually(condition, seconds=60.0):
    """Whether a condition becomes true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


@pytest.fixture(scope="session")
def settings_of(tmp_path_factory):
    def make(**sections):
        database = tmp_path_factory.mktemp("db") / "acie.db"
        return Settings.read(
            server={"port": 0, "grpc_port": 0, "grpc_ahead": 4, **sections.pop("server", {})},
            database={"url": f"sqlite+aiosqlite:///{database}"},
            inference={"samples": 8, "queue": 24, **sections.pop("inference", {})},
            **sections,
        )

    return make


@pytest.fixture(scope="session")
def live(settings_of):
    with LiveApp(settings_of()) as app:
        yield app


@pytest.fixture(name="eventually", scope="session")
def _eventually():
    return eventually


@pytest.fixture(scope="session")
def galaxy():
    """The bundled simulated galaxy as the arrays of one spectrum."""
    path = importlib.resources.files("acie") / "examples" / "example.fits"
    observation = acie.io.read(path)
    return observation if observation.flux.ndim == 1 else observation[0]


@pytest.fixture(scope="session")
def arrays(galaxy):
    def numbers(value):
        return value.numpy().astype(np.float32) if isinstance(value, torch.Tensor) else value

    return {
        "flux": numbers(galaxy.flux),
        "ivar": numbers(galaxy.ivar),
        "lsf": numbers(galaxy.lsf),
        "redshift": float(galaxy.redshift),
    }
