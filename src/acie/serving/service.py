"""The use cases of the service, whatever transport asks."""

__all__ = ["CheckedQuestion", "InferenceService"]

import asyncio
import collections
import functools
import time
from collections.abc import Awaitable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from acie.errors import ACIEError, ConfigurationError
from acie.figures import counterfactual_band
from acie.observation import Observation
from acie.physics import Sightline
from acie.redshift import settle_redshift
from acie.report import state_summaries
from acie.results import Abduction, CounterfactualResult
from acie.scm import Intervention, describe
from acie.serving.batching import MicroBatcher, TooLate
from acie.serving.bookkeeping import Bookkeeper
from acie.serving.caching import AnswerCache, answer_key, observation_digest
from acie.serving.metrics import Meters
from acie.serving.query import Answer, Query
from acie.serving.registry import LoadedModel, ModelRegistry
from acie.serving.request import RequestContext, current_request
from acie.serving.security import Access
from acie.serving.settings import InferenceSettings
from acie.threads import spread


@dataclass(frozen=True)
class CheckedQuestion:
    """A question that can be asked, without its galaxy.

    Arguments:
        model: What answers.
        actions: By variable.
        hold: Descendants that keep their factual value.
        samples: Posterior draws.
    """

    model: LoadedModel
    actions: dict[str, Intervention]
    hold: tuple[str, ...]
    samples: int


@dataclass(frozen=True)
class _Task:
    """A checked query: what the engine needs."""

    model: LoadedModel
    query: Query
    actions: dict[str, Intervention]
    hold: tuple[str, ...]
    samples: int
    request: RequestContext = field(default_factory=current_request)
    entered: float = field(default_factory=time.perf_counter)

    @property
    def question(self) -> Hashable:
        """Equal for tasks whose counterfactual worlds can be computed together."""
        return tuple(describe(a, n) for n, a in self.actions.items()), self.hold


