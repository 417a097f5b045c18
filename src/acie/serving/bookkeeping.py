"""What the log of inferences is told about a question."""

__all__ = ["Bookkeeper", "Entry"]

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch

from acie.results import QualityFlag
from acie.scm import Intervention, describe
from acie.serving.metrics import Meters
from acie.serving.query import Answer, Query, StateSummary
from acie.serving.registry import LoadedModel
from acie.serving.request import current_request
from acie.serving.storage import InferenceRecord, made_now, observation_payload


class _Checked(Protocol):
    """A question that was found askable."""

    model: LoadedModel
    actions: dict[str, Intervention]
    hold: tuple[str, ...]
    samples: int


class _Journal(Protocol):
    def record(self, entry: InferenceRecord) -> bool:
        """Take a record without waiting."""


@dataclass
class Entry:
    """One question while it is answered; the service fills in what it finds out.

    Arguments:
        query: The question.
        started: On the clock of :func:`time.perf_counter`.
        task: The checked question.
        digest: Of the observation.
        answer: The answer.
    """

    query: Query
    started: float = field(default_factory=time.perf_counter)
    task: _Checked | None = None
    digest: str = ""
    answer: Answer | None = None


class Bookkeeper:
    """Makes a record of every question, answered or not.

    Arguments:
        journal: Takes the records; without it nothing is done.
        keep_observations: Whether the pixels are kept.
        meters: Count the questions.
    """

    def __init__(
        self,
        journal: _Journal | None = None,
        keep_observations: bool = False,
        meters: Meters | None = None,
    ) -> None:
        self._journal, self._keep, self._meters = journal, keep_observations, meters
        self._gpu = torch.cuda.is_available()

    @contextlib.contextmanager
    def entry(self, query: Query) -> Iterator[Entry]:
        """An entry that is recorded when the block ends, whichever way."""
        entry = Entry(query)
        error = None
        try:
            yield entry
        except BaseException as raised:  # a caller who went away has asked too
            error = raised
            raise
        finally:
            if self._meters is not None:
                model = entry.task.model.name if entry.task is not None else ""
                seconds = time.perf_counter() - entry.started
                self._meters.question(current_request(), model, seconds, entry.answer, error)
            if self._journal is not None:
                self._journal.record(self._record(entry, error))

    def _record(self, entry: Entry, error: BaseException | None) -> InferenceRecord:
        request, query, answer = current_request(), entry.query, entry.answer
        model = entry.task.model.identity if entry.task is not None else {}
        payload = observation_payload(query.observation) if self._keep else None
        return InferenceRecord(
            **made_now(),
            request_id=request.request_id,
            principal=f"{request.principal.kind}:{request.principal.name}",
            transport=request.transport,
            model_name=model.get("name", ""),
            model_version=model.get("version", ""),
            model_digest=model.get("digest", ""),
            observation_digest=entry.digest,
            observation=payload,
            latency_ms=(time.perf_counter() - entry.started) * 1e3,
            status="ok" if error is None else "error",
            error=None if error is None else type(error).__name__,
            seed=query.seed,
            gpu_memory_bytes=torch.cuda.max_memory_allocated() if self._gpu else None,
            **_asked(entry.task, query),
            **({} if answer is None else _answered(answer)),
        )


def _asked(task: _Checked | None, query: Query) -> dict[str, object]:
    """The question as it was understood; as it was put, where it was not."""
    if task is None:
        put = query.intervention
        intervention = "; ".join(map(str, put)) if isinstance(put, list) else str(put)
        hold, samples = query.hold, query.samples
    else:
        described = (describe(action, name) for name, action in task.actions.items())
        intervention, hold, samples = "; ".join(described), task.hold, task.samples
    # A number of draws that was refused may be too large for a column.
    samples = samples if samples is None or abs(samples) < 2**31 else None
    return {"intervention": intervention, "hold": ",".join(hold), "samples": samples}


def _answered(answer: Answer) -> dict[str, object]:
    return {
        "redshift": answer.redshift,
        "summary": {
            "latent": _medians(answer.latent),
            "counterfactual": _medians(answer.counterfactual_latent),
        },
        "confidence": answer.confidence,
        "quality": sum(int(QualityFlag[name]) for name in answer.quality),
        "cached": answer.cached,
    }


def _medians(states: Mapping[str, StateSummary]) -> dict[str, float]:
    return {name: float(state["median"]) for name, state in states.items()}
