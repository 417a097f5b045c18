"""What the exact posterior of a batch of galaxies is made of: prior, spectra, likelihood."""

__all__ = ["CAUSES", "ExactSpectra", "GalaxyPrior", "RefinementModels", "Settled"]

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from acie import native
from acie.allocator import large_pages
from acie.distinct import DistinctDraws, Part
from acie.inference import NeuralPosteriorEstimator
from acie.observation import Observation
from acie.physics import OBSERVED, Sightline, StellarPopulationModel
from acie.refinement.reduced import ReducedLikelihood
from acie.replay import Replay, call
from acie.scm import StructuralCausalModel
from acie.simulation import LATENT_NAMES, SPECTRAL_NAMES, NoiseModel, SpectrumLikelihood
from acie.threads import spread

#: Rows of spectra that are computed and compared at a time.
_ROWS = 64
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
        replay: Plays back what is called for every galaxy.
    """

    estimator: NeuralPosteriorEstimator
    physics: StellarPopulationModel
    scm: StructuralCausalModel
    noise_model: NoiseModel
    replay: Replay = field(default_factory=Replay)

    def prior(
        self, x: Tensor, x_l: Tensor, log_q: Tensor, redshift: Tensor
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """States, log prior over the latent draws' density, and probability to be quenched.

        Arguments:
            x: Unconstrained spectral variables, ``(sample, batch, n_spectral)``.
            x_l: Unconstrained latent ones, ``(sample, batch, n_latent)``.
            log_q: Log density of the latter, ``(sample, batch)``.
            redshift: Shape ``(batch,)``.
        """
        values, log_det = self.scm.from_unconstrained(
            torch.cat([x, x_l.double()], -1),
            (*SPECTRAL_NAMES, *LATENT_NAMES),
            {"redshift": redshift.double().expand(x.shape[:-1])},
        )
        odds = self.scm.enumerate_binary(values, "quenched")
        log_prior = torch.logsumexp(odds, 0) - log_det - log_q.double()
        return values, log_prior, torch.sigmoid(odds[1] - odds[0])


class GalaxyPrior:
    """Log prior density of the spectral variables, each with one draw of the latent ones.

    With x_l drawn from the learned conditional q(x_l | x_s), the prior weight of the pair is
    p(x_s, x_l) / q(x_l | x_s). The binary variable is summed over. States are kept, so that the
    draws that are chosen in the end need no second computation.

    Where q is far from the model's own conditional, as for galaxies unlike those it was trained
    on, that ratio has a wide and heavy-tailed law, and one lucky latent draw outweighs thousands.
    Of several tries the mean is taken instead, and one of them is kept in proportion to its ratio.

    Arguments:
        models: What the density is made of.
        redshift: Shape ``(batch,)``.
        generator: Source of all randomness.
        tries: Draws of the latent variables for each of the spectral ones.

    References:
        Andrieu & Roberts 2009, Annals of Statistics 37, 697 (averages in place of a density).
    """

    def __init__(
        self,
        models: RefinementModels,
        redshift: Tensor,
        generator: torch.Generator,
        tries: int = 1,
    ) -> None:
        self._models, self._redshift, self._generator = models, redshift, generator
        self._tries = tries
        self._states: list[dict[str, Tensor]] = []

    def __call__(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """States and log prior, ``(sample, batch)``, of ``(sample, batch, dim)``."""
        if self._tries > 1:
            return self._best_of(x)
        values, log_prior, quenched = self._pairs(x)
        self._states.append({**values, "quenched": quenched})
        return values, log_prior

    def _best_of(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The same with several tries, of which one is kept."""
        values, log_prior, quenched = self._pairs(x.repeat(self._tries, 1, 1))
        ratios = log_prior.nan_to_num(nan=-torch.inf).unflatten(0, (self._tries, -1))
        # The largest of the ratios with Gumbel noise is one drawn in proportion.
        uniform = torch.rand(ratios.shape, generator=self._generator, dtype=ratios.dtype)
        kept = (ratios - (-uniform.log()).log()).argmax(0, keepdim=True)

        def chosen(value: Tensor) -> Tensor:
            return value.unflatten(0, (self._tries, -1)).gather(0, kept)[0]

        values = {name: chosen(value) for name, value in values.items()}
        self._states.append({**values, "quenched": chosen(quenched)})
        return values, torch.logsumexp(ratios, 0) - math.log(self._tries)

    def _pairs(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """States, log prior and probability to be quenched, each of one latent draw."""
        models, redshift = self._models, self._redshift
        estimator = models.estimator
        noise = torch.randn(*x.shape[:-1], estimator.n_latent, generator=self._generator)
        # A recording would hold what the kernels are there to replace.
        replay = call if native.available() else models.replay
        x_l, log_q = replay("latent", estimator.latent_of, noise, x.float(), redshift.float())
        return models.replay("prior", models.prior, x, x_l, log_q, redshift)

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
    """Exact spectra of the distinct draws, and where each draw is among them.

    Arguments:
        distinct: Shape ``(distinct, wave)``, galaxy by galaxy.
        values: Their log likelihoods, ``(distinct,)``.
        place: Shape ``(sample, batch)``.
    """

    distinct: Tensor
    values: Tensor
    place: Tensor

    @property
    def log_likelihood(self) -> Tensor:
        """Shape ``(sample, batch)``."""
        return self.values[self.place]

    def spectra(self, chosen: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        """Spectra of the draws, or of those ``chosen`` ``(sample, batch)`` of them.

        Arguments:
            chosen: Which draws.
            out: Where to write, ``(sample, batch, wave)``: memory is what copies wait for.
        """
        if chosen is None and out is None and len(self.distinct) == self.place.numel():
            return self.distinct.view(*self.place.T.shape, -1).transpose(0, 1)
        place = self.place if chosen is None else self.place.gather(0, chosen)
        if out is None:
            out = torch.empty((*place.shape, self.distinct.shape[-1]))
        if out.is_contiguous():
            torch.index_select(self.distinct, 0, place.flatten(), out=out.flatten(0, 1))
            return out
        for row, index in zip(out, place, strict=True):
            torch.index_select(self.distinct, 0, index, out=row)
        return out


class ExactSpectra:
    """Exact spectra and likelihoods of states, and the reduced likelihood made from them.

    Arguments:
        models: What the density is made of.
        observation: One batch.
        inflation: See :class:`SpectrumLikelihood`.
        sightlines: Of the galaxies; made anew when left out.
    """

    def __init__(
        self,
        models: RefinementModels,
        observation: Observation,
        inflation: Tensor | None = None,
        sightlines: Sequence[Sightline] | None = None,
    ) -> None:
        self._physics, self._redshift = models.physics, observation.redshift
        self._replay = models.replay
        self._sightlines = sightlines or models.physics.sightlines_of(observation)
        self.likelihood = SpectrumLikelihood(observation, models.noise_model, inflation)

    def __call__(
        self,
        states: dict[str, Tensor],
        index: Tensor | None = None,
        known: Settled | None = None,
    ) -> Settled:
        """Spectra and log likelihood of states.

        Arguments:
            states: Every variable, each ``(sample, batch)``.
            index: Which draw each state is, ascending: those that are the same are computed once.
            known: What the first of all draws have, which is not computed again.
        """
        new = torch.ones(states["redshift"].shape, dtype=torch.bool)
        if index is not None:
            new[1:] = index[1:] != index[:-1]
        draws = DistinctDraws(new)
        spectra = large_pages(torch.empty((len(draws), self.likelihood.flux.shape[-1])))
        values = torch.empty(len(draws), dtype=torch.float64)
        rest = torch.arange(len(draws))
        if index is not None and known is not None:
            drawn = index[draws.sample, draws.galaxy]
            # Of one galaxy, those that are known come first.
            old = drawn < len(known.place)
            place = known.place[drawn[old], draws.galaxy[old]]
            spectra[old], values[old] = known.distinct[place], known.values[place]
            rest = rest[~old]
        if len(rest):
            values[rest] = self._compute(states, draws, rest, spectra)
        return Settled(spectra, values, draws.place)

    def _compute(
        self, states: dict[str, Tensor], draws: DistinctDraws, chosen: Tensor, out: Tensor
    ) -> Tensor:
        """Log likelihood of some distinct draws, whose spectra are written to ``out``."""
        states = draws.take(states, CAUSES, chosen)
        light = self._replay("light", self._physics.coefficients, states)

        # Few rows at a time: their spectra are still in the cache when they are compared.
        def work(part: Part) -> tuple[Tensor, ...]:
            found = out[part.place]
            own = {name: states[name][part.rows] for name in OBSERVED}
            of_part = tuple(piece[part.rows] for piece in light)
            self._physics.observe(of_part, own, self._sightlines[part.galaxy], found)
            return self.likelihood[part.galaxy].sums(found[:, None])

        sums = zip(*spread(work, draws.parts(_ROWS, chosen)), strict=True)
        joined = (torch.cat(parts)[:, 0] for parts in sums)
        return self.likelihood.marginal(*joined, draws.galaxy[chosen])

    def reduced(
        self, states: dict[str, Tensor], spectra: Tensor, log_weights: Tensor
    ) -> ReducedLikelihood:
        """The reduced likelihood in the basis of these spectra."""
        states = {name: states[name] for name in CAUSES}
        return ReducedLikelihood(
            self._physics, self.likelihood, self._redshift,
            torch.stack([sightline.excess for sightline in self._sightlines]),
            states, spectra, log_weights,
        )  # fmt: skip
