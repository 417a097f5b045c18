"""What `acie serve` does under load: latency, throughput, overload, memory.

The server is a process of its own and this one makes the load, with 6000-pixel spectra over REST.
Every question but the cached one is about another galaxy (one pixel differs), so nothing is
answered from the cache. The engine in a plain loop is measured in a third process, while no server
runs.

    python benchmarks/serving.py                      all but memory, about three minutes
    python benchmarks/serving.py --only memory --minutes 30
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from importlib import resources
from pathlib import Path

import httpx
import numpy as np

URL = "/api/v2/inference/counterfactual"
MAIN = "import sys; from acie.cli import main; sys.exit(main())"
PARTS = ("cached", "low", "throughput", "single", "overload", "memory")
CLIENTS, CROWD = 32, 256
#: Seconds after which a client that does not heed Retry-After asks again.
RUDE_S = 0.5
#: Nothing may take longer than this, or it hangs.
PATIENCE_S = 60.0


class Bodies:
    """Requests as bytes: only one pixel is written anew for each."""

    def __init__(self) -> None:
        import acie

        with resources.as_file(resources.files("acie") / "examples" / "example.fits") as path:
            one = acie.io.read(path)
        flux, ivar, lsf = (
            np.nan_to_num(np.asarray(getattr(one, name), dtype=np.float64).ravel())
            for name in ("flux", "ivar", "lsf")
        )
        self._good = int(np.flatnonzero(ivar > 0)[0])
        self._value = float(flux[self._good])
        text = [f"{value:.5f}" for value in flux]
        text[self._good] = "PIXEL"
        observation = (
            f'{{"flux":[{",".join(text)}],"ivar":[{",".join(f"{v:.5g}" for v in ivar)}],'
            f'"lsf":[{",".join(f"{v:.4g}" for v in lsf)}],"redshift":{float(one.redshift)}}}'
        )
        whole = f'{{"observation":{observation},"intervention":"stellar_mass*=1.5"}}'
        self._head, self._tail = (part.encode() for part in whole.split("PIXEL"))
        self._turn = itertools.count(1)

    def cached(self) -> bytes:
        """Always the same."""
        return self._head + b"%.5f" % self._value + self._tail

    def fresh(self) -> bytes:
        """Never the same."""
        value = self._value * (1.0 + 1e-5 * (next(self._turn) % 30000))
        return self._head + b"%.7f" % value + self._tail

    def batch(self, count: int) -> bytes:
        """Several in one request."""
        return b'{"requests":[' + b",".join(self.fresh() for _ in range(count)) + b"]}"


@contextlib.contextmanager
def serving(**environment: str):
    """A server of its own; yields its URL and process id."""
    with tempfile.TemporaryDirectory() as folder:
        own = {k: v for k, v in os.environ.items() if not k.startswith("ACIE_")}
        own |= {"ACIE_DATABASE__URL": f"sqlite:///{folder}/acie.db",
                "ACIE_SERVER__NOTICE_S": "0", "ACIE_TELEMETRY__LOG_LEVEL": "WARNING",
                "ACIE_TELEMETRY__LOG_FORMAT": "json"}  # fmt: skip
        port = _free_port()
        command = [sys.executable, "-c", MAIN, "serve", "--port", str(port), "--grpc-port", "0"]
        with open(f"{folder}/log", "wb") as log:
            process = subprocess.Popen(command, env=own | environment, stderr=log, stdout=log)
        url = f"http://127.0.0.1:{port}"
        try:
            for _ in range(1200):
                with contextlib.suppress(httpx.HTTPError):
                    if httpx.get(f"{url}/health/ready").status_code == 200:
                        break
                if process.poll() is not None:
                    raise RuntimeError(Path(f"{folder}/log").read_text())
                time.sleep(0.1)
            yield url, process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def _free_port() -> int:
    import socket

    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        return own.getsockname()[1]


def sequential(url: str, make, count: int, warm: int = 5) -> dict[str, float]:
    """Latencies of one client that asks one question after the other."""
    head = {"Content-Type": "application/json"}
    times = []
    with httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        for turn in range(warm + count):
            body = make()
            start = time.perf_counter()
            client.post(URL, content=body, headers=head).raise_for_status()
            if turn >= warm:
                times.append((time.perf_counter() - start) * 1e3)
    p50, p90, p99 = np.percentile(times, [50, 90, 99])
    return {"p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "count": count}


async def crowd(url: str, bodies: Bodies, clients: int, seconds: float, polite: bool = True):
    """Closed-loop clients: what they were told, and when.

    Arguments:
        url: Of the server.
        bodies: Makes the questions.
        clients: Their number; each has one question at a time.
        seconds: How long new questions are asked.
        polite: Whether a refused client waits as long as Retry-After says.
    """
    end = time.monotonic() + seconds
    told: list[tuple[float, int, bool]] = []
    hung: list[str] = []
    head = {"Content-Type": "application/json"}

    async def one(client: httpx.AsyncClient) -> None:
        while time.monotonic() < end:
            try:
                found = await client.post(URL, content=bodies.fresh(), headers=head)
            except httpx.HTTPError as error:
                hung.append(repr(error))
                continue
            wait = found.headers.get("retry-after")
            told.append((time.monotonic(), found.status_code, wait is not None))
            if found.status_code != 200:
                pause = float(wait or 1.0) if polite else RUDE_S
                await asyncio.sleep(min(pause, max(end - time.monotonic(), 0.0)))

    # A pool each: one pool of 256 connections looks through all of them at every request, which
    # took more of the processor than all else that the load costs.
    async with contextlib.AsyncExitStack() as stack:
        pools = [httpx.AsyncClient(base_url=url, timeout=PATIENCE_S, verify=False)
                 for _ in range(clients)]  # fmt: skip
        for pool in pools:
            await stack.enter_async_context(pool)
        await asyncio.gather(*(one(pool) for pool in pools))
    return told, hung, end


def throughput(url: str, bodies: Bodies, clients: int, seconds: float, polite: bool = True):
    """Answers per second, without the first fifth, and everything that was no answer."""
    begin = time.monotonic()
    told, hung, end = asyncio.run(crowd(url, bodies, clients, seconds, polite))
    start = begin + seconds / 5
    good = sum(status == 200 and start < moment <= end for moment, status, _ in told)
    refused = [(status, waits) for _, status, waits in told if status != 200]
    return {
        "clients": clients,
        "galaxies_per_s": good / (end - start),
        "answered": sum(status == 200 for _, status, _ in told),
        "statuses": {str(s): sum(x == s for x, _ in refused) for s in {x for x, _ in refused}},
        "refused_properly": all(s in (429, 503) and waits for s, waits in refused),
        "hung_or_broken": len(hung),
    }


def engine_loop(batch: int, seconds: float) -> float:
    """Galaxies per second of the engine alone, in batches, with the service's number of draws."""
    import torch

    import acie
    from acie.observation import Observation

    engine = acie.load("galaxy-v1")
    with resources.as_file(resources.files("acie") / "examples" / "example.fits") as path:
        one = acie.io.read(path).batched()
    stacked = Observation.stack([one] * batch)
    generator = torch.Generator().manual_seed(0)
    engine.counterfactual(stacked, "stellar_mass*=1.5", num_samples=64, generator=generator)
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        engine.counterfactual(stacked, "stellar_mass*=1.5", num_samples=64, generator=generator)
        done += batch
    return done / (time.perf_counter() - start)


