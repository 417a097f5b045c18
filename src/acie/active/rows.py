r"""Rows of a catalogue to complete: how much their missing values leave open.

The candidates are the rows in which a variable of the model is missing; measuring a row tells all
of its missing values. A row with none has nothing left to measure. Values of a category count as
the vector with a one at its place, so that its variance is :math:`1 - \sum_k p_k^2`.
"""

__all__ = ["RowPool", "RowPoolBuilder"]

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from acie.errors import ConfigurationError
from acie.io import Catalogue
from acie.tabular import TabularAbduction, TabularEngine
from acie.variables import Variable

#: Rows whose properties differ by half a standard deviation of the population, root mean square
#: over the properties, have similarity exp(-1/2).
_LENGTH = 0.5
_PRIOR_DRAWS = 8192
#: Draws that are held at a time, over all rows: some hundred megabytes.
_CHUNK = 1_000_000


@dataclass(frozen=True, eq=False)
class RowPool:
    """Incomplete rows of a catalogue.

    Arguments:
        names: One name per row: file and number, from 0.
        missing: Names of the missing variables of every row.
        variance: Mean over the variables of the variance of the draws, as a share of the
            population's, ``(row,)``.
        means: Mean of the draws in standard deviations of the population, ``(row, feature)``.
        confidence: Effective share of the draws, ``(row,)``.
        quality: Bits of :class:`~acie.QualityFlag`, ``(row,)``.
        effect: Variance of the effect over the draws, ``(row,)``.
    """

    names: tuple[str, ...]
    missing: tuple[tuple[str, ...], ...]
    variance: Tensor
    means: Tensor
    confidence: Tensor
    quality: Tensor
    effect: Tensor | None = None

    @property
    def acquisitions(self) -> tuple[str, ...]:
        """Names of the scores."""
        return ("posterior_variance",) + (() if self.effect is None else ("effect_variance",))

    def __len__(self) -> int:
        return len(self.names)

    def score(self, by: str) -> Tensor:
        """The score of every candidate, ``(candidate,)``."""
        return self.effect if by == "effect_variance" else self.variance

    def similarity(self, index: int) -> Tensor:
        """Gaussian kernel of the distance of posterior means, ``(candidate,)``."""
        distance = (self.means - self.means[index]).square().mean(-1)
        return torch.exp(-0.5 * distance / _LENGTH**2)


@dataclass
class RowPoolBuilder:
    """Collects the incomplete rows of catalogues, keeping no draws.

    Arguments:
        engine: The engine of a learned model.
        do: The action of the effect; none when left out.
        on: The variable whose effect counts.
        samples: Draws per row.

    Raises:
        UnknownVariable: No such variable.
        ConfigurationError: An action without an outcome or the other way round, or an outcome that
            is a category.
    """

    engine: TabularEngine
    do: Sequence[str] = ()
    on: str = ""
    samples: int = 256
    _parts: list[RowPool] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        if bool(self.do) != bool(self.on):
            raise ConfigurationError(
                "effect", expected="an action and an outcome, or neither",
                found="an action" if self.do else "an outcome",
                remedy="For example --do mass+=0.2 --on size.",
            )  # fmt: skip
        scm = self.engine.scm
        self._actions = self.engine.act(list(self.do))
        self._outcome = scm.graph.require(scm.aliases.get(self.on, self.on)) if self.on else ""
        if self.on and scm.variables[self._outcome].kind == "categorical":
            raise ConfigurationError(
                "on", expected="a variable with numbers", found=f"{self.on}, a category",
                remedy="The variance of the effect needs a difference.",
            )  # fmt: skip
        values, _ = scm.sample((_PRIOR_DRAWS,), generator=torch.Generator().manual_seed(0))
        population = self._features(values)
        self._centre, self._blocks = {}, {}
        for name, columns in population.items():
            self._centre[name] = columns.mean(0)
            self._blocks[name] = columns.var(0).sum().clamp(min=1e-300)

    def add(self, catalogue: Catalogue, name: str, generator: torch.Generator) -> None:
        """Add the incomplete rows of a catalogue.

        Raises:
            MalformedCatalogue: A value or a column that the model does not know.
            OutsideSupport: An action has no allowed value in most draws of some row.
        """
        holes = self.engine.missing(catalogue)
        incomplete = torch.stack(list(holes.values())).any(0).nonzero()[:, 0].numpy()
        step = max(1, _CHUNK // self.samples)
        for first in range(0, len(incomplete), step):
            rows = incomplete[first : first + step]
            self._parts.append(self._part(catalogue, rows, holes, name, generator))

    def build(self) -> RowPool:
        """All of them.

        Raises:
            ConfigurationError: No row has anything missing.
        """
        if not self._parts:
            raise ConfigurationError(
                "pool", expected="rows with missing values", found="none: every row is complete",
                remedy="What is measured already needs no choice; leave the values of what could "
                "be measured next empty.",
            )  # fmt: skip

        def joined(key: str) -> Tensor:
            return torch.cat([getattr(part, key) for part in self._parts])

        return RowPool(
            tuple(name for part in self._parts for name in part.names),
            tuple(names for part in self._parts for names in part.missing),
            *(joined(key) for key in ("variance", "means", "confidence", "quality")),
            joined("effect") if self.on else None,
        )  # fmt: skip

    def _part(
        self, catalogue: Catalogue, rows: np.ndarray, holes: dict[str, Tensor], name: str,
        generator: torch.Generator,
    ) -> RowPool:  # fmt: skip
        abduction = self.engine.abduct(catalogue.take(rows), self.samples, generator)
        posterior = abduction.posterior
        shares, means = [], []
        for key, draws in self._features(posterior.values).items():
            scale = self._blocks[key]
            centre = draws.mean(0)
            shares.append((draws - centre).square().mean(0).sum(-1) / scale)
            means.append((centre - self._centre[key]) / scale.sqrt())
        effect, quality = None, posterior.quality
        if self.on:
            effect, flags = self._effect(abduction)
            quality = quality | flags
        missing = tuple(
            tuple(key for key, hole in holes.items() if bool(hole[row])) for row in rows.tolist()
        )
        return RowPool(
            tuple(f"{name}#{row}" for row in rows.tolist()), missing,
            torch.stack(torch.broadcast_tensors(*shares)).mean(0), torch.cat(means, -1),
            posterior.confidence, quality, effect,
        )  # fmt: skip

    def _effect(self, abduction: TabularAbduction) -> tuple[Tensor, Tensor]:
        """Variance over the draws that allow the action, and flags, ``(row,)``."""
        result = self.engine.predict(abduction, self._actions)
        found = result.effect(self._outcome).expand(self.samples, -1)
        known = found.isfinite()
        count = known.sum(0)
        centred = (found - found.nanmean(0)).nan_to_num(nan=0.0)
        return centred.square().sum(0) / (count - 1).clamp(min=1), result.flags

    def _features(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Numbers on their natural scale, categories as unit vectors, ``(..., feature)``."""

        def feature(variable: Variable, value: Tensor) -> Tensor:
            if variable.kind == "categorical":
                return one_hot(value.long(), len(variable.categories)).double()
            return variable.forward(value.double())[..., None]

        return {n: feature(v, values[n]) for n, v in self.engine.scm.variables.items()}