class InferenceService:
    """Checks questions, computes those that are asked at the same time together.

    Arguments:
        registry: Loaded models.
        settings: Draws and batches.
        access: Knows how much the caller may ask for; without it there is no limit.
        cache: Answers that were computed before; without it every question is computed.
        books: Logs every question.
        meters: Count what the engine does.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        settings: InferenceSettings,
        access: Access | None = None,
        cache: AnswerCache | None = None,
        books: Bookkeeper | None = None,
        meters: Meters | None = None,
    ) -> None:
        self._meters = meters or Meters()
        self._cache, self._books = cache, books or Bookkeeper()
        self.registry, self._settings = registry, settings
        self._charge = access.charge if access is not None else lambda galaxies: None
        # One thread: the engine spreads galaxies over the cores by itself.
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="acie-engine")
        self._batcher: MicroBatcher[_Task, Answer] = MicroBatcher(
            functools.partial(_compute, self._meters), self._executor, settings.max_batch,
            settings.queue, self._meters.batch,
        )  # fmt: skip

    @property
    def queue_depth(self) -> int:
        """Galaxies that wait for the engine."""
        return self._batcher.depth

    def check_room(self) -> None:
        """Refuse while the queue is full: called before a body is read, which costs milliseconds.

        Raises:
            Overloaded: It is.
        """
        self._batcher.check_room()

    @property
    def queue_capacity(self) -> int:
        """Most galaxies that may wait."""
        return self._settings.queue

    async def answer(self, query: Query, timeout_s: float) -> Answer:
        """The answer to one question.

        Raises:
            ACIEError: The question cannot be asked, or not now.
        """
        self._charge(1)
        return await self._answer(query, timeout_s)

    async def _answer(self, query: Query, timeout_s: float) -> Answer:
        deadline = time.monotonic() + timeout_s
        with self._books.entry(query) as entry:
            task = self._check(query)
            entry.digest = observation_digest(query.observation)
            entry.task = task
            entry.answer = await self._known_or_computed(task, entry.digest, deadline)
            return entry.answer

    async def _known_or_computed(self, task: _Task, digest: str, deadline: float) -> Answer:
        """The answer of an equal question, or one of its own."""

        def compute() -> Awaitable[Answer]:
            # A seed promises the same draws again, which company in the batch would change.
            alone = object() if task.query.seed is not None else None
            return self._batcher.submit((task.model.digest, task.samples, alone), task, deadline)

        if self._cache is None:
            return await compute()
        query = task.query
        # Versions may share their weights, and an answer names its version.
        model = "@".join(task.model.identity.values())
        key = answer_key(
            model, digest, task.actions, task.hold, task.samples, query.seed,
            query.check_redshift,
        )  # fmt: skip
        try:
            # The computation may be somebody else's, with a later deadline.
            async with asyncio.timeout(max(deadline - time.monotonic(), 0.0)):
                return await self._cache.get_or_compute(key, compute)
        except TimeoutError:
            raise TooLate(
                "deadline",
                expected="an answer before the deadline",
                found="none",
                remedy="Allow more time, ask for fewer samples, or start more replicas.",
            ) from None

    async def answer_all(
        self, queries: Sequence[Query], timeout_s: float
    ) -> list[Answer | Exception]:
        """Answers or errors, in the order of the questions, all within the time given.

        Raises:
            RateLimited: More than the caller may ask for; nothing is answered then.
        """
        self._charge(len(queries))
        deadline = time.monotonic() + timeout_s
        # One long list must not fill the queue, which would refuse its own end and everybody else.
        room = asyncio.Semaphore(2 * self._settings.max_batch)

        async def one(query: Query) -> Answer | Exception:
            async with room:
                try:
                    return await self._answer(query, deadline - time.monotonic())
                except Exception as error:
                    return error

        return await asyncio.gather(*(one(query) for query in queries))

    async def load(self, source: str, instead_of: LoadedModel | None = None) -> LoadedModel:
        """Load a model, warm it up, then let it answer for its name, or for its predecessor."""
        model = await asyncio.get_running_loop().run_in_executor(
            None, LoadedModel.load, source, self._settings.runtime
        )
        await asyncio.to_thread(self._meters.follow_drift, model)
        self.registry.add(model, instead_of)
        return model

    async def close(self) -> None:
        """Finish what was accepted."""
        await self._batcher.drain()
        self._executor.shutdown()

    def check(
        self, model: str, intervention: Any, hold: Sequence[str], samples: int | None
    ) -> "CheckedQuestion":
        """Refuse a question that no galaxy can be asked, before there is one.

        Arguments:
            model: Name of a loaded model, ``name@version`` or ``latest``.
            intervention: As in a :class:`Query`.
            hold: Descendants that keep their factual value.
            samples: Posterior draws; the default of the service when None.

        Raises:
            UnknownModel: No such model is loaded.
            CausalError: The model does not know what is asked.
            ConfigurationError: Too few or too many draws.
        """
        found = self.registry.find(model)
        samples = self._settings.samples if samples is None else samples
        if not 2 <= samples <= self._settings.max_samples:
            raise ConfigurationError(
                "samples",
                expected=f"2 to {self._settings.max_samples}",
                found=str(samples),
            )
        actions = found.engine.act(intervention)
        held = tuple(found.engine.check_hold(actions, hold))
        return CheckedQuestion(found, actions, held, samples)

    def _check(self, query: Query) -> _Task:
        """Refuse here what would fail later, so that it does not cost others their batch."""
        asked = self.check(query.model, query.intervention, query.hold, query.samples)
        redshift = query.observation.redshift
        if bool(redshift.isfinite().all()):
            asked.model.engine.check_redshift(redshift)
        return _Task(asked.model, query, asked.actions, asked.hold, asked.samples)


def _compute(meters: Meters, key: Hashable, tasks: Sequence[_Task]) -> list[Answer | Exception]:
    """Answers of tasks of one model and number of draws; an error concerns its task only."""
    try:
        return _together(meters, tasks)
    except Exception as error:
        # One bad galaxy fails its whole batch, whatever the reason: find it.
        if len(tasks) == 1:
            return [error]
        return [answer for task in tasks for answer in _compute(meters, key, [task])]


def _settle(task: _Task) -> tuple[Observation, dict[str, float | None] | None]:
    """The observation with a redshift, and the estimate where it had none.

    A scan costs as much as the answer, so a given redshift is only checked on request.
    """
    observation = task.query.observation
    if bool(observation.redshift.isfinite().all()) and not task.query.check_redshift:
        return observation, None
    observation, estimate = settle_redshift(observation, task.model.engine)
    return observation, None if estimate is None else estimate.to_json()


def _together(meters: Meters, tasks: Sequence[_Task]) -> list[Answer | Exception]:
    """One abduction for all tasks, one prediction for every question among them."""
    engine, samples = tasks[0].model.engine, tasks[0].samples
    seed = tasks[0].query.seed
    generator = torch.Generator()
    generator.manual_seed(seed) if seed is not None else generator.seed()
    _mark(tasks, "queue", min(task.entered for task in tasks))
    settled = [_settle(task) for task in tasks]
    batch = Observation.stack([observation for observation, _ in settled])
    begun = time.perf_counter()
    sightlines = engine.sightlines(batch)
    abduction = engine.abduct(batch, samples, generator, sightlines)
    _mark(tasks, "abduct", begun)
    begun = time.perf_counter()
    answers: list[Answer | Exception] = [RuntimeError("not computed")] * len(tasks)
    groups = collections.defaultdict(list)
    for index, task in enumerate(tasks):
        groups[task.question].append(index)
    for index in groups.values():
        found = _worlds(tasks, (batch, abduction, sightlines), index)
        for place, answer in zip(index, found, strict=True):
            answers[place] = answer
    _mark(tasks, "predict", begun)
    meters.posterior(tasks[0].model, abduction.posterior.values, batch.redshift)
    return [
        replace(answer, redshift_estimate=estimate) if isinstance(answer, Answer) else answer
        for answer, (_, estimate) in zip(answers, settled, strict=True)
    ]


def _mark(tasks: Sequence[_Task], stage: str, since: float) -> None:
    """Note a stage that all these requests went through together."""
    for task in tasks:
        task.request.mark(stage, max(since, task.entered))


def _worlds(
    tasks: Sequence[_Task],
    seen: tuple[Observation, Abduction, Sequence[Sightline]],
    index: list[int],
) -> Iterable[Answer | Exception]:
    """Counterfactual worlds of the galaxies ``index``, which all have the same question."""
    batch, abduction, sightlines = seen
    task = tasks[index[0]]
    which = torch.tensor(index)
    try:
        result = task.model.engine.predict(
            batch[which], abduction.galaxies(which), task.actions, task.hold,
            [sightlines[galaxy] for galaxy in index],
        )  # fmt: skip
    except ACIEError as error:
        if len(index) == 1:
            return [error]
        return [a for one in index for a in _worlds(tasks, seen, [one])]
    return spread(lambda place: _answer(tasks[index[place]], result, place), range(len(index)))


def _answer(task: _Task, result: CounterfactualResult, galaxy: int) -> Answer:
    low, middle, high = counterfactual_band(result, galaxy)
    states = state_summaries(result, task.model.engine.scm.variables, galaxy)
    names = list(states["latent_state"])
    return Answer(
        model=task.model.identity,
        redshift=float(result.observation.redshift[galaxy]),
        interventions=result.actions,
        counterfactual=middle,
        counterfactual_p16=low,
        counterfactual_p84=high,
        latent_draws=_draws(result.abduction.posterior.values, names, galaxy),
        counterfactual_draws=_draws(result.values, names, galaxy),
        latent=states["latent_state"],
        counterfactual_latent=states["counterfactual_state"],
        confidence=float(result.confidence[galaxy]),
        quality=result.quality[galaxy].names,
        samples=task.samples,
        seed=task.query.seed,
    )


def _draws(values: Mapping[str, torch.Tensor], names: Sequence[str], galaxy: int) -> np.ndarray:
    """Draws of these variables of one galaxy, one variable after the other."""
    return torch.cat([values[name][:, galaxy] for name in names]).to(torch.float32).numpy()
