"""The posterior density of a batch of galaxies, exact and reduced, and its amortised proposal."""

__all__ = [
    "AmortisedProposal",
    "ExactSpectra",
    "ExactTarget",
    "GalaxyPrior",
    "ReducedTarget",
    "RefinementModels",
]

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from acie.inference import NeuralPosteriorEstimator, PosteriorFlow, temper
from acie.observation import Observation
from acie.physics import StellarPopulationModel
from acie.reduced import ReducedLikelihood
from acie.scm import StructuralCausalModel
from acie.simulation import LATENT_NAMES, SPECTRAL_NAMES, NoiseModel, SpectrumLikelihood
from acie.threads import spread

#: Rows of spectra that are computed and compared at a time.
_ROWS = 64
#: Draws whose exact spectra make the basis of the reduced likelihood.
ANCHORS = 26
#: Draws whose moments a proposal without splines takes, and how much wider it is.
_MOMENTS, _WIDE = 512, 1.2
#: Effective size to which the anchors' weights are flattened: none may be without say.
_ANCHOR_SIZE = 8.0
#: The regression of coordinates on variables uses weights of at least this effective size.
_SIZE_PER_DIM = 4.0
#: Longest Gauss-Newton step, in standard deviations of the draws.
_REACH = 4.0
#: Precision that the amortised posterior, made twice as wide, gives the noise.
_PRIOR = 0.25
#: Variables that the spectrum depends on directly.
CAUSES = (*SPECTRAL_NAMES, "tau", "redshift")


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
    """The spectral factor of the amortised posterior, in the space of its own noise.

    There it is a standard normal law, and the exact posterior is nearly normal too: the flow has
    taken its skewness away.

    Arguments:
        flow: The amortised posterior.
        features: Standardised features, ``(batch, n_features)``.
        generator: Given for galaxies far from what the flow was trained on: the moments of its
            draws are kept only, because splines mean little where they were not trained.
    """

    def __init__(
        self, flow: PosteriorFlow, features: Tensor, generator: torch.Generator | None = None
    ) -> None:
        self._map = flow(features).whitened()
        self._shape = (len(features), flow.dim)
        if generator is not None:
            self._map = self._moments(generator)

    def _moments(self, generator: torch.Generator) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """The normal law with mean and covariance of the amortised posterior, made wider."""
        noise, _ = self.sample_and_log_prob(_MOMENTS, generator)
        x = self.variables(noise)[0].transpose(0, 1)
        mean = x.mean(1)
        centred = x - mean[:, None]
        root = _WIDE * torch.linalg.cholesky(centred.mT @ centred / _MOMENTS)
        log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)

        def place(noise: Tensor) -> tuple[Tensor, Tensor]:
            x = (root @ noise[..., None].to(root.dtype))[..., 0] + mean
            return x, log_det.expand(noise.shape[:-1])

        return place

    def sample_and_log_prob(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws ``(count, batch, dim)`` and their log density ``(count, batch)``."""
        noise = torch.randn((count, *self._shape), generator=generator, dtype=torch.float64)
        return noise, self.log_prob(noise)

    def log_prob(self, noise: Tensor) -> Tensor:
        """Log density of ``(sample, batch, dim)``, ``(sample, batch)``."""
        return -0.5 * (noise.square().sum(-1) + noise.shape[-1] * math.log(2.0 * math.pi))

    def variables(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Unconstrained variables and log |d variables / d noise|, ``(sample, batch)``."""
        x, log_det = self._map(noise.float())
        return x.double(), log_det.double()


class GalaxyPrior:
    """Log prior density of the spectral variables, each with one draw of the latent ones.

    With x_l drawn from the learned conditional q(x_l | x_s), the prior weight of the pair is
    p(x_s, x_l) / q(x_l | x_s). The binary variable is summed over. States are kept, so that the
    draws that are chosen in the end need no second computation.

    Arguments:
        models: What the density is made of.
        redshift: Shape ``(batch,)``.
        generator: Source of all randomness.
    """

    def __init__(
        self, models: RefinementModels, redshift: Tensor, generator: torch.Generator
    ) -> None:
        self._models, self._redshift, self._generator = models, redshift, generator
        self._states: list[dict[str, Tensor]] = []

    def __call__(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """States and log prior, ``(sample, batch)``, of ``(sample, batch, dim)``."""
        scm, estimator = self._models.scm, self._models.estimator
        x_l, log_q = estimator.sample_latent(x.float(), self._redshift.float(), self._generator)
        values, log_det = scm.from_unconstrained(
            torch.cat([x, x_l.double()], -1),
            (*SPECTRAL_NAMES, *LATENT_NAMES),
            {"redshift": self._redshift.double().expand(x.shape[:-1])},
        )
        odds = scm.enumerate_binary(values, "quenched")
        self._states.append({**values, "quenched": torch.sigmoid(odds[1] - odds[0])})
        return values, torch.logsumexp(odds, 0) - log_det - log_q.double()

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


@dataclass(frozen=True)
class Settled:
    """Exact spectra of the distinct draws of each galaxy, and where each draw is among them.

    Arguments:
        distinct: One tensor ``(distinct, wave)`` per galaxy.
        values: Their log likelihoods, one tensor ``(distinct,)`` per galaxy.
        place: Shape ``(sample, batch)``.
    """

    distinct: list[Tensor]
    values: list[Tensor]
    place: Tensor

    @property
    def log_likelihood(self) -> Tensor:
        """Shape ``(sample, batch)``."""
        return torch.stack(
            [own[self.place[:, galaxy]] for galaxy, own in enumerate(self.values)], 1
        )

    def spectra(self, chosen: Tensor | None = None) -> Tensor:
        """Spectra of the draws, or of those ``chosen`` ``(sample, batch)`` of them."""
        place = self.place if chosen is None else self.place.gather(0, chosen)
        # Part of the answer, so not bound to inference mode; written once, because memory is what
        # copies of spectra wait for.
        with torch.inference_mode(False), torch.no_grad():
            spectra = torch.empty((*place.shape, self.distinct[0].shape[-1]))
        for galaxy, own in enumerate(self.distinct):
            spectra[:, galaxy] = own[place[:, galaxy]]
        return spectra


class ExactSpectra:
    """Exact spectra and likelihoods of states, and the reduced likelihood made from them.

    Arguments:
        models: What the density is made of.
        observation: One batch.
        inflation: See :class:`SpectrumLikelihood`.
    """

    def __init__(
        self, models: RefinementModels, observation: Observation, inflation: Tensor | None
    ) -> None:
        self._physics, self._redshift = models.physics, observation.redshift
        self._excess = models.physics.lsf_excess(observation.redshift, observation.lsf)
        self.likelihood = SpectrumLikelihood(observation, models.noise_model, inflation)

    def __call__(self, states: dict[str, Tensor], index: Tensor | None = None) -> "Settled":
        """Spectra and log likelihood of states.

        Arguments:
            states: Every variable, each ``(sample, batch)``.
            index: Which draw each state is: neighbours that are the same are computed once.
        """
        states = {name: states[name] for name in CAUSES}
        new = torch.ones(states["redshift"].shape, dtype=torch.bool)
        if index is not None:
            new[1:] = index[1:] != index[:-1]
        light = self._physics.coefficients(states, self._physics.flux_factor(states))

        # Few rows at a time: their spectra are still in the cache when they are compared.
        def work(part: tuple[int, Tensor]) -> tuple[Tensor, Tensor]:
            galaxy, rows = part
            own = tuple(piece[rows, galaxy] for piece in light)
            state = {name: values[rows, galaxy] for name, values in states.items()}
            found = self._physics.observe(own, state, self._excess[galaxy, None])
            return found, self.likelihood[galaxy](found[:, None])[:, 0]

        galaxies = range(new.shape[1])
        rows = [torch.nonzero(new[:, galaxy])[:, 0].split(_ROWS) for galaxy in galaxies]
        parts = [(galaxy, part) for galaxy in galaxies for part in rows[galaxy]]
        done = iter(spread(work, parts))
        own = [zip(*(next(done) for _ in rows[galaxy]), strict=True) for galaxy in galaxies]
        spectra, values = zip(*(map(torch.cat, pieces) for pieces in own), strict=True)
        return Settled(list(spectra), list(values), new.cumsum(0) - 1)

    def reduced(
        self, states: dict[str, Tensor], spectra: Tensor, log_weights: Tensor
    ) -> ReducedLikelihood:
        """The reduced likelihood in the basis of these spectra."""
        states = {name: states[name] for name in CAUSES}
        return ReducedLikelihood(
            self._physics, self.likelihood, self._redshift, self._excess, states, spectra,
            log_weights,
        )  # fmt: skip


class ReducedTarget:
    """Log posterior density of the proposal's noise, with a reduced likelihood.

    The basis is made from exact spectra of anchors: the first draws that are asked for, and draws
    of an earlier refinement if there are any.

    Arguments:
        proposal: Maps noise to variables.
        prior: Prior density.
        exact: Exact spectra.
    """

    def __init__(
        self, proposal: AmortisedProposal, prior: GalaxyPrior, exact: ExactSpectra
    ) -> None:
        self._proposal, self._prior, self._exact = proposal, prior, exact
        self._reduced: ReducedLikelihood | None = None
        self._more: tuple[dict[str, Tensor], Tensor] | None = None
        self._coordinates: list[Tensor] = []
        self._likelihoods: list[Tensor] = []

    def add_anchors(self, states: dict[str, Tensor], spectra: Tensor) -> None:
        """Some of these draws, ``(sample, batch)``, and their exact spectra are anchors too."""
        rows = torch.linspace(0, len(spectra) - 1, min(len(spectra), ANCHORS)).long()
        self._more = {name: states[name][rows] for name in CAUSES}, spectra[rows]

    def __call__(self, noise: Tensor) -> Tensor:
        """Map ``(sample, batch, dim)`` to ``(sample, batch)``."""
        x, log_det = self._proposal.variables(noise)
        states, log_prior = self._prior(x)
        if self._reduced is None:
            self._reduced = self._reduce({name: states[name][:ANCHORS] for name in CAUSES})
        likelihood, coordinates = self._reduced(states)
        self._likelihoods.append(likelihood)
        self._coordinates.append(coordinates)
        return log_prior + log_det + likelihood

    def _reduce(self, states: dict[str, Tensor]) -> ReducedLikelihood:
        settled = self._exact(states)
        spectra, likelihood = settled.spectra(), settled.log_likelihood
        if self._more is not None:
            earlier, known = self._more
            states = {name: torch.cat([value, earlier[name]]) for name, value in states.items()}
            spectra = torch.cat([spectra, known])
            likelihood = self._exact.likelihood(spectra)
        weights, _ = temper(likelihood, _ANCHOR_SIZE)
        return self._exact.reduced(states, spectra, weights.log())

    def log_likelihood(self, index: Tensor) -> Tensor:
        """Reduced log likelihood of the draws ``index`` ``(sample, batch)``, same shape."""
        return torch.cat(self._likelihoods).gather(0, index)

    def gauss_newton(self, noise: Tensor, log_weights: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and covariance of the posterior of a model that is linear in the noise.

        The linear model is the weighted regression of the coordinates of all draws on their
        noise. Where the data say little, the amortised posterior, made twice as wide, takes the
        place of the prior.

        References:
            Evensen 2018, Computational Geosciences 22, 885 (ensemble Gauss-Newton methods).

        Arguments:
            noise: All draws so far, ``(total, batch, dim)``.
            log_weights: Their log weights, ``(total, batch)``.

        Returns:
            Mean ``(batch, dim)`` and covariance ``(batch, dim, dim)``.
        """
        centre, scale, regress = _regression(noise, log_weights)
        coordinates = torch.cat(self._coordinates).double().transpose(0, 1)
        middle, slopes = regress(coordinates)
        gradient, information = self._reduced.information(middle.float())
        return _newton(
            centre,
            scale,
            (slopes @ gradient[..., None])[..., 0],
            slopes @ information @ slopes.mT,
        )


class ExactTarget:
    """Log posterior density with the exact likelihood, for galaxies that the reduced one fails.

    Arguments:
        proposal: Maps noise to variables.
        prior: Prior density.
        exact: Exact spectra.
    """

    def __init__(
        self, proposal: AmortisedProposal, prior: GalaxyPrior, exact: ExactSpectra
    ) -> None:
        self._proposal, self._prior, self._exact = proposal, prior, exact
        self._spectra: list[Tensor] = []
        self._likelihoods: list[Tensor] = []

    def __call__(self, noise: Tensor) -> Tensor:
        """Map ``(sample, batch, dim)`` to ``(sample, batch)``."""
        x, log_det = self._proposal.variables(noise)
        states, log_prior = self._prior(x)
        settled = self._exact(states)
        self._spectra.append(settled.spectra())
        self._likelihoods.append(settled.log_likelihood)
        return log_prior + log_det + self._likelihoods[-1]

    def log_likelihood(self, index: Tensor) -> Tensor:
        """Log likelihood of the draws ``index`` ``(sample, batch)``, same shape."""
        return torch.cat(self._likelihoods).gather(0, index)

    def gauss_newton(self, noise: Tensor, log_weights: Tensor) -> tuple[Tensor, Tensor]:
        """The same as of :class:`ReducedTarget`, from a regression of whole spectra."""
        centre, scale, regress = _regression(noise, log_weights)
        spectra = torch.cat(self._spectra).transpose(0, 1)
        middle, slopes = regress(spectra)
        gradient, information = self._exact.likelihood.information(middle, slopes)
        return _newton(centre, scale, gradient, information)


def _regression(noise: Tensor, log_weights: Tensor) -> tuple[Tensor, Tensor, Callable]:
    """Weighted linear regression on the noise of all draws.

    Returns:
        Weighted mean of the noise ``(batch, dim)``, its standard deviation, and a function that
        maps values ``(batch, sample, n)`` to their mean ``(batch, n)`` and slopes
        ``(batch, dim, n)``.
    """
    dim = noise.shape[-1]
    weights, _ = temper(log_weights, _SIZE_PER_DIM * dim)
    share = weights.T[..., None]
    x = noise.transpose(0, 1)
    centre, root = (share * x).sum(1), share.sqrt()
    design = root * (x - centre[:, None])
    gram = design.mT @ design
    scale = gram.diagonal(dim1=-2, dim2=-1).clamp(min=1e-12).sqrt()
    white = gram / scale[:, None] / scale[..., None] + 1e-6 * torch.eye(dim, dtype=x.dtype)

    def regress(values: Tensor) -> tuple[Tensor, Tensor]:
        middle = (share.to(values.dtype) * values).sum(1)
        offset = root.to(values.dtype) * (values - middle[:, None])
        solve = torch.linalg.solve(white, (design / scale[:, None]).mT) / scale[..., None]
        return middle, solve.to(values.dtype) @ offset

    return centre, scale, regress


def _newton(
    centre: Tensor, scale: Tensor, gradient: Tensor, information: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean and covariance one step from the centre, where the amortised law is the prior."""
    eye = torch.eye(centre.shape[-1], dtype=centre.dtype)
    covariance = torch.linalg.inv(information + _PRIOR * eye)
    covariance = 0.5 * (covariance + covariance.mT)
    step = (covariance @ (gradient - _PRIOR * centre)[..., None])[..., 0]
    # The regression is trusted as far as its draws reach.
    step = step * (_REACH * scale / step.abs().clamp(min=1e-12)).amin(-1, True).clamp(max=1.0)
    return centre + step, covariance
