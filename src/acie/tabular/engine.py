"""Causal questions about rows of a catalogue: abduction, action, prediction.

Axes are ``(sample, row)``; the sample axis has length 1 where all draws agree. A complete row of
continuous variables fixes its noise exactly; discrete values and missing ones leave it a law, from
which draws are taken.
"""

__all__ = ["TabularAbduction", "TabularEngine", "TabularPosterior", "TabularResult"]

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from acie.errors import ConflictingInterventions
from acie.io import Catalogue
from acie.results import QualityFlag
from acie.scm import AbstractDrawnMechanism, Intervention, describe
from acie.tabular.bundle import TabularBundle
from acie.tabular.columns import encode
from acie.tabular.missing import complete_rows
from acie.tabular.questions import describe_labelled, parse_labelled

_LOW_CONFIDENCE = 0.01
Table = Catalogue | Mapping[str, Any]


@dataclass(frozen=True)
class TabularPosterior:
    """Draws of the state of every row; observed values are the same in all of them.

    Arguments:
        values: Every variable, each ``(sample, row)``.
        confidence: Effective share of the draws, ``(row,)``; 1 for a complete row, whose state is
            known exactly.
        quality: Bits of :class:`~acie.QualityFlag`, ``(row,)``.
    """

    values: dict[str, Tensor]
    confidence: Tensor
    quality: Tensor


@dataclass(frozen=True)
class TabularAbduction:
    """What the rows say about the exogenous noise.

    Arguments:
        posterior: The draws.
        noise: Noise behind each draw, ``(sample, row)``, with a last axis for categories.
    """

    posterior: TabularPosterior
    noise: dict[str, Tensor]


@dataclass(frozen=True)
class TabularResult:
    """Factual and counterfactual rows that share all exogenous noise.

    Arguments:
        abduction: The factual draws and their noise.
        actions: The interventions as text.
        values: Every variable in the counterfactual world, each ``(sample, row)``; NaN in draws
            that the actions leave no allowed value.
        flags: Bits of :class:`~acie.QualityFlag` that the counterfactual world adds, ``(row,)``.
    """

    abduction: TabularAbduction
    actions: tuple[str, ...]
    values: dict[str, Tensor]
    flags: Tensor

    @property
    def confidence(self) -> Tensor:
        """See :class:`TabularPosterior`."""
        return self.abduction.posterior.confidence

    @property
    def quality(self) -> Tensor:
        """Bits of :class:`~acie.QualityFlag`, ``(row,)``."""
        return self.abduction.posterior.quality | self.flags

    def effect(self, name: str) -> Tensor:
        """Counterfactual minus factual value, ``(sample, row)``."""
        return self.values[name] - self.abduction.posterior.values[name]


