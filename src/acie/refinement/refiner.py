"""Refinement of batches of galaxies, in levels: more for those that need it."""

__all__ = ["HARD", "MISFIT", "PosteriorRefiner", "RefinedPosterior"]

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from acie.allocator import large_pages
from acie.inference import (
    AdaptiveImportanceSampler,
    RefinementConfig,
    effective_sample_size,
    systematic_resample,
)
from acie.observation import Observation
from acie.physics import Sightline
from acie.refinement.density import ExactSpectra, GalaxyPrior, RefinementModels
from acie.refinement.proposal import AmortisedProposal
from acie.refinement.targets import ExactTarget, ReducedTarget
from acie.threads import spread

#: Galaxies whose draws are worth less than this share of the number asked for get more of them.
HARD = 0.25
#: Residuals in bins of 5 pixels may exceed those of single pixels, in units of their stated
#: errors, by this factor before the errors are inflated by it.
MISFIT = 1.2
#: Galaxies refined together, and spectra kept at a time (24 kB each): bounds of the memory.
_GROUP = 20
_SPECTRA = 4096
#: Draws of the latent variables for each of the spectral ones, where every spectrum is exact.
_TRIES = 8
_FIGURES = ("efficiency", "size", "fit", "correlation")


@dataclass(frozen=True)
class RefinedPosterior:
    """Equally weighted draws, and figures of each galaxy.

    Arguments:
        values: Every variable of the model, each ``(sample, batch)``.
        spectra: Model spectra, ``(sample, batch, wave)``.
        efficiency: Importance-sampling efficiency, ``(batch,)``.
        size: Effective number of all draws together, ``(batch,)``.
        fit: Robust standard deviation of the best draw's residuals in bins of 5, ``(batch,)``.
        correlation: That of bins over that of single pixels, ``(batch,)``.
    """

    values: dict[str, Tensor]
    spectra: Tensor
    efficiency: Tensor
    size: Tensor
    fit: Tensor
    correlation: Tensor

    def part(self, chosen: Tensor | slice) -> "RefinedPosterior":
        """The galaxies ``chosen``, a mask or indices; a slice of them is not copied."""
        values = {name: value[:, chosen] for name, value in self.values.items()}
        figures = {name: getattr(self, name)[chosen] for name in _FIGURES}
        return RefinedPosterior(values=values, spectra=self.spectra[:, chosen], **figures)

    def put(self, chosen: Tensor | slice, other: "RefinedPosterior") -> None:
        """Replace the galaxies ``chosen``, a mask, indices or a slice, by those of ``other``."""
        for name, value in other.values.items():
            self.values[name][:, chosen] = value
        self.spectra[:, chosen] = other.spectra
        for name in _FIGURES:
            getattr(self, name)[chosen] = getattr(other, name)

    def outside_inference_mode(self) -> "RefinedPosterior":
        """A copy whose tensors may take part in later differentiation."""
        values = {name: value.clone() for name, value in self.values.items()}
        figures = {name: getattr(self, name).clone() for name in _FIGURES}
        return RefinedPosterior(values=values, spectra=self.spectra, **figures)


@dataclass(frozen=True)
class _Level:
    """How much is spent on a galaxy, and whether every draw gets an exact spectrum.

    Galaxies that need that are far from what the flow was trained on, so the proposal then starts
    from the moments of the flow's draws only, and the latent variables get several tries, because
    the learned conditional may be as far off.
    """

    config: RefinementConfig
    exact: bool = False
    tries: int = 1