def largest_batch() -> int:
    """Galaxies that the service computes together at most, by default."""
    from acie.serving.settings import InferenceSettings

    return InferenceSettings().max_batch


def engine_apart(batch: int, seconds: float) -> float:
    """:func:`engine_loop` in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--engine-loop", str(batch), "--seconds", str(seconds)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(done.stdout.split()[-1])


async def mixture(url: str, bodies: Bodies, clients: int, seconds: float) -> dict[str, int]:
    """Mixed load: cached, fresh, in batches, malformed, looked at."""
    end = time.monotonic() + seconds
    counts: dict[str, int] = {}
    head = {"Content-Type": "application/json"}

    async def one(client: httpx.AsyncClient, rng: np.random.Generator) -> None:
        while time.monotonic() < end:
            kind = rng.choice(["cached", "fresh", "batch", "bad", "models"],
                              p=[0.45, 0.4, 0.05, 0.05, 0.05])  # fmt: skip
            try:
                if kind == "models":
                    found = await client.get("/api/v2/models")
                else:
                    body = {"cached": bodies.cached, "fresh": bodies.fresh,
                            "batch": lambda: bodies.batch(4),
                            "bad": lambda: bodies.fresh()[:-40]}[kind]()  # fmt: skip
                    path = "/api/v2/inference/batch" if kind == "batch" else URL
                    found = await client.post(path, content=body, headers=head)
                told = str(found.status_code)
            except httpx.HTTPError as error:
                told = type(error).__name__
            counts[f"{kind} {told}"] = counts.get(f"{kind} {told}", 0) + 1

    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as client:
        await asyncio.gather(*(one(client, np.random.default_rng(i)) for i in range(clients)))
    return counts


async def memory(url: str, pid: int, bodies: Bodies, minutes: float) -> dict[str, object]:
    """Resident memory of the server under mixed load, and its trend after the first third."""
    samples: list[tuple[float, float]] = []
    start = time.monotonic()

    async def sample() -> None:
        while True:
            text = Path(f"/proc/{pid}/status").read_text()
            kib = int(re.search(r"VmRSS:\s+(\d+)", text)[1])
            samples.append((time.monotonic() - start, kib / 1024))
            await asyncio.sleep(max(1.0, minutes * 0.6))

    sampler = asyncio.create_task(sample())
    counts = await mixture(url, bodies, 8, minutes * 60)
    sampler.cancel()
    moments, sizes = np.array(samples).T
    late = moments > moments[-1] / 3
    slope, _ = np.polyfit(moments[late] / 3600, sizes[late], 1)
    return {
        "minutes": minutes,
        "rss_mb": {"first": sizes[0], "after_third": sizes[late][0], "last": sizes[-1],
                   "most": sizes.max()},
        "trend_mb_per_hour": slope,
        "answers": dict(sorted(counts.items())),
    }  # fmt: skip


def measure(parts: list[str], seconds: float, minutes: float) -> dict[str, object]:
    """All figures that were asked for."""
    bodies, found = Bodies(), {}
    if "throughput" in parts:
        found["engine_galaxies_per_s"] = engine_apart(largest_batch(), seconds)
    if {"cached", "low", "throughput", "overload"} & set(parts):
        with serving() as (url, _):
            if "cached" in parts:
                found["cached"] = sequential(url, bodies.cached, 200)
            if "low" in parts:
                # Warm: the engine records what it has been asked often.
                found["uncached_low_load"] = sequential(url, bodies.fresh, 60, warm=80)
            if {"throughput", "overload"} & set(parts):
                found["throughput"] = throughput(url, bodies, CLIENTS, seconds)
            if "overload" in parts:
                found["overload_polite"] = throughput(url, bodies, CROWD, seconds)
                found["overload_rude"] = throughput(url, bodies, CROWD, seconds, polite=False)
    if "single" in parts:
        with serving(ACIE_INFERENCE__MAX_BATCH="1") as (url, _):
            found["batch_size_1"] = throughput(url, bodies, CLIENTS, seconds)
    if "memory" in parts and minutes > 0:
        with serving() as (url, pid):
            found["memory"] = asyncio.run(memory(url, pid, bodies, minutes))
    return found | {"summary": summary(found)}


def summary(found: dict) -> dict[str, str]:
    """The figures beside what they must reach."""
    lines = {}
    if "cached" in found:
        lines["cached p50"] = f"{found['cached']['p50_ms']:.2f} ms (below 5)"
    if "uncached_low_load" in found:
        lines["uncached p50, one client"] = (
            f"{found['uncached_low_load']['p50_ms']:.1f} ms (below 60)"
        )
    best = found.get("throughput", {}).get("galaxies_per_s")
    if best and "engine_galaxies_per_s" in found:
        engine = found["engine_galaxies_per_s"]
        lines[f"served, {CLIENTS} clients"] = (
            f"{best:.1f} galaxies/s, {best / engine:.0%} of the engine's {engine:.1f} (80 %)"
        )
    if best and "batch_size_1" in found:
        lines["micro-batching against batch size 1"] = (
            f"{best / found['batch_size_1']['galaxies_per_s']:.2f} times (above 1)"
        )
    for kind in ("polite", "rude"):
        own = found.get(f"overload_{kind}")
        if own and best:
            lines[f"overload, {CROWD} {kind} clients"] = (
                f"{own['galaxies_per_s'] / best:.0%} of that throughput (80 %), refused "
                f"{own['statuses'] or 'nobody'}, "
                f"{'all' if own['refused_properly'] else 'NOT all'} with 429 or 503 and "
                f"Retry-After, {own['hung_or_broken']} hung"
            )
    if "memory" in found:
        own = found["memory"]
        sizes = own["rss_mb"]
        lines[f"memory over {own['minutes']:g} minutes"] = (
            f"{sizes['after_third']:.0f} MB after a third, {sizes['last']:.0f} at the end, trend "
            f"{own['trend_mb_per_hour']:+.0f} MB per hour"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--seconds", type=float, default=20.0, help="of every load")
    parser.add_argument("--minutes", type=float, default=0.0, help="of mixed load for memory")
    parser.add_argument("--json", action="store_true", help="all figures as JSON")
    parser.add_argument("--engine-loop", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    # Whoever stops the benchmark stops its server too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.engine_loop:
        print(engine_loop(options.engine_loop, options.seconds))
        return
    parts = options.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if parts == ["memory"] and options.minutes <= 0:
        parser.error("--only memory needs --minutes")
    found = measure(parts, options.seconds, options.minutes)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for name, text in found["summary"].items():
        print(f"{name}: {text}")


if __name__ == "__main__":
    main()