class TabularEngine:
    """Answers causal questions about rows of a catalogue.

    Arguments:
        bundle: A learned model.
    """

    def __init__(self, bundle: TabularBundle) -> None:
        self.bundle = bundle
        self.scm = bundle.scm

    @classmethod
    def load(cls, path: str | Path) -> "TabularEngine":
        """The engine of a bundle folder."""
        return cls(TabularBundle.load(path))

    # -- step 1: abduction --------------------------------------------------------------------

    @torch.no_grad()
    def infer(
        self, table: Table, num_samples: int = 256, generator: torch.Generator | None = None
    ) -> TabularPosterior:
        """The state of every row; missing values are drawn given all that is known.

        Arguments:
            table: A catalogue, or columns by name.
            num_samples: Draws per row.
            generator: Source of all randomness; seed 0 when left out.
        """
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        values = encode(self.bundle.spec, self.scm.variables, _catalogue(table))
        drawn, confidence = complete_rows(self.scm, values, num_samples, generator)
        quality = (confidence < _LOW_CONFIDENCE).long() * int(QualityFlag.LOW_CONFIDENCE)
        quality |= self._outside(values) * int(QualityFlag.OUT_OF_DISTRIBUTION)
        return TabularPosterior(drawn, confidence, quality)

    def missing(self, table: Table) -> dict[str, Tensor]:
        """Where the value of a variable is missing, each ``(row,)``."""
        values = encode(self.bundle.spec, self.scm.variables, _catalogue(table))
        return {name: value.isnan() for name, value in values.items()}

    def abduct(
        self, table: Table, num_samples: int = 256, generator: torch.Generator | None = None
    ) -> TabularAbduction:
        """The draws inverted to exogenous noise; arguments as of :meth:`infer`."""
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        posterior = self.infer(table, num_samples, generator)
        values = posterior.values
        with torch.no_grad():
            noise = self.scm.abduct(values, generator)
            for name, mechanism in self.scm.mechanisms.items():
                if isinstance(mechanism, AbstractDrawnMechanism):
                    # A discrete value leaves its noise a law: as many draws as were asked for.
                    value = values[name].expand(num_samples, -1)
                    parents = {parent: values[parent] for parent in self.scm.graph.parents(name)}
                    noise[name] = mechanism.abduct(value, parents, generator)
        return TabularAbduction(posterior, noise)

    # -- step 2: action -----------------------------------------------------------------------

    def act(self, do: Any) -> dict[str, Intervention]:
        """Interventions from text, JSON, a mapping, or a list of these, checked.

        Categories may be given by their label: ``morphology=spiral``.
        """
        return parse_labelled(do, self.scm.variables, self.scm.aliases)

    def check_hold(self, actions: Mapping[str, Intervention], hold: Iterable[str]) -> list[str]:
        """Names of held variables with aliases resolved.

        Raises:
            UnknownVariable: A name that the model does not have.
            ConflictingInterventions: A held variable is acted on.
        """
        names = [self.scm.graph.require(self.scm.aliases.get(name, name)) for name in hold]
        for name in names:
            if name in actions:
                raise ConflictingInterventions(
                    f"hold {name}", expected="variables that are not acted on",
                    found=describe(actions[name], name), remedy="Drop the action or the hold.",
                )  # fmt: skip
        return names

    # -- step 3: prediction -------------------------------------------------------------------

    @torch.no_grad()
    def predict(
        self,
        abduction: TabularAbduction,
        actions: Mapping[str, Intervention],
        hold: Iterable[str] = (),
    ) -> TabularResult:
        """The counterfactual rows with the same noise.

        Raises:
            OutsideSupport: An action has no allowed value in most draws of some row.
        """
        factual = abduction.posterior.values
        names = self.check_hold(actions, hold)
        values = self.scm.predict(abduction.noise, factual, actions, names, strict=False)
        possible = torch.stack(
            torch.broadcast_tensors(*(~value.isnan() for value in values.values()))
        ).all(0)
        if bool((possible.double().mean(0) < 0.5).any()):
            # Most draws speak against the question: say why.
            self.scm.predict(abduction.noise, factual, actions, names)
        flags = (~possible.all(0)).long() * int(QualityFlag.PARTIAL)
        moved = {n: v.nanmean(0) for n, v in values.items() if v is not factual[n]}
        flags |= self._outside(moved) * int(QualityFlag.EXTRAPOLATED)
        text = tuple(
            describe_labelled(action, self.scm.variables[name]) for name, action in actions.items()
        )
        return TabularResult(abduction, text, values, flags)

    def counterfactual(
        self,
        table: Table,
        do: Any,
        hold: Iterable[str] = (),
        num_samples: int = 256,
        generator: torch.Generator | None = None,
    ) -> TabularResult:
        """Abduction, action and prediction in one call.

        Arguments:
            table: A catalogue, or columns by name.
            do: Interventions, for example ``"stellar_mass*=1.5"``.
            hold: Descendants that keep their factual value (path-specific effects).
            num_samples: Draws per row.
            generator: Source of all randomness; seed 0 when left out.
        """
        actions = self.act(do)
        self.check_hold(actions, hold)
        return self.predict(self.abduct(table, num_samples, generator), actions, hold)

    def effect(self, table: Table, do: Any, name: str, **options: Any) -> Tensor:
        """Counterfactual minus factual value of a variable, ``(sample, row)``."""
        name = self.scm.graph.require(self.scm.aliases.get(name, name))
        return self.counterfactual(table, do, **options).effect(name)

    def _outside(self, values: Mapping[str, Tensor]) -> Tensor:
        """1 where a continuous variable is beyond what the model was trained on, ``(row,)``."""
        first = next(iter(values.values()), None)
        rows = 1 if first is None else first.shape[-1]
        outside = torch.zeros(rows, dtype=torch.bool)
        for name, (low, high) in self.bundle.ranges.items():
            if name in values:
                outside = outside | (values[name] < low) | (values[name] > high)
        return outside.long()


def _catalogue(table: Table) -> Catalogue:
    if isinstance(table, Catalogue):
        return table
    columns = {}
    for name, values in table.items():
        array = np.atleast_1d(np.asarray(values))
        if array.dtype.kind in "fiub":
            array = array.astype(np.float64)
        elif array.dtype.kind != "O":
            array = array.astype(object)
        columns[str(name)] = array
    return Catalogue(columns)
