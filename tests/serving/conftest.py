"""Real servers: the service on a free port of this machine, databases, Redis, nginx."""

import threading
import time
from importlib import resources

import httpx
import pytest
import uvicorn
from servers import (  # noqa: F401
    nginx_server,
    postgres_server,
    postgres_url,
    redis_server,
    redis_url,
)

import acie
from acie.serving import Settings, create_app


@pytest.fixture(scope="session")
def rest_app(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serving")
    (folder / "models").mkdir()
    return create_app(
        Settings(
            server={"grpc_port": None, "max_body_bytes": 2 * 2**20, "max_batch_items": 8,
                    "cors_origins": ("https://friend.example",)},
            inference={"samples": 16, "max_samples": 32, "models_folder": folder / "models"},
            database={"url": f"sqlite+aiosqlite:///{folder}/acie.db"},
            auth={"rate_per_s": 1e6, "burst": 10**6},
        )
    )  # fmt: skip


@pytest.fixture(scope="session")
def rest_url(rest_app):
    config = uvicorn.Config(rest_app, port=0, log_level="warning", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(30)


@pytest.fixture(scope="session")
def rest(rest_url):
    with httpx.Client(base_url=rest_url, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def galaxy():
    """A question about the galaxy that ships with ACIE, as JSON."""
    observation = acie.io.read(resources.files("acie") / "examples" / "example.fits")
    names = ("flux", "ivar", "lsf")
    arrays = {name: getattr(observation, name).flatten().tolist() for name in names}
    return {
        "observation": {**arrays, "redshift": float(observation.redshift)},
        "intervention": "stellar_mass*=1.5",
    }


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    """An empty database, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'acie.db'}"
    return request.getfixturevalue("postgres_url")
