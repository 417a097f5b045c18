"""The exact posterior density of a batch of galaxies, and the amortised one that proposes."""

__all__ = ["AmortisedProposal", "GalaxyTarget", "RefinementModels"]

from dataclasses import dataclass

import torch
from torch import Tensor

from acie.inference import NeuralPosteriorEstimator, PosteriorFlow, RefinementConfig, temper
from acie.observation import Observation
from acie.physics import StellarPopulationModel
from acie.scm import StructuralCausalModel
from acie.simulation import LATENT_NAMES, SPECTRAL_NAMES, NoiseModel, SpectrumLikelihood

#: Rows of spectra that are computed and compared at a time.
_ROWS = 128
#: The regression of spectra on variables uses weights of at least this effective size.
_SIZE_PER_DIM = 4.0
#: Longest Gauss-Newton step, in standard deviations of the draws.
_REACH = 4.0


@dataclass(frozen=True)
class RefinementModels:
    """What a posterior density is made of.

    Arguments:
        estimator: The amortised posterior.
        physics: The forward model.
        scm: The causal model, which is the prior.
        noise_model: How measured spectra differ from perfect ones.
    """

    estimator: NeuralPosteriorEstimator
    physics: StellarPopulationModel
    scm: StructuralCausalModel
    noise_model: NoiseModel


