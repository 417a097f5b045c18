"""A tracked run: what is asked for at the start must work, and nothing later stops the work.

Whoever trains for a day wants to hear of a wrong address in the first second, and does not want to
lose the day to a server that went away. So the start of a run raises, and everything after it
waits in a queue while MLflow does not answer.
"""

__all__ = ["Run", "tracked"]

import collections
import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from acie.errors import TrackingError
from acie.tracking.facts import environment, flat, installed, revision, user
from acie.tracking.settings import TrackingSettings, address, shown
from acie.tracking.store import Store

#: Seconds that a store that failed is left alone.
_REST_S = 30.0
#: Parameters and metrics of one request, and characters of a value, that MLflow takes.
_PARAMETERS, _METRICS, _CHARACTERS = 100, 1000, 6000

log = logging.getLogger("acie.tracking")


class Run:
    """What is noted about a piece of work.

    Arguments:
        store: Where it is noted; None notes nothing.
        id: Identity of the run.
        artifacts: Address of its files.
        strict: Whether a store that fails stops the work.
    """

    def __init__(
        self, store: Store | None = None, id: str = "", artifacts: str = "", strict: bool = False
    ) -> None:
        self._store, self.id, self.artifacts, self._strict = store, id, artifacts, strict
        self._waiting: collections.deque[Callable[[Any], None]] = collections.deque()
        self._rests_until = 0.0

    @property
    def active(self) -> bool:
        """Whether anything is noted at all."""
        return self._store is not None

    def curve(self, values: Mapping[str, float], step: int) -> None:
        """Note numbers that belong to a step, such as a loss and an epoch."""
        self._metrics(values, step)

    def metrics(self, values: Mapping[str, float]) -> None:
        """Note numbers that belong to the run as a whole."""
        self._metrics(values, 0)

    def _metrics(self, values: Mapping[str, float], step: int) -> None:
        if self._store is None or not values:
            return
        made = self._store.metrics({k: float(v) for k, v in values.items()}, step, _now_ms())
        for part in _pieces(made, _METRICS):
            self._do(lambda client, part=part: client.log_batch(self.id, metrics=part))

    def tags(self, values: Mapping[str, str]) -> None:
        """Note texts."""
        for name, value in values.items():
            self._do(lambda client, n=name, v=value: client.set_tag(self.id, n, v))

    def files(self, paths: Iterable[Path], folder: str = "") -> None:
        """Keep files."""
        for path in paths:
            self._do(lambda client, p=str(path): client.log_artifact(self.id, p, folder or None))

    def bundle(self, folder: Path, facts: Mapping[str, str]) -> None:
        """Keep a bundle, as the folder ``bundle``.

        Arguments:
            folder: The bundle.
            facts: Its ``name``, ``version``, ``digest`` and ``manifest``.
        """
        self._do(lambda client: client.log_artifacts(self.id, str(folder), "bundle"))
        # The tag comes last: a run that has it keeps the whole bundle.
        self.model(facts)
        self.tags({"acie.manifest": facts["manifest"]})

    def model(self, facts: Mapping[str, str]) -> None:
        """Note what model the run is about: ``name``, ``version`` and ``digest``."""
        self.tags({"acie.model": f"{facts['name']}@{facts['version']}",
                   "acie.digest": facts["digest"]})  # fmt: skip

    def data(self, name: str, digest: str, source: str) -> None:
        """Note what data went in."""
        if self._store is not None:
            one = self._store.dataset(name, digest, source)
            self._do(lambda client: client.log_inputs(self.id, datasets=[one]))
            self.tags({"acie.data_digest": digest})

    def end(self, status: str) -> None:
        """Note how it ended, and whatever is still waiting; a lasting failure is only logged."""
        self._do(lambda client: client.set_terminated(self.id, status))
        self._rests_until = 0.0
        try:
            self._flush()
        except TrackingError as error:
            log.warning("%d records of run %s are lost: %s", len(self._waiting), self.id, error)

    def _do(self, operation: Callable[[Any], None]) -> None:
        if self._store is None:
            return
        self._waiting.append(operation)
        if time.monotonic() < self._rests_until:
            return
        try:
            self._flush()
        except TrackingError as error:
            if self._strict:
                self._waiting.clear()
                raise
            self._rests_until = time.monotonic() + _REST_S
            log.warning("MLflow fails; the run goes on and notes wait: %s", error)

    def _flush(self) -> None:
        """Do what is waiting, in order; what fails stays."""
        while self._waiting:
            with self._store.asking():
                self._waiting[0](self._store.client)
            self._waiting.popleft()


