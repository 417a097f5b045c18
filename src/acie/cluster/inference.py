"""A catalogue through Ray Data: shards in, one file of answers per shard out.

What flows through Ray Data is the name of a shard; the actor that takes it reads the file, writes
the answers and returns a record. So spectra never pass through the object store, a shard is
answered by one actor, which is what makes one output per input possible without a shuffle, and
the memory of an actor is that of one shard and one block of it. Ray Data hands a shard to an actor
when it is free, restarts an actor that died, and gives its shard out again: outputs are written
aside and renamed, so a shard that was begun twice is there once.
"""

__all__ = ["Outcome", "infer_catalogue"]

import json
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import acie
from acie.cluster.answers import Question, answer_shard
from acie.cluster.catalogue import Shard
from acie.cluster.ledger import Ledger
from acie.cluster.session import cluster_cpus, ray_session
from acie.errors import ACIEError, ClusterError, ConfigurationError, IncompatibleBundle
from acie.manifest import sha256

#: How many workers may die of a shard, for want of memory for example. Ray itself would give it
#: out for ever, as it does with everything that a dead actor had.
_TRIES = 4


@dataclass
class Outcome:
    """What became of a catalogue.

    Arguments:
        records: Of the shards of this run, as in the manifest.
        kept: Shards that were finished before.
        seconds: From the first shard given out to the last record; Ray's start is not in it.
    """

    records: list[dict[str, Any]] = field(default_factory=list)
    kept: int = 0
    seconds: float = 0.0

    @property
    def failed(self) -> list[dict[str, Any]]:
        """Records of shards without answers."""
        return [record for record in self.records if record["status"] == "failed"]

    def total(self, name: str) -> int:
        """Sum of a number of the records, such as ``rows`` or ``refused``."""
        return sum(record.get(name, 0) for record in self.records)


def infer_catalogue(
    shards: Sequence[Shard],
    out: Path,
    question: Question,
    *,
    address: str | None = None,
    workers: int | None = None,
    progress: Callable[[dict[str, Any]], None] = lambda record: None,
) -> Outcome:
    """Answer the shards of a catalogue that are not answered yet.

    Arguments:
        shards: See :func:`~acie.cluster.find_shards`.
        out: Folder of the answers and of their manifest; on a cluster, one that all machines see.
        question: What is asked of every galaxy.
        address: Of a Ray cluster; a local Ray is started when left out.
        workers: Actors, each on one processor; all processors when left out.
        progress: Called with the record of each shard when it is done.

    Raises:
        ACIEError: A question that cannot be asked, of this model or in this folder; a cluster that
            cannot be reached or is too small.
    """
    engine = acie.load(question.model)
    # A question that cannot be asked is refused once, before any file is read.
    engine.check_hold(engine.act(list(question.do)), question.hold)
    digest = engine.bundle.digest
    del engine
    facts = {"question": question.to_json(), "model_digest": digest}
    with Ledger(out.absolute(), facts) as ledger:
        # Hashing leaves the interpreter to others, so threads read several files at once.
        with ThreadPoolExecutor(8) as pool:
            finished = list(pool.map(ledger.is_finished, shards))
        waiting = [s for s, done in zip(shards, finished, strict=True) if not done]
        outcome = Outcome(kept=len(shards) - len(waiting))
        if waiting:
            _tidy(ledger.folder)
            with ray_session(address, workers) as ray:
                start = time.perf_counter()
                arguments = (waiting, ledger.folder, question, digest, workers)
                remote = (address or "").startswith("ray://")
                for record in _from_afar(ray, arguments) if remote else _records(*arguments):
                    ledger.add(record)
                    outcome.records.append(record)
                    progress(record)
                outcome.seconds = time.perf_counter() - start
            _tidy(ledger.folder)
    return outcome


def _from_afar(ray: Any, arguments: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
    """The same through the Ray client, which Ray Data does not know: it runs over there."""
    driver = ray.remote(num_cpus=0)(_Driver).remote(*arguments)
    try:
        while (record := ray.get(driver.next.remote())) is not None:
            yield record
    except ray.exceptions.RayTaskError as error:
        raise error.cause if isinstance(error.cause, ACIEError) else error from None


class _Driver:
    """An actor that hands out records one by one."""

    def __init__(self, *arguments: Any) -> None:
        self._waiting = _records(*arguments)

    def next(self) -> dict[str, Any] | None:
        """The next record; None after the last."""
        return next(self._waiting, None)


def _records(
    shards: Sequence[Shard],
    out: Path,
    question: Question,
    digest: str,
    workers: int | None,
) -> Iterator[dict[str, Any]]:
    """One record per shard, in the order in which they get done."""
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    size = _pool_size(cluster_cpus(ray), workers, len(shards))
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.verbose_progress = False
    # What is lost for a reason of Ray's own is missing below and reported there.
    context.max_errored_blocks = -1
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    tasks = [{"key": shard.key, "path": str(shard.path)} for shard in shards]
    answered = ray.data.from_items(tasks, override_num_blocks=len(tasks)).map_batches(
        _Answerer,
        fn_constructor_kwargs={"out": str(out), "question": question, "digest": digest},
        batch_size=1,
        # One shard at a time each: a queue in front of a slow one would only wait.
        compute=ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=1),
        num_cpus=1,
    )
    missing = {shard.key for shard in shards}
    try:
        for row in answered.iter_rows():
            record = json.loads(row["record"])
            missing.discard(record["shard"])
            yield record
    except (ray.exceptions.RayError, ConnectionError) as error:
        raise ClusterError(
            "Ray", expected="workers that start and stay",
            found=_cause(error), remedy="Started again, the run goes on where it stopped.",
        ) from error  # fmt: skip
    for key in sorted(missing):
        error = ClusterError(
            key, expected="a record", found="that Ray lost it", remedy="Start the run again."
        )
        yield _failure(key, error)


