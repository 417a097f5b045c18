"""The three steps of a counterfactual: abduction, action, prediction.

This is where inference, the causal model and the physics meet. Axes are ``(sample, batch)`` for
states and ``(sample, batch, wave)`` for spectra.
"""

__all__ = ["CounterfactualEngine"]

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from acie.allocator import large_pages
from acie.bundle import ModelBundle
from acie.distinct import DistinctDraws, Part
from acie.errors import ConflictingInterventions, MissingRedshift
from acie.inference import RefinementConfig
from acie.native import kernels, usable
from acie.observation import Observation
from acie.physics import OBSERVED, Sightline, StellarPopulationModel
from acie.quality import extrapolated, posterior_quality
from acie.redshift import RedshiftEstimate, RedshiftScanner
from acie.refinement import PosteriorRefiner, RefinementModels
from acie.replay import Replay
from acie.results import Abduction, CounterfactualResult, PosteriorSamples, QualityFlag
from acie.scm import (
    Do,
    Intervention,
    Scale,
    Shift,
    describe,
    parse_interventions,
    with_tensors,
)
from acie.simulation import SPECTRAL_NAMES, NoiseModel, build_galaxy_scm
from acie.threads import spread, undivided

_CAUSES = (*SPECTRAL_NAMES, "tau")
#: Spectra computed at a time by one thread.
_ROWS = 64


