"""Explore in a real Chromium: from an answer to the screen, and updates of 6000 pixels per second.

Starts ``acie serve`` and runs the script of the end-to-end test; needs Node, Chromium and a built
page (``make dashboard``). What else the machine does makes the figures worse: look at the load.
"""

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

PROJECT = Path(__file__).parents[1] / "clients" / "dashboard"
MAIN = "import sys; from acie.cli import main; sys.exit(main())"
FIGURES = (
    "javascript_bytes", "to_screen_ms", "frames_per_second", "frame_cpu_ms", "answer_cpu_ms",
)  # fmt: skip


@contextlib.contextmanager
def service(folder: Path) -> Iterator[str]:
    """The address of a service of its own."""
    log = folder / "serve.log"
    own = {k: v for k, v in os.environ.items() if not k.startswith("ACIE_")}
    own["ACIE_DATABASE__URL"] = f"sqlite+aiosqlite:///{folder}/acie.db"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-c", MAIN, "serve", "--port", "0", "--grpc-port", "0"],
            stdout=stream, stderr=stream, env=own, cwd=folder,
        )  # fmt: skip
    try:
        yield _address(process, log)
    finally:
        process.terminate()
        process.wait(60)


def _address(process: subprocess.Popen, log: Path) -> str:
    end = time.monotonic() + 180.0
    while time.monotonic() < end and process.poll() is None:
        found = re.search(r'"url":"(http://[^"]+)"', log.read_text("utf-8", "replace"))
        if found:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{found[1]}/health/ready").status_code == 200:
                    return found[1]
        time.sleep(0.2)
    raise SystemExit(f"acie serve did not start:\n{log.read_text('utf-8', 'replace')[-2000:]}")


def run(rounds: int) -> dict[str, object]:
    found = []
    with tempfile.TemporaryDirectory() as name, service(Path(name)) as url:
        for _ in range(rounds):
            text = subprocess.run(
                ["node", "e2e/explore.mjs", url, name], cwd=PROJECT, text=True,
                stdout=subprocess.PIPE, check=True,
            ).stdout  # fmt: skip
            seen = json.loads(text.splitlines()[-1])
            found.append({figure: seen[figure] for figure in FIGURES})
    return {"rounds": found, "load": os.getloadavg()[0], "processors": os.cpu_count()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    print(json.dumps(run(parser.parse_args().rounds), indent=1))
