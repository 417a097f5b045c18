"""Real PostgreSQL, Redis and nginx on free ports, started and stopped by the tests.

A server that is not installed skips the tests that need it, with the reason; where ``CI`` is set
that is a failure, so that no pipeline passes by skipping.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import pytest

__all__ = [
    "Nginx",
    "PostgreSQL",
    "Redis",
    "free_port",
    "nginx_server",
    "postgres_server",
    "postgres_url",
    "redis_server",
    "redis_url",
]

#: Where Debian has programs that are not on the path of everybody.
_FOLDERS = ("/usr/sbin", "/usr/local/sbin", *sorted(
    (str(p) for p in Path("/usr/lib/postgresql").glob("*/bin")), reverse=True
))  # fmt: skip


def program(name: str) -> str:
    """Full path of a program, or a skip (in CI a failure)."""
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(_FOLDERS))
    if found is None:
        missing(f"{name} is not installed")
    return found


def missing(reason: str) -> None:
    if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
        pytest.fail(f"in CI this must not be skipped: {reason}")
    pytest.skip(reason)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A process that can be killed, frozen and started again on the same port and data."""

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="acie-test-"))
        self._process: subprocess.Popen | None = None
        self._popen: dict = {}

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self, patience_s: float = 30.0) -> None:
        """Start, and wait until it answers."""
        until = time.monotonic() + patience_s
        while True:
            with open(self.folder / "log", "ab") as log:
                self._process = subprocess.Popen(
                    self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, **self._popen
                )
            while self._process.poll() is None and time.monotonic() < until:
                if self.answers():
                    return
                time.sleep(0.05)
            if time.monotonic() > until:
                self.kill()
                raise RuntimeError((self.folder / "log").read_text()[-3000:])
            time.sleep(0.2)  # after a kill its children may still hold the data for a moment

    def answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """As if the machine had lost its power: nothing is written, nobody is told."""
        self.signal(signal.SIGKILL)
        self._process.wait()

    def freeze(self) -> None:
        """Accept connections (the kernel does) and never answer."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Redis(Server):
    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        return [
            program("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1",
            "--save", "", "--appendonly", "no", "--dir", str(self.folder),
        ]  # fmt: skip


class PostgreSQL(Server):
    def __init__(self) -> None:
        super().__init__()
        self._programs = {name: program(name) for name in ("initdb", "postgres", "pg_isready")}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            try:
                user = pwd.getpwnam("postgres")
            except KeyError:
                missing("there is no user postgres, and PostgreSQL does not run as root")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._popen = {
                "user": user.pw_uid, "group": user.pw_gid, "extra_groups": [],
                "cwd": self.folder,
            }  # fmt: skip
        self.data = self.folder / "data"
        subprocess.run(
            [self._programs["initdb"], "-D", self.data, "-A", "trust", "-U", "postgres",
             "-E", "UTF8", "--no-sync", "--locale=C"],
            check=True, capture_output=True, **self._popen,
        )  # fmt: skip

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, name: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def command(self) -> list[str]:
        # Without fsync the kernel still has what a killed process had committed.
        return [
            self._programs["postgres"], "-D", str(self.data), "-p", str(self.port),
            "-h", "127.0.0.1", "-k", str(self.folder), "-c", "fsync=off",
            "-c", "shared_buffers=16MB",
        ]  # fmt: skip

    def answers(self) -> bool:
        check = [self._programs["pg_isready"], "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(check, check=False).returncode == 0

    def run(self, sql: str, database: str = "postgres") -> str:
        """What psql prints for a statement."""
        done = subprocess.run(
            [program("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql, self.url_of(database)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout.strip()

    def new_database(self) -> str:
        """URL of a new, empty database."""
        name = f"t{uuid.uuid4().hex}"
        self.run(f"CREATE DATABASE {name}")
        return self.url_of(name)


class Nginx(Server):
    """nginx in the foreground; ``{port}`` and ``{folder}`` of the text are filled in."""

    def __init__(self, text: str, **values: object) -> None:
        super().__init__()
        for name, value in {"port": self.port, "folder": self.folder, **values}.items():
            text = text.replace("{" + name + "}", str(value))
        self._config = self.folder / "nginx.conf"
        self._config.write_text(text)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        rules = f"daemon off; pid {self.folder}/nginx.pid;"
        return [
            program("nginx"), "-p", str(self.folder), "-e", str(self.folder / "error.log"),
            "-c", str(self._config), "-g", rules,
        ]  # fmt: skip

    def kill(self) -> None:
        # SIGKILL would orphan the workers, which hold the port.
        self.signal(signal.SIGTERM)
        self._process.wait(10)


@contextlib.contextmanager
def running(server: Server):
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def redis_server():
    """One Redis; a test that kills it must start it again."""
    with running(Redis()) as server:
        yield server


@pytest.fixture
def redis_url(redis_server):
    """An empty Redis."""
    import redis

    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture(scope="session")
def postgres_server():
    """One PostgreSQL; a test that kills it must start it again."""
    with running(PostgreSQL()) as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server):
    """An empty database."""
    return postgres_server.new_database()


@pytest.fixture
def nginx_server():
    """Starts nginx with a configuration; any number per test."""
    with contextlib.ExitStack() as stack:
        yield lambda text, **values: stack.enter_context(running(Nginx(text, **values)))
