"""Explore in a real Chromium: from an answer to the screen, and updates of 6000 pixels per second.

Starts ``acie serve`` and runs the script of the end-to-end test; needs Node, Chromium and a built
page (``make dashboard``). What else the machine does makes the figures worse: look at the load.
"""

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

from serving import serving

PROJECT = Path(__file__).parents[1] / "clients" / "dashboard"
FIGURES = (
    "javascript_bytes", "to_screen_ms", "frames_per_second", "frame_cpu_ms", "answer_cpu_ms",
)  # fmt: skip


def run(rounds: int) -> dict[str, object]:
    found = []
    with tempfile.TemporaryDirectory() as name, serving() as (url, _):
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