class AmortisedProposal:
    """The spectral factor of the amortised posterior, for one batch of features."""

    def __init__(self, flow: PosteriorFlow, features: Tensor) -> None:
        self._density = flow(features)
        self._batch, self._dim = len(features), flow.dim

    def sample_and_log_prob(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws ``(count, batch, dim)`` and their log density ``(count, batch)``."""
        x, log_q = self._density.sample_and_log_prob(count, generator)
        return x.double(), log_q.double()

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density of ``(sample, batch, dim)``, ``(sample, batch)``."""
        return self._density.log_prob(x.float()).double()


class GalaxyTarget:
    """Log posterior density of the spectral variables, up to a constant.

    With x_l drawn from the learned conditional q(x_l | x_s), the weight of the pair is
    p(x_s, x_l) L(x_s) / q(x_s) q(x_l | x_s). The binary variable is summed over. States and
    spectra are kept, so that the draws that are chosen in the end need no second computation.

    Arguments:
        models: What the density is made of.
        observation: One batch.
        inflation: See :class:`SpectrumLikelihood`.
        config: Draws that will be asked for.
        generator: Source of all randomness.
    """

    def __init__(
        self,
        models: RefinementModels,
        observation: Observation,
        inflation: Tensor | None,
        config: RefinementConfig,
        generator: torch.Generator,
    ) -> None:
        self._models, self._generator = models, generator
        self._redshift = observation.redshift
        self._excess = models.physics.lsf_excess(observation.redshift, observation.lsf)
        self.likelihood = SpectrumLikelihood(observation, models.noise_model, inflation)
        shape = (config.evaluations, *observation.flux.shape)
        self._spectra = torch.empty(shape, dtype=torch.float32)
        self._first = config.first
        self._states: list[dict[str, Tensor]] = []

    def __call__(self, x: Tensor) -> Tensor:
        """Map ``(sample, batch, dim)`` to ``(sample, batch)``."""
        estimator = self._models.estimator
        x_l, log_q = estimator.sample_latent(x.float(), self._redshift.float(), self._generator)
        values, log_det = self._values(x, x_l.double())
        odds = self._models.scm.enumerate_binary(values, "quenched")
        prior = torch.logsumexp(odds, 0)
        done = sum(len(state["redshift"]) for state in self._states)
        self._states.append({**values, "quenched": torch.sigmoid(odds[1] - odds[0])})
        likelihood = torch.empty_like(prior)
        for galaxy in range(x.shape[1]):
            one = self.likelihood[galaxy]
            # Few rows at a time: their spectra are still in the cache when they are compared.
            for rows in torch.arange(len(x)).split(_ROWS):
                part = {name: value[rows, galaxy, None] for name, value in values.items()}
                spectra = self._models.physics(part, self._excess[galaxy, None])
                likelihood[rows, galaxy] = one(spectra)[:, 0]
                self._spectra[done + rows, galaxy] = spectra[:, 0]
        return prior - log_det - log_q.double() + likelihood

    def gauss_newton(self, x: Tensor, log_weights: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and covariance of the posterior of a model that is linear in the variables.

        The linear model is the weighted regression of the spectra of the draws so far on their
        variables, so it costs no further spectra. Where the data say little, the amortised
        posterior, made twice as wide, takes the place of the prior.

        References:
            Evensen 2018, Computational Geosciences 22, 885 (ensemble Gauss-Newton methods).

        Arguments:
            x: Draws, ``(total, batch, dim)``.
            log_weights: Their log weights, ``(total, batch)``.

        Returns:
            Mean ``(batch, dim)`` and covariance ``(batch, dim, dim)``.
        """
        dim = x.shape[-1]
        weights, _ = temper(log_weights, _SIZE_PER_DIM * dim)
        root = weights.sqrt().T[:, :, None]
        centre = torch.einsum("nb,nbd->bd", weights, x)
        offsets = (x - centre).transpose(0, 1) * root
        means, slopes = [], []
        ridge = 1e-6 * torch.eye(dim, dtype=x.dtype)
        for galaxy in range(x.shape[1]):
            # Draws without weight say nothing about the neighbourhood of the others.
            used = weights[:, galaxy] > 1e-4 / len(x)
            spectra = self._spectra[: len(x), galaxy][used]
            share = weights[used, galaxy].float()
            mean = share @ spectra
            design = offsets[galaxy][used]
            gram = design.T @ design
            scale = gram.diagonal().clamp(min=1e-12).sqrt()
            inverse = torch.linalg.inv(gram / scale[:, None] / scale + ridge)
            pinv = (inverse / scale[:, None] / scale) @ design.T
            slopes.append(pinv.float() @ ((spectra - mean) * share.sqrt()[:, None]))
            means.append(mean)
        precision, gradient = self.likelihood.information(torch.stack(means), torch.stack(slopes))
        first = x[: self._first]
        prior = torch.linalg.inv(4.0 * _covariance(first))
        pull = (prior @ (first.mean(0) - centre)[..., None])[..., 0]
        covariance = torch.linalg.inv(precision + prior)
        covariance = 0.5 * (covariance + covariance.mT)
        step = (covariance @ (gradient + pull)[..., None])[..., 0]
        # The regression is trusted as far as its draws reach.
        reach = offsets.square().sum(1).sqrt()
        step = step * (_REACH * reach / step.abs().clamp(min=1e-12)).amin(-1, True).clamp(max=1.0)
        return centre + step, covariance

    def spectra(self, index: Tensor) -> Tensor:
        """Spectra of the draws ``index`` ``(sample, batch)``, ``(sample, batch, wave)``."""
        return self._spectra[index, torch.arange(index.shape[1])]

    def state(self, index: Tensor) -> dict[str, Tensor]:
        """Every variable of the draws ``index`` ``(sample, batch)`` of all that were evaluated."""
        values = {
            name: torch.cat([state[name] for state in self._states]).gather(0, index)
            for name in self._states[0]
        }
        shape, dtype = index.shape, values["quenched"].dtype
        uniform = torch.rand(shape, generator=self._generator, dtype=dtype)
        values["quenched"] = (uniform < values["quenched"]).to(dtype)
        return values

    def _values(self, x: Tensor, x_l: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        return self._models.scm.from_unconstrained(
            torch.cat([x, x_l], -1),
            (*SPECTRAL_NAMES, *LATENT_NAMES),
            {"redshift": self._redshift.double().expand(x.shape[:-1])},
        )


def _covariance(x: Tensor) -> Tensor:
    """Covariance of ``(sample, batch, dim)``, ``(batch, dim, dim)``."""
    centred = (x - x.mean(0)).transpose(0, 1)
    floor = 1e-8 * torch.eye(x.shape[-1], dtype=x.dtype)
    return centred.mT @ centred / len(x) + floor
