"""A file of many spectra, answered row by row while the caller watches.

Rows go through the same door as single questions: they are charged, cached, computed together
with those of others, logged and counted. A row that cannot be used, or has no answer, says so and
costs the others nothing. Nothing is kept: who goes away ends it.
"""

__all__ = ["MEASURED", "CatalogueQuestion", "answer_rows", "opened_catalogue"]

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import torch

from acie.errors import ACIEError, CatalogueTooLarge
from acie.io import SpectraShard, read_shard
from acie.observation import WAVELENGTH, Observation
from acie.physics.features import FEATURES
from acie.serving.batching import Overloaded
from acie.serving.query import Answer, Query
from acie.serving.security.refusals import RateLimited
from acie.serving.service import InferenceService
from acie.serving.uploads import received

#: Features measured in both spectra of a row.
MEASURED = ("dn4000", "hdelta_a", "halpha_ew", "oiii_ew")
#: Longest pause before a row is tried again that there was no room or allowance for.
_PAUSE_S = 5.0
#: Patience with one row: nobody waits for it alone, and whoever has left has ended it.
_ROW_S = 600.0


@dataclass(frozen=True)
class CatalogueQuestion:
    """What is asked of every row.

    Arguments:
        intervention: Actions, as text.
        hold: Descendants that keep their factual value.
        samples: Posterior draws.
        model: ``name@version`` of the model, so that a swap does not divide a catalogue.
    """

    intervention: tuple[str, ...]
    hold: tuple[str, ...]
    samples: int
    model: str


def opened_catalogue(name: str, body: bytes, rows: int, numbers: int) -> SpectraShard:
    """The rows of a file that was sent.

    Arguments:
        name: What the sender calls it; rows without names are named after it.
        body: The file.
        rows: Most rows.
        numbers: Most numbers that it may hold, however well it is packed; and most bytes.

    Raises:
        CatalogueTooLarge: It holds more numbers or rows.
        BodyTooLarge: It has more bytes when unpacked.
        DataError: No reader can use it.
    """
    with received(body, name, numbers) as path:
        shard = read_shard(path, numbers)
    if len(shard) > rows:
        raise CatalogueTooLarge(
            "file", expected=f"at most {rows} galaxies", found=f"{len(shard)}",
            remedy="Split it, or use acie infer --ray.",
        )  # fmt: skip
    return shard


async def answer_rows(
    service: InferenceService,
    shard: SpectraShard,
    question: CatalogueQuestion,
    at_once: int,
) -> AsyncIterator[tuple[int, dict[str, Any] | Exception]]:
    """Answers of the rows of a catalogue, in the order in which they are ready.

    Arguments:
        service: Answers.
        shard: The rows.
        question: What is asked.
        at_once: Rows that are in work at a time: who asks one question wants an answer too.

    Yields:
        The number of a row, and its summary or why there is none.
    """
    async def one(row: int) -> tuple[int, dict[str, Any] | Exception]:
        try:
            observation = await asyncio.to_thread(lambda: shard.row(row).batched())
            query = Query(
                observation, list(question.intervention), question.hold, question.samples,
                model=question.model,
            )  # fmt: skip
            answer = await _patiently(service, query)
            return row, await asyncio.to_thread(_summary, observation, answer)
        except ACIEError as error:
            return row, error

    async with aclosing(_bounded(one, len(shard), at_once)) as ready:
        async for found in ready:
            yield found


async def _bounded(work: Callable[[int], Any], count: int, at_once: int) -> AsyncIterator[Any]:
    """Results of ``work(0)`` to ``work(count - 1)``, so many at a time; cancelled when closed."""
    running: set[asyncio.Task[Any]] = set()
    following = iter(range(count))
    try:
        while True:
            while len(running) < at_once and (row := next(following, None)) is not None:
                running.add(asyncio.create_task(work(row)))
            if not running:
                return
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                yield task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _patiently(service: InferenceService, query: Query) -> Answer:
    """The answer to one row; a full queue or a spent allowance is waited for."""
    while True:
        try:
            return await service.answer(query, _ROW_S)
        except (RateLimited, Overloaded) as error:
            await asyncio.sleep(min(max(error.retry_after_s, 0.1), _PAUSE_S))


def _summary(observation: Observation, answer: Answer) -> dict[str, Any]:
    """A row for people: no spectrum, but what a spectrum shows."""
    names = ("p16", "median", "p84")
    worlds = (answer.latent, answer.counterfactual_latent)
    settled = replace(observation, redshift=torch.full_like(observation.redshift, answer.redshift))
    return {
        "redshift": answer.redshift,
        "confidence": answer.confidence,
        "quality": list(answer.quality),
        "state": {
            name: [world[name][key] for world in worlds for key in names]
            for name in answer.latent
        },
        "features": _features(settled, answer),
        "cached": answer.cached,
    }


def _features(observation: Observation, answer: Answer) -> dict[str, list[float | None]]:
    """Features of the observed spectrum and of the median counterfactual one; null where unseen.

    Both have the same noise, so their difference has much less of it than either.
    """
    one = observation.batched()[0]
    stretch = 1.0 + float(one.redshift)
    wave = torch.as_tensor(WAVELENGTH.copy()) / stretch
    width = torch.full_like(wave, 1.0 / stretch)
    light = torch.stack([one.flux.double(), torch.as_tensor(answer.counterfactual.copy())])
    good = (one.ivar > 0).double()
    found = {name: FEATURES[name].of(wave, width, light.double(), good) for name in MEASURED}
    return {
        name: [float(value) if bool(value.isfinite()) else None for value in values]
        for name, values in found.items()
    }
