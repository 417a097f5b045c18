"""``acie serve`` and nginx as real processes on free ports."""

import contextlib
import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

import httpx
import numpy as np

import acie

MAIN = "import sys; from acie.cli import main; sys.exit(main())"


@functools.cache
def _galaxy() -> dict:
    """The galaxy that ships with ACIE."""
    with resources.as_file(resources.files("acie") / "examples" / "example.fits") as path:
        one = acie.io.read(path)

    def numbers(values: object) -> list[float | None]:
        found = np.asarray(values, dtype=np.float64).ravel()
        return [round(v, 5) if np.isfinite(v) else None for v in found.tolist()]

    return {"flux": numbers(one.flux), "ivar": numbers(one.ivar), "lsf": numbers(one.lsf),
            "redshift": float(one.redshift)}  # fmt: skip


def question(seed: int | None = None, samples: int = 16) -> dict:
    """A request about a galaxy of 6000 pixels."""
    body = {"observation": _galaxy(), "samples": samples, "intervention": "stellar_mass*=1.5"}
    return body if seed is None else body | {"seed": seed}


class Served:
    """One ``acie serve``; its log is a file of JSON lines."""

    def __init__(self, folder: Path, *flags: str, **environment: str) -> None:
        self.log = folder / f"serve-{len(list(folder.glob('serve-*')))}.log"
        own = {k: v for k, v in os.environ.items() if not k.startswith("ACIE_")}
        own |= {"ACIE_DATABASE__URL": f"sqlite+aiosqlite:///{folder}/acie.db"} | environment
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-c", MAIN, "serve", "--port", "0", "--grpc-port", "0", *flags],
                stdout=stream, stderr=stream, env=own, cwd=folder,
            )  # fmt: skip
        self.url = ""

    def wait(self, seconds: float = 300.0) -> "Served":
        """Until it serves, also on a machine that has much else to do."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = re.search(r'"url":"(http://[^"]+)"', self.text)
            if found:
                self.url = found[1]
                # The line may come a moment before the socket listens.
                with contextlib.suppress(httpx.TransportError):
                    if httpx.get(f"{self.url}/health/ready").status_code == 200:
                        return self
            if self.process.poll() is not None:
                raise RuntimeError(f"acie serve ended: {self.text[-3000:]}")
            time.sleep(0.05)
        raise TimeoutError(self.text[-3000:])

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    @property
    def grpc_port(self) -> int:
        return int(re.search(r'"grpc_port":(\d+)', self.text)[1])

    @property
    def text(self) -> str:
        return self.log.read_text("utf-8", "replace")

    @property
    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.text.splitlines() if line.startswith("{")]

    def stop(self, sig: int = signal.SIGTERM, seconds: float = 40.0) -> int:
        """End it and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(sig)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def __enter__(self) -> "Served":
        try:
            return self.wait()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
