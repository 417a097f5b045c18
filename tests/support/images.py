"""The image of production, built by buildah and run without an engine.

No registry of images is needed: the base is a Debian that debootstrap makes. What this machine
knows about package indexes (pip's settings, folders of wheels, its certificates) is lent to the
build and is not part of what it makes.
"""

import configparser
import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from servers import missing, program

__all__ = ["Built", "Running", "build", "build_base"]

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile.production"
BASE = "localhost/acie-base"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


class Buildah:
    """buildah with storage of its own, which leaves that of the machine alone."""

    def __init__(self, folder: Path) -> None:
        if os.geteuid() != 0:
            missing("buildah without an engine and debootstrap need root")
        self._program = program("buildah")
        self.folder = folder
        # It asks for a policy where there is none, as on a fresh Debian.
        (folder / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')

    def __call__(self, command: str, *arguments: object, log: Path | None = None) -> str:
        """Standard output of a command."""
        policy = ["--signature-policy", str(self.folder / "policy.json")]
        signed = command in ("build", "commit")
        line = [
            self._program, "--root", str(self.folder / "store"), "--runroot",
            str(self.folder / "run"), command, *(policy if signed else []), *map(str, arguments),
        ]  # fmt: skip
        own = os.environ | {"BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "vfs"}
        with contextlib.ExitStack() as stack:
            stream = stack.enter_context(log.open("w")) if log else subprocess.PIPE
            done = subprocess.run(
                line, stdout=stream, stderr=stream, text=True, env=own, check=False
            )
        if done.returncode != 0:
            raise RuntimeError(log.read_text()[-4000:] if log else done.stderr[-4000:])
        return done.stdout or ""


def build_base(buildah: Buildah) -> None:
    """A Debian with Python, nothing more, as the image that the Dockerfile begins with."""
    root = buildah.folder / "debian"
    subprocess.run(
        [program("debootstrap"), "--variant=minbase",
         "--include=python3,python3-venv,ca-certificates", "bookworm", root],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    for package in (root / "var/cache/apt/archives").glob("*.deb"):
        package.unlink()
    name = buildah("from", "scratch").strip()
    mounted = buildah("mount", name).strip()
    subprocess.run(["cp", "-a", f"{root}/.", mounted], check=True)
    buildah("umount", name)
    buildah("commit", "--format", "docker", name, BASE)
    buildah("rm", name)
    shutil.rmtree(root)


def pip_settings() -> tuple[str, list[Path]]:
    """What pip is told on this machine, as one file, and the folders that it names."""
    pip = [shutil.which("python3") or "python3", "-m", "pip", "config", "list"]
    listed = subprocess.run(pip, capture_output=True, text=True, check=True).stdout
    found: dict[str, str] = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2]
        # The environment comes first and wins; files of constraints are not there in the build.
        if key in ("find-links", "index-url", "extra-index-url", "default-timeout", "timeout"):
            found.setdefault(key, value.strip("'").replace("\\n", " "))
    if _CERTIFICATES.is_file():
        found["cert"] = str(_CERTIFICATES)
    words = " ".join(found.values()).split()
    folders = [Path(word.removeprefix("file://")) for word in words]
    # The files of a simple index lie beside it.
    folders = [f.parent if f.name == "simple" else f for f in folders]
    parser = configparser.ConfigParser(interpolation=None)
    parser["global"] = found
    lines = "".join(f"{k} = {v}\n" for k, v in parser["global"].items())
    return f"[global]\n{lines}", [f for f in folders if f.is_absolute() and f.exists()]


class Built:
    """An image: its settings, its files, and what building it took."""

    def __init__(self, buildah: Buildah, name: str, seconds: float) -> None:
        self._buildah, self.name, self.seconds = buildah, name, seconds
        self.config = json.loads(buildah("inspect", "--type", "image", name))["Docker"]["config"]
        self._container = buildah("from", "--pull-never", name).strip()
        self.root = Path(buildah("mount", self._container).strip())

    @property
    def environment(self) -> dict[str, str]:
        return dict(one.split("=", 1) for one in self.config["Env"])

    @functools.cached_property
    def bytes(self) -> int:
        """Size of all its files."""
        done = subprocess.run(
            ["du", "-sxB1", self.root], capture_output=True, text=True, check=True
        )
        return int(done.stdout.split()[0])

    def command(self, arguments: list[str]) -> list[str]:
        """Runs something as the image's user, the first process of a read-only root."""
        root, quoted = self.root, '"$@"'
        parts = [
            f"mount --bind {root} {root}",
            f"mount -o remount,ro,bind {root}",
            f"mount -t proc proc {root}/proc",
            f"mount -t tmpfs -o size=16m tmpfs {root}/dev",
            *(f"touch {root}/dev/{one} && mount --bind /dev/{one} {root}/dev/{one}"
              for one in ("null", "zero", "random", "urandom")),
            f"mkdir {root}/dev/shm && mount -t tmpfs -o mode=1777 tmpfs {root}/dev/shm",
            f"mount -t tmpfs -o mode=1777,size=1g tmpfs {root}/tmp",
            *(f"mount -t tmpfs -o uid=10001,gid=10001,mode=0750,size=1g tmpfs {root}{volume}"
              for volume in self.config["Volumes"]),
            f"exec {program('chroot')} --userspec={self.config['User']} {root} /bin/sh -c "
            f"'cd \"$0\" && exec {quoted}' {self.config['WorkingDir']} {quoted}",
        ]  # fmt: skip
        return [
            "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc",
            " && ".join(parts), "sh", *arguments,
        ]  # fmt: skip

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        """What a command does in it."""
        return subprocess.run(
            self.command(list(arguments)), env=self.environment | environment,
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    @contextlib.contextmanager
    def started(self, log: Path, *arguments: str, **environment: str) -> Iterator["Running"]:
        """The image's entry point as a process."""
        with log.open("wb") as stream:
            process = subprocess.Popen(
                self.command([*self.config["Entrypoint"], *arguments]),
                env=self.environment | environment, stdout=stream, stderr=stream,
            )  # fmt: skip
        try:
            yield Running(process, log)
        finally:
            process.kill()
            process.wait()

    def close(self) -> None:
        self._buildah("umount", self._container)
        self._buildah("rm", self._container)


class Running:
    """A process that is the first of its name space."""

    def __init__(self, process: subprocess.Popen, log: Path) -> None:
        self.process, self.log = process, log

    @property
    def pid(self) -> int:
        """Of the first process inside, as it is known outside."""
        parent = self.process.pid
        return int(Path(f"/proc/{parent}/task/{parent}/children").read_text().split()[0])

    def stop(self, seconds: float = 60.0) -> int:
        """SIGTERM to the first process; its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return self.process.wait(seconds)


@contextlib.contextmanager
def build(folder: Path, name: str, **arguments: str) -> Iterator[Built]:
    """Build the Dockerfile on a base of its own, and remove everything afterwards.

    Arguments:
        folder: Empty, and with room for three times the image.
        name: Of the image.
        arguments: Build arguments.
    """
    buildah = Buildah(folder)
    build_base(buildah)
    settings, folders = pip_settings()
    (folder / "pip.conf").write_text(settings)
    given = {"BASE_IMAGE": BASE, "NODE_IMAGE": BASE} | arguments
    flags: list[object] = ["--secret", f"id=pip,src={folder / 'pip.conf'}"]
    lent = [*folders, *([_CERTIFICATES] if _CERTIFICATES.is_file() else [])]
    for path in dict.fromkeys(lent):
        flags += ["--volume", f"{path}:{path}:ro"]
    for key, value in given.items():
        flags += ["--build-arg", f"{key}={value}"]
    begin = time.monotonic()
    # In Docker's format, since that of OCI has no health check.
    buildah(
        "build", "--format", "docker", "--layers=false", "--pull-never", *flags,
        "-f", DOCKERFILE, "-t", name, ROOT, log=folder / "build.log",
    )  # fmt: skip
    built = Built(buildah, name, time.monotonic() - begin)
    try:
        yield built
    finally:
        built.close()
        shutil.rmtree(folder, ignore_errors=True)