class PosteriorRefiner:
    """Importance refinement for batches of galaxies.

    Arguments:
        models: Amortised posterior, forward model, prior and noise.
        config: Draws spent on every galaxy; left out, about three times the number asked for, and
            many more on the galaxies that need it.
    """

    def __init__(self, models: RefinementModels, config: RefinementConfig | None = None) -> None:
        self._models, self._config = models, config

    def run(
        self,
        observation: Observation,
        features: Tensor,
        num_samples: int,
        generator: torch.Generator,
        sightlines: Sequence[Sightline] | None = None,
    ) -> RefinedPosterior:
        """Refined draws of a batch of galaxies.

        Arguments:
            observation: The batch.
            features: Standardised features, ``(batch, n_features)``.
            num_samples: Draws to return per galaxy.
            generator: Source of all randomness.
            sightlines: Of the galaxies; made anew when left out.
        """
        sightlines = sightlines or self._models.physics.sightlines_of(observation)
        levels = [_Level(self._config)] if self._config else _levels(num_samples)

        def batch(level: _Level, part: tuple) -> RefinedPosterior:
            return self._batch(level, num_samples, generator, *part)

        # Thousands of small operations: without the records of autograd they are a tenth faster.
        with torch.inference_mode():
            found = batch(levels[0], (observation, features, sightlines))
            # Correlated residuals inflate the errors, once and for all.
            inflated = found.correlation > MISFIT
            inflation = torch.where(inflated, found.correlation, 1.0)
            needy = inflated | (found.size < HARD * num_samples)
            for level in levels[1:]:
                index = torch.nonzero(needy)[:, 0]
                if not len(index):
                    break
                # Where it is all of them, nothing is copied: spectra are large.
                chosen = slice(None) if len(index) == len(observation) else index
                own = [sightlines[galaxy] for galaxy in index.tolist()]
                part = (observation[chosen], features[chosen], own)
                again = batch(level, (*part, inflation[chosen], found.part(chosen)))
                # A second look at the same errors must not be worse than the first.
                better = inflated[chosen] | (again.size > found.size[chosen])
                if bool(better.all()):
                    found.put(chosen, again)
                else:
                    found.put(index[better], again.part(better))
                inflated = torch.zeros_like(inflated)
                needy = found.size < HARD * num_samples
        return found.outside_inference_mode()

    def _batch(
        self,
        level: _Level,
        num_samples: int,
        generator: torch.Generator,
        observation: Observation,
        features: Tensor,
        sightlines: Sequence[Sightline],
        inflation: Tensor | None = None,
        earlier: RefinedPosterior | None = None,
    ) -> RefinedPosterior:
        """The same refinement of all galaxies, some of them at a time."""
        kept = level.config.evaluations if level.exact else num_samples
        groups = _groups(len(observation), max(1, min(_GROUP, _SPECTRA // kept)))
        # Part of the answer, so not bound to inference mode.
        with torch.inference_mode(False), torch.no_grad():
            spectra = large_pages(torch.empty((num_samples, *observation.flux.shape)))
        seeds = torch.randint(2**62, (len(groups),), generator=generator).tolist()

        def work(part: tuple[slice, int]) -> RefinedPosterior:
            group, seed = part
            own = torch.Generator().manual_seed(seed)
            given = (
                sightlines[group],
                None if inflation is None else inflation[group],
                None if earlier is None else earlier.part(group),
            )
            out = spectra[:, group]
            return self._once(observation[group], features[group], level, out, own, *given)

        return _joined(spread(work, zip(groups, seeds, strict=True)), spectra)

    def _once(
        self,
        observation: Observation,
        features: Tensor,
        level: _Level,
        out: Tensor,
        generator: torch.Generator,
        sightlines: Sequence[Sightline],
        inflation: Tensor | None = None,
        earlier: RefinedPosterior | None = None,
    ) -> RefinedPosterior:
        """One group of galaxies; their spectra are written to ``out``."""
        num_samples = len(out)
        flow = self._models.estimator.spectral
        proposal = AmortisedProposal(
            flow, features, generator if level.exact else None, self._models.replay
        )
        prior = GalaxyPrior(self._models, observation.redshift, generator, level.tries)
        exact = ExactSpectra(self._models, observation, inflation, sightlines)
        target: ReducedTarget | ExactTarget
        if level.exact:
            target = ExactTarget(proposal, prior, exact)
        else:
            target = ReducedTarget(proposal, prior, exact, self._models.replay)
            if earlier is not None:
                target.add_anchors(earlier.values, earlier.spectra)
        found = AdaptiveImportanceSampler(level.config).run(
            target, proposal, num_samples, generator, target.gauss_newton
        )
        values = prior.state(found.index)
        settled = exact(values, found.index, target.known)
        likelihood = settled.log_likelihood
        # The draws follow the reduced likelihood: this is what they still owe the exact one.
        owed = likelihood - target.log_likelihood(found.index)
        share = effective_sample_size(owed) / num_samples
        chosen = systematic_resample(owed, num_samples, generator)
        best = settled.spectra(likelihood.argmax(0)[None])
        binned, single = exact.likelihood.misfit(best)
        return RefinedPosterior(
            values={name: value.gather(0, chosen) for name, value in values.items()},
            spectra=settled.spectra(chosen, out),
            efficiency=found.efficiency * share,
            size=found.size * share,
            fit=binned[0].double(),
            correlation=(binned / single)[0].double(),
        )


def _levels(num_samples: int) -> list[_Level]:
    """For every galaxy, for those that need more, and for those that need much more."""
    some, many = max(80, num_samples // 2), max(160, 3 * num_samples // 2)
    # Thousands of operations of a few draws each: one round of many costs less than two of few.
    first = RefinementConfig(first=2 * some, rounds=(many,), components=1)
    more = RefinementConfig(first=2 * some, rounds=(2 * some, 3 * many // 2), components=1)
    again = RefinementConfig(first=3 * some, rounds=(3 * some, 3 * many // 2), components=1)
    most = RefinementConfig(first=512, rounds=(256,) * 4 + (384,) * 2, components=2)
    # Each starts from nothing but its anchors, so a second try is another chance, and ten times
    # cheaper than exact spectra throughout.
    cheap = [_Level(config) for config in (first, more, again)]
    return [*cheap, *(_Level(most, exact=True, tries=_TRIES) for _ in range(2))]


def _groups(count: int, largest: int) -> list[slice]:
    """Consecutive galaxies in groups of nearly equal size, an even number of them if many.

    There are often two or four threads, but the draws must not depend on the machine. Few
    galaxies stay together: two threads of short operations get in each other's way.
    """
    number = min(count, 2 * math.ceil(count / (2 * largest)))
    number = number if count > largest // 2 else 1
    # The first ones have one more where they cannot be equal.
    size, more = divmod(count, number)
    starts = [index * size + min(index, more) for index in range(number + 1)]
    return [slice(*ends) for ends in itertools.pairwise(starts)]


def _joined(parts: list[RefinedPosterior], spectra: Tensor) -> RefinedPosterior:
    """Groups of galaxies as one batch, whose spectra are already together."""
    values = {
        name: torch.cat([part.values[name] for part in parts], 1) for name in parts[0].values
    }
    figures = {name: torch.cat([getattr(part, name) for part in parts]) for name in _FIGURES}
    return RefinedPosterior(values=values, spectra=spectra, **figures)