class CounterfactualEngine:
    """Answers causal questions about observed galaxies.

    Arguments:
        bundle: A trained model.
        noise_model: How measured spectra differ from perfect ones.
        refinement: Draws spent on the exact likelihood; left out, about twice the number asked
            for, and many more on the galaxies that need it.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        noise_model: NoiseModel | None = None,
        refinement: RefinementConfig | None = None,
    ) -> None:
        self.bundle = bundle
        self.physics = StellarPopulationModel(bundle.templates)
        self.scm = build_galaxy_scm(self.physics)
        self.noise_model = NoiseModel() if noise_model is None else noise_model
        self._replay = Replay()
        models = RefinementModels(
            bundle.estimator, self.physics, self.scm, self.noise_model, self._replay
        )
        self._refiner = PosteriorRefiner(models, refinement)
        self._scanner: RedshiftScanner | None = None

    @classmethod
    def load(cls, name_or_path: str | Path = "galaxy-v1") -> "CounterfactualEngine":
        """The engine of a shipped model or of a bundle folder."""
        return cls(ModelBundle.load(name_or_path))

    def estimate_redshift(self, observation: Observation) -> RedshiftEstimate:
        """Redshifts from the spectra alone, with errors and the second-best ones.

        See :class:`acie.redshift.RedshiftScanner`; :func:`acie.redshift.with_redshift` puts them
        into the observation.
        """
        if self._scanner is None:
            self._scanner = RedshiftScanner(self.bundle.encoder)
        return self._scanner(observation)

    def sightlines(self, observation: Observation) -> list[Sightline]:
        """What all spectra of each galaxy share, for :meth:`abduct` and :meth:`predict`.

        Raises:
            MissingRedshift: A redshift is not a number.
            OutsideSupport: A redshift is outside the range of the model.
        """
        self.check_redshift(observation.redshift)
        with torch.inference_mode(), undivided():
            return self.physics.sightlines_of(observation.batched())

    # -- step 1: abduction --------------------------------------------------------------------

    @torch.no_grad()
    @undivided()
    def infer(
        self,
        observation: Observation,
        num_samples: int = 256,
        generator: torch.Generator | None = None,
        sightlines: Sequence[Sightline] | None = None,
    ) -> PosteriorSamples:
        """Posterior of the physical state, refined with the exact likelihood.

        Arguments:
            observation: One galaxy or a batch.
            num_samples: Draws per galaxy.
            generator: Source of all randomness; seed 0 when left out.
            sightlines: From :meth:`sightlines`, to be used again in :meth:`predict`.

        Raises:
            MissingRedshift: A redshift is not a number.
            OutsideSupport: A redshift is outside the range of the model.
        """
        observation = observation.batched()
        self.check_redshift(observation.redshift)
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        encoder = self.bundle.encoder
        encoding = encoder.encode(observation)
        features = encoder.standardise(encoding.features).float()
        refined = self._refiner.run(observation, features, num_samples, generator, sightlines)
        outlier = encoder.misfit_of(encoding).is_outlier
        return PosteriorSamples(
            values=refined.values,
            spectra=refined.spectra,
            confidence=refined.efficiency,
            quality=posterior_quality(observation, refined, outlier, self.noise_model),
            fit=refined.fit,
        )

    def abduct(
        self,
        observation: Observation,
        num_samples: int = 256,
        generator: torch.Generator | None = None,
        sightlines: Sequence[Sightline] | None = None,
    ) -> Abduction:
        """Posterior draws inverted to exogenous noise; the residual of the pixels is noise too."""
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        posterior = self.infer(observation, num_samples, generator, sightlines)
        with undivided():
            with torch.inference_mode():
                exact = self._replay("invert", self.scm.invert, posterior.values)
                noise = self.scm.abduct(posterior.values, generator, exact)
            return Abduction(posterior, _plain(noise), observation.batched().flux)

    # -- step 2: action -----------------------------------------------------------------------

    def act(self, do: Any) -> dict[str, Intervention]:
        """Interventions from text, JSON, a mapping, or a list of these, checked."""
        return parse_interventions(do, self.scm.variables, self.scm.aliases)

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
                    f"hold {name}",
                    expected="variables that are not acted on",
                    found=describe(actions[name], name),
                    remedy="Drop the action or the hold.",
                )
        return names

    # -- step 3: prediction -------------------------------------------------------------------

    @torch.no_grad()
    @undivided()
    def predict(
        self,
        observation: Observation,
        abduction: Abduction,
        actions: Mapping[str, Intervention],
        hold: Iterable[str] = (),
        sightlines: Sequence[Sightline] | None = None,
    ) -> CounterfactualResult:
        """The counterfactual world with the same noise."""
        observation = observation.batched()
        names = self.check_hold(actions, hold)
        abduction, values, partial = self._act(abduction, actions, names)
        factual = abduction.posterior
        if all(values[name] is factual.values[name] for name in _CAUSES):
            # No cause of the spectrum moved: the effect is exactly zero, not zero to rounding.
            change = torch.zeros_like(factual.spectra)
        else:
            sightlines = sightlines or self.physics.sightlines_of(observation)
            change = self._change(values, sightlines, factual.spectra)
        text = tuple(describe(action, name) for name, action in actions.items())
        return CounterfactualResult(
            observation, abduction, text, values, change, extrapolated(values) | partial
        )

    def counterfactual(
        self,
        observation: Observation,
        do: Any,
        hold: Iterable[str] = (),
        num_samples: int = 256,
        generator: torch.Generator | None = None,
    ) -> CounterfactualResult:
        """Abduction, action and prediction in one call.

        Arguments:
            observation: One galaxy or a batch.
            do: Interventions, for example ``{"stellar_mass": acie.Scale(1.5)}`` or
                ``"stellar_mass*=1.5"``.
            hold: Descendants that keep their factual value (path-specific effects).
            num_samples: Draws per galaxy.
            generator: Source of all randomness; seed 0 when left out.
        """
        actions = self.act(do)
        sightlines = self.sightlines(observation)
        abduction = self.abduct(observation, num_samples, generator, sightlines)
        return self.predict(observation, abduction, actions, hold, sightlines)

    def effect(
        self, observation: Observation, do: Any, name: str = "flux", **options: Any
    ) -> Tensor:
        """Counterfactual minus factual of a variable or of ``flux``, per draw."""
        return self.counterfactual(observation, do, **options).effect(name)

    # -- parts --------------------------------------------------------------------------------

    def check_redshift(self, redshift: Tensor) -> None:
        """Refuse redshifts that the model does not cover.

        Raises:
            MissingRedshift: A redshift is not a number.
            OutsideSupport: A redshift is outside the range of the model.
        """
        if not bool(torch.isfinite(redshift).all()):
            raise MissingRedshift(
                "redshift",
                expected="a number for every galaxy",
                found="none",
                remedy="Give it with --redshift Z or redshift=Z to acie.io.read, or estimate it: "
                "--redshift estimate, engine.estimate_redshift.",
            )
        remedy = "This model covers galaxies of that range only."
        self.scm.variables["redshift"].check(redshift, remedy=remedy)

    def _act(
        self, abduction: Abduction, actions: Mapping[str, Intervention], hold: Iterable[str]
    ) -> tuple[Abduction, dict[str, Tensor], Tensor]:
        """Draws for which the actions are possible, their new states, and the flag PARTIAL."""
        factual = abduction.posterior.values
        with torch.inference_mode():
            values = self._predicted(abduction.noise, factual, actions, tuple(hold))
        values = _plain(values)
        possible = torch.stack([~value.isnan() for value in values.values()]).all(0)
        partial = ~possible.all(0)
        if bool(partial.any()):
            if bool((possible.double().mean(0) < 0.5).any()):
                # The posterior itself speaks against the question: say why.
                self.scm.predict(abduction.noise, factual, actions, hold)
            samples = torch.arange(len(possible))
            columns = [torch.nonzero(column)[:, 0] for column in possible.T]
            index = torch.stack([c[samples * len(c) // len(possible)] for c in columns], 1)
            abduction = abduction.take(index)
            kept, galaxy = abduction.posterior.values, torch.arange(index.shape[1])
            values = {
                name: kept[name] if value is factual[name] else value[index, galaxy]
                for name, value in values.items()
            }
        return abduction, values, partial.long() * int(QualityFlag.PARTIAL)

    def _predicted(
        self,
        noise: Mapping[str, Tensor],
        factual: Mapping[str, Tensor],
        actions: Mapping[str, Intervention],
        hold: tuple[str, ...],
    ) -> dict[str, Tensor]:
        """The state after the actions; variables that nothing moves are the very same tensors."""

        def moved(noise: dict, factual: dict, actions: dict) -> dict[str, Tensor]:
            found = self.scm.predict(noise, factual, actions, hold, strict=False)
            return {n: value for n, value in found.items() if value is not factual.get(n)}

        if all(isinstance(action, Do | Shift | Scale) for action in actions.values()):
            # Sizes of actions as tensors: one recording serves all of them.
            sized = {name: with_tensors(action) for name, action in actions.items()}
            found = self._replay(("predict", hold), moved, noise, factual, sized)
        else:
            # Who knows what a function that was given does.
            found = moved(noise, factual, actions)
        return {name: found.get(name, factual.get(name)) for name in self.scm.variables}

    def _change(
        self, values: Mapping[str, Tensor], sightlines: Sequence[Sightline], factual: Tensor
    ) -> Tensor:
        """Model spectra of states minus ``factual``, each ``(sample, batch, wave)``.

        Neighbours that are equal are computed once.
        """
        names = (*_CAUSES, "redshift")
        stacked = torch.stack([values[name] for name in names])
        new = torch.ones(stacked.shape[1:], dtype=torch.bool, device=stacked.device)
        new[1:] = (stacked[:, 1:] != stacked[:, :-1]).any(0)
        draws = DistinctDraws(new)
        causes = draws.take(dict(values), names)
        light = self._replay("light", self.physics.coefficients, causes)
        change = large_pages(torch.empty_like(factual))

        def work(part: Part) -> None:
            galaxy, rows, _ = part
            own = tuple(piece[rows] for piece in light)
            state = {name: causes[name][rows] for name in OBSERVED}
            found = self.physics.observe(own, state, sightlines[galaxy])
            # Each part writes its own samples: up to the first of the next part.
            place = draws.place[:, galaxy] - rows.start
            first, last = torch.searchsorted(place, torch.tensor([0, len(found)])).tolist()
            samples = slice(first, last)
            _subtract(found, place[samples], factual[samples, galaxy], change[samples, galaxy])

        spread(work, draws.parts(_ROWS))
        return change


def _subtract(found: Tensor, place: Tensor, other: Tensor, out: Tensor) -> None:
    """``out = found[place] - other``, each ``(row, wave)`` and ``place`` ``(row,)``."""
    rows = other.stride(-1) == out.stride(-1) == 1 and other.stride(0) == out.stride(0)
    if not (rows and found.is_contiguous() and usable(found, other, out)):
        torch.sub(found[place], other, out=out)
        return
    place = place.contiguous()
    kernels.difference(
        *out.shape, place.data_ptr(), found.data_ptr(), other.data_ptr(), out.stride(0),
        out.data_ptr(),
    )  # fmt: skip


def _plain(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same values as tensors that may take part in later differentiation."""
    return {
        name: value.clone() if value.is_inference() else value for name, value in values.items()
    }
