"""The answer to one shard: a table with one row per row of the shard. No cluster is needed for it.

Galaxies are answered in blocks of neighbouring rows. A block has a random stream of its own, named
after the shard and its first row, so an answer depends neither on which worker gave it nor on how
many there are.
"""

__all__ = ["Question", "answer_shard", "block_rows"]

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from acie.engine import CounterfactualEngine
from acie.errors import ACIEError
from acie.io import SpectraShard
from acie.observation import WAVELENGTH, Observation
from acie.quantiles import quantiles
from acie.redshift import RedshiftScanner, settle_redshift
from acie.results import CounterfactualResult
from acie.seeds import SeedStream

_LEVELS = (0.16, 0.5, 0.84)
_STATISTICS = ("p16", "median", "p84", "sd")
#: Draws of a block: large enough that a block is fast, small enough that it needs little memory.
_BLOCK_DRAWS = 2048


@dataclass(frozen=True)
class Question:
    """What is asked of every galaxy of a catalogue.

    Arguments:
        do: Interventions, as text.
        hold: Descendants that keep their factual value.
        samples: Draws per galaxy.
        seed: Seed of everything random.
        model: Name or folder of a model.
        redshift: In place of the file's; NaN has it estimated.
        spectra: Whether the counterfactual spectra are kept.
    """

    do: tuple[str, ...] = ()
    hold: tuple[str, ...] = ()
    samples: int = 256
    seed: int = 0
    model: str = "galaxy-v1"
    redshift: float | None = None
    spectra: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain data; all of it decides what the answers are."""
        table = asdict(self) | {"do": list(self.do), "hold": list(self.hold)}
        if self.redshift is not None and math.isnan(self.redshift):
            table["redshift"] = "estimate"
        return table


def block_rows(samples: int) -> int:
    """Rows that are answered together."""
    return max(1, _BLOCK_DRAWS // samples)


def answer_shard(
    engine: CounterfactualEngine, shard: SpectraShard, key: str, question: Question
) -> dict[str, Any]:
    """Answer every row of a shard; those that cannot be answered say why.

    Arguments:
        engine: Answers.
        shard: The spectra.
        key: Name of the shard, which decides on its random streams.
        question: What is asked.

    Returns:
        Columns: ``id``, ``row``, ``redshift``, ``confidence``, ``quality`` (bits of
        :class:`~acie.QualityFlag`), ``flags`` (their names, or ``REFUSED``), ``reason`` (of a
        refusal), and of every variable ``median``, ``sd``, ``p16`` and ``p84`` in the factual
        and the counterfactual world and of the effect; with spectra ``counterfactual_flux`` (mean
        of the draws) with ``_p16`` and ``_p84``, each ``(row, wave)``, NaN where masked.
    """
    columns = _Columns(engine, len(shard), question.spectra)
    scanner = None if question.redshift is None else RedshiftScanner(engine.bundle.encoder)
    size, stream = block_rows(question.samples), SeedStream(question.seed)
    for start in range(0, len(shard), size):
        rows: list[int] = []
        observations: list[Observation] = []
        for row in range(start, min(start + size, len(shard))):
            try:
                observation = _usable(engine, shard.row(row), question, scanner)
            except ACIEError as error:
                columns.refuse(row, shard.ids[row], error)
                continue
            rows.append(row)
            observations.append(observation)
        ask = _asker(engine, question, lambda name: stream.generator(f"{key}:{name}"))
        for answered, result in _answers(ask, start, rows, observations):
            if isinstance(result, ACIEError):
                columns.refuse(answered[0], shard.ids[answered[0]], result)
            else:
                columns.fill(answered, result)
    return columns.table


def _usable(
    engine: CounterfactualEngine,
    observation: Observation,
    question: Question,
    scanner: RedshiftScanner | None,
) -> Observation:
    """An observation that the model covers, with the redshift that is asked for."""
    if scanner is not None:
        given = torch.full_like(observation.redshift, question.redshift)
        observation = replace(observation, redshift=given)
        if math.isnan(question.redshift):
            observation, _ = settle_redshift(observation, scanner)
    engine.check_redshift(observation.redshift)
    return observation


def _asker(
    engine: CounterfactualEngine, question: Question, generator: Callable[[int], torch.Generator]
) -> Callable[[Observation, int], CounterfactualResult]:
    def ask(observation: Observation, name: int) -> CounterfactualResult:
        return engine.counterfactual(
            observation, list(question.do), question.hold, question.samples, generator(name)
        )

    return ask


def _answers(
    ask: Callable[[Observation, int], CounterfactualResult],
    start: int,
    rows: list[int],
    observations: list[Observation],
) -> Iterator[tuple[list[int], CounterfactualResult | ACIEError]]:
    """The answer to a block or, where one of its galaxies has none, to each of them alone."""
    if not rows:
        return
    try:
        yield rows, ask(Observation.stack(observations), start)
        return
    except ACIEError as error:
        if len(rows) == 1:
            yield rows, error
            return
    for row, observation in zip(rows, observations, strict=True):
        try:
            yield [row], ask(observation, row)
        except ACIEError as error:
            yield [row], error


class _Columns:
    """The table, filled row by row."""

    def __init__(self, engine: CounterfactualEngine, count: int, spectra: bool) -> None:
        self._names = [name for name in engine.scm.variables if name != "redshift"]
        self.table: dict[str, Any] = {
            "id": [""] * count,
            "row": np.arange(count),
            "redshift": np.full(count, np.nan),
            "confidence": np.full(count, np.nan),
            "quality": np.zeros(count, dtype=np.int64),
            "flags": [""] * count,
            "reason": [None] * count,
        }
        for world in ("", "counterfactual_", "effect_"):
            for name in self._names:
                for statistic in _STATISTICS:
                    self.table[f"{world}{name}_{statistic}"] = np.full(count, np.nan)
        self._bands = ("", "_p16", "_p84") if spectra else ()
        for band in self._bands:
            self.table[f"counterfactual_flux{band}"] = np.full(
                (count, WAVELENGTH.size), np.nan, np.float32
            )

    def refuse(self, row: int, name: str, error: ACIEError) -> None:
        """A row without an answer."""
        self.table["id"][row] = name
        self.table["flags"][row] = "REFUSED"
        self.table["reason"][row] = f"{type(error).__name__}: {error}"

    def fill(self, rows: list[int], result: CounterfactualResult) -> None:
        """Rows of a block."""
        table, observation = self.table, result.observation
        for galaxy, (row, quality) in enumerate(zip(rows, result.quality, strict=True)):
            table["id"][row] = observation.names[galaxy]
            table["flags"][row] = ",".join(quality.names)
            table["quality"][row] = int(quality)
        table["redshift"][rows] = observation.redshift.numpy()
        table["confidence"][rows] = result.confidence.numpy()
        factual = result.abduction.posterior.values
        for name in self._names:
            after, before = result.values[name].double(), factual[name].double()
            effect = after - before
            worlds = {"": before, "counterfactual_": after, "effect_": effect}
            for world, draws in worlds.items():
                self._summarise(f"{world}{name}", rows, draws, result.effective_draws)
        if self._bands:
            self._spectra(rows, result)

    def _summarise(self, name: str, rows: list[int], draws: Tensor, effective: Tensor) -> None:
        low, middle, high = quantiles(draws, _LEVELS, effective).numpy()
        found = (low, middle, high, draws.std(0).numpy())
        for statistic, values in zip(_STATISTICS, found, strict=True):
            self.table[f"{name}_{statistic}"][rows] = values

    def _spectra(self, rows: list[int], result: CounterfactualResult) -> None:
        flux, good = result.observation.flux.double(), result.observation.ivar > 0
        for galaxy, row in enumerate(rows):
            change = result.change[:, galaxy].double()
            low, high = quantiles(change, (0.16, 0.84), result.effective_draws[galaxy])
            for band, moved in zip(self._bands, (change.mean(0), low, high), strict=True):
                pixels = torch.where(good[galaxy], flux[galaxy] + moved, torch.nan)
                self.table[f"counterfactual_flux{band}"][row] = pixels.float().numpy()
