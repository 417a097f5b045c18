"""``acie serve`` and nginx as real processes on free ports."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np

MAIN = "import sys; from acie.cli import main; sys.exit(main())"


def free_port() -> int:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        return own.getsockname()[1]


def question(seed: int | None = None, samples: int = 16, pixels: int = 6000) -> dict:
    """A request with a plausible galaxy: a smooth continuum with noise."""
    noise = np.random.default_rng(0).normal(size=pixels)
    flux = 10.0 + 3.0 * np.linspace(-1, 1, pixels) + 0.5 * noise
    body = {"observation": flux.round(3).tolist(), "redshift": 0.1, "samples": samples,
            "intervention": "stellar_mass*=1.5"}  # fmt: skip
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

    def wait(self, seconds: float = 90.0) -> "Served":
        """Until it serves."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = re.search(r'"url":"(http://[^"]+)"', self.text)
            if found:
                self.url = found[1]
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
        return self.wait()

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
