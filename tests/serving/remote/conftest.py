"""The real application, listening on real ports of this machine."""

import asyncio
import threading

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
        self._thread = threading.Thread(target=self._run)
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
        self._up.wait(60)
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

    def call(self, function):
        """The result of a coroutine function that runs on the loop of the application."""
        return asyncio.run_coroutine_threadsafe(function(), self.loop).result(60)


@pytest.fixture(scope="session")
def settings_of(tmp_path_factory):
    def make(**sections):
        database = tmp_path_factory.mktemp("db") / "acie.db"
        return Settings.read(
            server={"port": 0, "grpc_port": 0, **sections.pop("server", {})},
            database={"url": f"sqlite+aiosqlite:///{database}"},
            inference={"samples": 32, **sections.pop("inference", {})},
            **sections,
        )

    return make


@pytest.fixture(scope="session")
def live(settings_of):
    with LiveApp(settings_of()) as app:
        yield app


@pytest.fixture(scope="session")
def galaxy():
    """The bundled simulated galaxy as the arrays of one spectrum."""
    import importlib.resources

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