def _pool_size(cpus: int, workers: int | None, shards: int) -> int:
    if workers is not None and workers > cpus:
        # Ray would wait for processors that never come.
        raise ConfigurationError(
            "--workers", expected=f"at most {cpus}, the processors of the cluster",
            found=str(workers), remedy="Leave it out to use all of them.",
        )  # fmt: skip
    return max(1, min(cpus if workers is None else workers, shards))


def _cause(error: BaseException) -> str:
    """The last line of what Ray says, which is the error of the worker."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1].strip()[:300]


def _tidy(folder: Path) -> None:
    """Remove what killed workers have left behind."""
    for pattern in (".*.partial", ".*.tries"):
        for path in folder.rglob(pattern):
            path.unlink(missing_ok=True)


def _failure(key: str, error: Exception) -> dict[str, Any]:
    return {
        "shard": key,
        "status": "failed",
        "error": {"type": type(error).__name__, "message": str(error)},
        "finished": _now(),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class _Answerer:
    """The actor: loads the model once and answers shard after shard.

    Ray Data makes one per processor. The engine works on one thread: more of them would compete
    with the other actors.
    """

    def __init__(self, out: str, question: Question, digest: str) -> None:
        import torch

        from acie.allocator import keep_freed_memory

        keep_freed_memory()
        torch.set_num_threads(1)
        self._out, self._question = Path(out), question
        self._engine = acie.load(question.model)
        if self._engine.bundle.digest != digest:
            raise IncompatibleBundle(
                question.model, expected=f"digest {digest[:12]}... on every machine",
                found=f"{self._engine.bundle.digest[:12]}... on {socket.gethostname()}",
                remedy="Give a folder that all machines see, or install one version everywhere.",
            )  # fmt: skip

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Answer the shard of a batch of one."""
        key, path = str(batch["key"][0]), Path(str(batch["path"][0]))
        output = self._out / f"{key}.parquet"
        output.parent.mkdir(parents=True, exist_ok=True)
        # Its size is the number of workers that have begun with this shard.
        tries = output.with_name(f".{output.name}.tries")
        with tries.open("ab") as file:
            file.write(b".")
        try:
            if tries.stat().st_size > _TRIES:
                raise ClusterError(
                    key, expected="a worker that survives this shard",
                    found=f"{_TRIES} workers that ended while at it",
                    remedy="Most often memory: use smaller shards or fewer workers.",
                )  # fmt: skip
            record = self._answer(key, path, output)
        except Exception as error:  # One shard's error, whatever it is, is not the others'.
            output.unlink(missing_ok=True)
            record = _failure(key, error)
        tries.unlink(missing_ok=True)
        return {"record": [json.dumps(record)]}

    def _answer(self, key: str, path: Path, output: Path) -> dict[str, Any]:
        from acie.io import read_shard, write_arrays

        start = time.perf_counter()
        # Read first: a file that is not there gets the reader's error.
        shard = read_shard(path)
        digest = sha256(path)
        table = answer_shard(self._engine, shard, key, self._question)
        partial = output.with_name(f".{output.name}.{socket.gethostname()}-{os.getpid()}.partial")
        facts = {"shard": key, "input_sha256": digest, "acie_version": acie.__version__}
        write_arrays(table, partial, {"acie": json.dumps(facts)})
        partial.replace(output)
        return {
            "shard": key,
            "status": "finished",
            "input_sha256": digest,
            "output": f"{key}.parquet",
            "output_bytes": output.stat().st_size,
            "rows": len(shard),
            "refused": table["flags"].count("REFUSED"),
            "seconds": round(time.perf_counter() - start, 3),
            "finished": _now(),
            "worker": f"{socket.gethostname()}:{os.getpid()}",
            "resident_mib": _resident_mib(),
            "acie_version": acie.__version__,
        }


def _resident_mib() -> float | None:
    """Memory of this process; None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)