@contextlib.contextmanager
def tracked(
    kind: str,
    name: str,
    parameters: Mapping[str, Any],
    *,
    wanted: bool | None = None,
    settings: TrackingSettings | None = None,
    device: torch.device | None = None,
    memory: Path | None = None,
    strict: bool = False,
) -> Iterator[Run]:
    """A run for a piece of work.

    Arguments:
        kind: What is done: train, evaluate, benchmark, register.
        name: To what.
        parameters: Its settings, nested ones too.
        wanted: Whether to track; when left out, whether the environment gives an address.
        settings: Where; those of the environment when left out.
        device: What is computed on.
        memory: A file that remembers the run, so that work that was killed goes on with it.
        strict: Whether a store that fails later stops the work.

    Yields:
        The run; one that notes nothing where tracking is not wanted, or in all processes but the
        first of a distributed one.

    Raises:
        RegistryUnreachable: Tracking is wanted and MLflow does not answer.
        TrackingError: It answers and refuses.
        ConfigurationError: It is not installed, or its address is wrong.
    """
    asked = strict or (bool(address()) if wanted is None else wanted)
    if not asked or not (strict or _first_process()):
        yield Run()
        return
    settings = settings or TrackingSettings.read()
    run = _start(Store(settings), kind, name, flat(parameters), device, memory, strict)
    try:
        yield run
    except BaseException as error:
        run.end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    run.end("FINISHED")


def _start(
    store: Store,
    kind: str,
    name: str,
    parameters: dict[str, str],
    device: torch.device | None,
    memory: Path | None,
    strict: bool,
) -> Run:
    """A run that is begun, or gone on with; here every failure is raised."""
    parameters = {k: v[:_CHARACTERS] for k, v in parameters.items()}
    known = _remembered(store, parameters, memory)
    if known is not None:
        run = Run(store, *known, strict)
        with store.asking():
            store.client.update_run(run.id, status="RUNNING")
        return run
    facts = environment(device)
    tags = {
        "mlflow.user": user(),
        "mlflow.source.name": f"acie {kind}",
        "acie.kind": kind,
        **{f"acie.{k}": v for k, v in facts.items() if k != "acie"},
        "acie.version": facts["acie"],
    }
    code = revision()
    if code:
        tags |= {"mlflow.source.git.commit": code["commit"], "acie.git_dirty": code["dirty"]}
    with store.asking():
        made = store.client.create_run(store.experiment, tags=tags, run_name=f"{kind} {name}")
        run = Run(store, made.info.run_id, made.info.artifact_uri, strict)
        for part in _pieces(store.parameters(parameters), _PARAMETERS):
            store.client.log_batch(run.id, params=part)
        # Also a test that files can be stored.
        store.client.log_dict(run.id, facts | code | {"packages": installed()}, "environment.json")
    if memory is not None:
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(json.dumps({"uri": shown(store.settings.uri), "run": run.id}) + "\n")
    return run


def _remembered(
    store: Store, parameters: dict[str, str], memory: Path | None
) -> tuple[str, str] | None:
    """Identity and address of the run that a killed process had begun with the same settings."""
    try:
        facts = json.loads(memory.read_text("utf-8")) if memory is not None else {}
        if facts.get("uri") != shown(store.settings.uri):
            return None
        with store.asking():
            found = store.client.get_run(facts["run"])
    except (OSError, ValueError, KeyError, AttributeError):
        return None
    except TrackingError as error:
        log.info("run %s is gone, a new one begins: %s", facts["run"], error)
        return None
    same = found.data.params == parameters and found.info.lifecycle_stage == "active"
    return (found.info.run_id, found.info.artifact_uri) if same else None


def _first_process() -> bool:
    """Whether this is the process of a distributed one that speaks for all."""
    ranks = ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK")
    return all(os.environ.get(rank, "0") in ("", "0") for rank in ranks)


def _pieces(values: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _now_ms() -> int:
    return int(time.time() * 1e3)
