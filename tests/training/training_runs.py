"""Starting `acie train` in another Python, and reading what it logged."""

import csv
import os
import subprocess
import sys
from pathlib import Path


def curve(out, name, factor="spectral"):
    """A logged column, by step."""
    found = {}
    for path in sorted((out / f"log-{factor}").glob("version_*/metrics.csv")):
        with open(path) as stream:
            for row in csv.DictReader(stream):
                if row.get(name):
                    found[int(row["step"])] = float(row[name])
    return found


def command(config, out, *options):
    """Arguments of another Python that trains."""
    options = map(str, options)
    return ["-m", "acie", "train", "--config", str(config), "--out", str(out), *options]


def start(arguments, log):
    """Another Python; it uses one thread."""
    source = str(Path(sys.modules["acie"].__file__).parents[1])
    environment = {
        name: value
        for name, value in os.environ.items()
        # What Lightning left behind in this process is not meant for that one.
        if name not in ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    } | {"OMP_NUM_THREADS": "1", "PYTHONPATH": source}
    with open(log, "a") as stream:
        return subprocess.Popen(
            [sys.executable, *arguments], env=environment, stdout=stream, stderr=stream
        )
