"""The three steps of a counterfactual: abduction, action, prediction.

This is where inference, the causal model and the physics meet. Axes are ``(sample, batch)`` for
states and ``(sample, batch, wave)`` for spectra.
"""

__all__ = ["CounterfactualEngine"]

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from acie.bundle import ModelBundle
from acie.errors import ConflictingInterventions, MissingRedshift
from acie.inference import AdaptiveImportanceSampler, LogTarget, RefinementConfig
from acie.observation import Observation
from acie.physics import StellarPopulationModel
from acie.results import Abduction, CounterfactualResult, PosteriorSamples, QualityFlag
from acie.scm import Intervention, describe, parse_interventions
from acie.simulation import (
    LATENT_NAMES,
    SPECTRAL_NAMES,
    NoiseModel,
    SpectrumLikelihood,
    build_galaxy_scm,
)

#: Below this importance efficiency posterior and likelihood disagree.
LOW_CONFIDENCE = 0.01
#: Above this robust standard deviation of the standardised residuals the model does not fit.
POOR_FIT = 1.6
LOW_SNR = 3.0
#: Galaxies below this efficiency after the short refinement get the long one.
HARD = 0.05
#: Residuals in bins of 5 pixels may exceed those of single pixels, in units of their stated
#: errors, by this factor before the errors are inflated by it.
MISFIT = 1.2
_SHORT = RefinementConfig(first=192, rounds=(192, 192), components=1)
_LONG = RefinementConfig(first=512, rounds=(384,) * 6, components=2)
#: log10 stellar mass supported by the publications of most mechanisms.
PUBLISHED_LOG_MASS = (8.5, 11.9)


class _Proposal:
    """The spectral factor of the amortised posterior, for one batch of features."""

    def __init__(self, engine: "CounterfactualEngine", features: Tensor) -> None:
        self._flow = engine.bundle.estimator.spectral
        self._features = features

    def sample_and_log_prob(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        x, log_q = self._flow.sample_and_log_prob(count, self._features, generator)
        return x.double(), log_q.double()

    def log_prob(self, x: Tensor) -> Tensor:
        return self._flow.log_prob(x.float(), self._features).double()


class CounterfactualEngine:
    """Answers causal questions about observed galaxies.

    Arguments:
        bundle: A trained model.
        noise_model: How measured spectra differ from perfect ones.
        refinement: Draws spent on the exact likelihood; left out, a short refinement, and a long
            one for the galaxies that need it.
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
        self.sampler = AdaptiveImportanceSampler(refinement or _SHORT)
        self.deep_sampler = AdaptiveImportanceSampler(refinement or _LONG)

    @classmethod
    def load(cls, name_or_path: str | Path = "galaxy-v1") -> "CounterfactualEngine":
        """The engine of a shipped model or of a bundle folder."""
        return cls(ModelBundle.load(name_or_path))

    # -- step 1: abduction --------------------------------------------------------------------

    @torch.no_grad()
    def infer(
        self,
        observation: Observation,
        num_samples: int = 256,
        generator: torch.Generator | None = None,
    ) -> PosteriorSamples:
        """Posterior of the physical state, refined with the exact likelihood.

        Arguments:
            observation: One galaxy or a batch.
            num_samples: Draws per galaxy.
            generator: Source of all randomness; seed 0 when left out.

        Raises:
            MissingRedshift: A redshift is not a number.
            OutsideSupport: A redshift is outside the range of the model.
        """
        observation = observation.batched()
        self._check_redshift(observation.redshift)
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        encoding = self.bundle.encoder.encode(observation)
        features = self.bundle.encoder.standardise(encoding.features).float()
        x, efficiency, fit, excess = self._refine(
            observation, features, self.sampler, num_samples, generator
        )
        hard = (efficiency < HARD) | (excess > MISFIT)
        if bool(hard.any()):
            # Galaxies on which the amortised posterior misleads, or whose residuals are
            # correlated, get a longer adaptation, with errors inflated by the correlation.
            part = self._refine(
                observation[hard],
                features[hard],
                self.deep_sampler,
                num_samples,
                generator,
                inflation=torch.where(excess > MISFIT, excess, 1.0)[hard],
            )
            x[:, hard], efficiency[hard], fit[hard] = part[:3]
        redshift = observation.redshift
        latent, _ = self._latent(x, redshift, generator)
        values = self._state(x, latent, redshift, generator)
        spectra = self.physics(values, self.physics.lsf_excess(redshift, observation.lsf))
        outlier = self.bundle.encoder.misfit_of(encoding).is_outlier
        quality = self._quality(observation, efficiency, fit, outlier, values)
        return PosteriorSamples(values, spectra, efficiency, quality, fit)

    def _refine(
        self,
        observation: Observation,
        features: Tensor,
        sampler: AdaptiveImportanceSampler,
        num_samples: int,
        generator: torch.Generator,
        inflation: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Refined draws ``(sample, batch, dim)``, and of each galaxy three figures, ``(batch,)``.

        They are efficiency, misfit of the best draw, and by how much binning raises the misfit.
        """
        redshift = observation.redshift
        likelihood = SpectrumLikelihood(observation, self.noise_model, inflation)
        excess = self.physics.lsf_excess(redshift, observation.lsf)
        target = self._log_target(redshift, likelihood, excess, generator)
        found = sampler.run(target, _Proposal(self, features), num_samples, generator)
        best = found.samples[found.log_target.argmax(0), torch.arange(len(redshift))][None]
        latent, _ = self._latent(best, redshift, generator)
        values, _ = self._unconstrained(best, latent, redshift)
        binned, single = likelihood.misfit(self.physics(values, excess))
        ratio = binned / single
        return found.samples, found.efficiency, binned[0].double(), ratio[0].double()

    def abduct(
        self,
        observation: Observation,
        num_samples: int = 256,
        generator: torch.Generator | None = None,
    ) -> Abduction:
        """Posterior draws inverted to exogenous noise, and the residual of the pixels."""
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        posterior = self.infer(observation, num_samples, generator)
        with torch.no_grad():
            noise = self.scm.abduct(posterior.values, generator)
        residual = observation.batched().flux.to(posterior.spectra.dtype) - posterior.spectra
        return Abduction(posterior, noise, residual)

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
    def predict(
        self,
        observation: Observation,
        abduction: Abduction,
        actions: Mapping[str, Intervention],
        hold: Iterable[str] = (),
    ) -> CounterfactualResult:
        """The counterfactual world with the same noise."""
        observation = observation.batched()
        factual = abduction.posterior
        names = self.check_hold(actions, hold)
        values = self.scm.predict(abduction.noise, factual.values, actions, names)
        if all(values[name] is factual.values[name] for name in (*SPECTRAL_NAMES, "tau")):
            # No cause of the spectrum moved: the effect is exactly zero, not zero to rounding.
            change = torch.zeros_like(factual.spectra)
        else:
            excess = self.physics.lsf_excess(observation.redshift, observation.lsf)
            change = self.physics(values, excess) - factual.spectra
        text = tuple(describe(action, name) for name, action in actions.items())
        return CounterfactualResult(observation, abduction, text, values, change)

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
        abduction = self.abduct(observation, num_samples, generator)
        return self.predict(observation, abduction, actions, hold)

    def effect(
        self, observation: Observation, do: Any, name: str = "flux", **options: Any
    ) -> Tensor:
        """Counterfactual minus factual of a variable or of ``flux``, per draw."""
        return self.counterfactual(observation, do, **options).effect(name)

    # -- parts --------------------------------------------------------------------------------

    def _check_redshift(self, redshift: Tensor) -> None:
        if not bool(torch.isfinite(redshift).all()):
            raise MissingRedshift(
                "redshift",
                expected="a number for every galaxy",
                found="none",
                remedy="Give it with --redshift Z, or redshift=Z to acie.io.read.",
            )
        remedy = "This model covers galaxies of that range only."
        self.scm.variables["redshift"].check(redshift, remedy=remedy)

    def _latent(
        self, x: Tensor, redshift: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        x_l, log_q = self.bundle.estimator.sample_latent(x.float(), redshift.float(), generator)
        return x_l.double(), log_q.double()

    def _unconstrained(
        self, x: Tensor, x_l: Tensor, redshift: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        return self.scm.from_unconstrained(
            torch.cat([x, x_l], -1),
            (*SPECTRAL_NAMES, *LATENT_NAMES),
            {"redshift": redshift.double().expand(x.shape[:-1])},
        )

    def _log_target(
        self,
        redshift: Tensor,
        likelihood: SpectrumLikelihood,
        excess: Tensor,
        generator: torch.Generator,
    ) -> LogTarget:
        """Log posterior density of the spectral variables, up to a constant.

        The prior of the spectral variables alone is p(x_s, x_l) / p(x_l | x_s) at any x_l
        (Besag 1989, Biometrika 76, 183); the conditional is the learned latent factor. The
        binary variable is summed over.
        """

        def log_target(x: Tensor) -> Tensor:
            x_l, log_q = self._latent(x, redshift, generator)
            values, log_det = self._unconstrained(x, x_l, redshift)
            prior = torch.logsumexp(self.scm.enumerate_binary(values, "quenched"), 0)
            return prior - log_det - log_q + likelihood(self.physics(values, excess))

        return log_target

    def _state(
        self, x: Tensor, x_l: Tensor, redshift: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        values, _ = self._unconstrained(x, x_l, redshift)
        odds = self.scm.enumerate_binary(values, "quenched")
        probability = torch.sigmoid(odds[1] - odds[0])
        uniform = torch.rand(probability.shape, generator=generator, dtype=probability.dtype)
        values["quenched"] = (uniform < probability).to(probability.dtype)
        return self.scm.complete(values)

    def _quality(
        self,
        observation: Observation,
        efficiency: Tensor,
        fit: Tensor,
        outlier: Tensor,
        values: dict[str, Tensor],
    ) -> Tensor:
        mass = torch.log10(values["stellar_mass"]).median(0).values
        low, high = PUBLISHED_LOG_MASS
        flags = {
            QualityFlag.LOW_CONFIDENCE: efficiency < LOW_CONFIDENCE,
            QualityFlag.POOR_FIT: ~(fit < POOR_FIT),
            QualityFlag.OUT_OF_DISTRIBUTION: outlier,
            QualityFlag.LOW_SNR: observation.signal_to_noise < LOW_SNR,
            QualityFlag.EXTRAPOLATED: (mass < low) | (mass > high),
            QualityFlag.MASKED: (observation.ivar > 0).float().mean(-1) < 0.5,
        }
        quality = observation.quality.clone()
        for flag, raised in flags.items():
            quality |= raised.long() * int(flag)
        return quality
