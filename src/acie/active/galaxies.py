r"""Galaxies to observe again: how much their posteriors leave open.

Scores come from posterior draws on the natural scale of the variables (dex for logarithmic ones),
in the axes in which the population has unit covariance.

**Information gain.** With the population as a Gaussian prior of unit covariance, an observation
of information A leaves the covariance :math:`\Sigma = (1 + A)^{-1}`, with eigenvalues
:math:`v_k`. The same exposure another f - 1 times adds :math:`(f - 1) A`, so that the expected
fall of the entropy, in nats, is

.. math:: \tfrac12 \log\frac{|1 + f A|}{|1 + A|}
    = \tfrac12 \sum_k \log\left(f - (f - 1) v_k\right).

**Variance reduction.** The variance of an axis falls from :math:`v_k` to
:math:`v_k / (f - (f - 1) v_k)`. The score is the mean of the fall over the variables, in units of
the population's variance. What no spectrum tells about (v = 1) counts for nothing, whereas
posterior variance counts it in full.

Errors of templates do not shrink with time. With S/N s per pixel and a relative template error e,
f is therefore replaced by :math:`(s^{-2} + e^2) / (s^{-2}/f + e^2)`.

The gain is largest for galaxies that tell much already, up to :math:`\tfrac12 \log f` per
direction: a spectrum of pure noise stays one when its exposure is doubled. Posterior variance asks
the opposite, where the most is unknown.

References:
    Cohn, Ghahramani & Jordan 1996, Journal of Artificial Intelligence Research 4, 129, section 2:
    choosing by the expected fall of the variance.
    Lindley 1956, Annals of Mathematical Statistics 27, 986, definition 2: information provided by
    an experiment.
    Chaloner & Verdinelli 1995, Statistical Science 10, 273, section 2.2: the linear Gaussian case.
"""

__all__ = ["GalaxyPool", "PoolBuilder"]

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from acie.engine import CounterfactualEngine
from acie.errors import CausalError, ConfigurationError
from acie.observation import Observation
from acie.questions import galaxy_outcome
from acie.results import Abduction
from acie.scm.effects import contrast
from acie.scm.outcomes import Outcome

#: Galaxies whose properties differ by half a standard deviation of the population, root mean
#: square over the properties, have similarity exp(-1/2).
_LENGTH = 0.5
_PRIOR_DRAWS = 8192
#: Directions of the population with less of its variance follow from the others.
_DEPENDENT = 1e-6


@dataclass(frozen=True, eq=False)
class GalaxyPool:
    """Posterior draws of candidates.

    Arguments:
        names: One name per candidate.
        theta: Draws in units of the population's standard deviations, centred,
            ``(draw, candidate, variable)``.
        correlation: Correlation of the population, ``(variable, variable)``.
        signal_to_noise: Median per pixel, ``(candidate,)``.
        effect: Draws of a causal effect, NaN where the action is impossible,
            ``(draw, candidate)``.
        exposure: Factor f on the exposure time for the information gain.
        template_error: Relative error of the templates per pixel.
    """

    names: tuple[str, ...]
    theta: Tensor
    correlation: Tensor
    signal_to_noise: Tensor
    effect: Tensor | None = None
    exposure: float = 4.0
    template_error: float = 0.02

    def __post_init__(self) -> None:
        if not self.exposure > 1.0:
            raise ConfigurationError(
                "exposure", expected="a factor above 1", found=f"{self.exposure:g}",
                remedy="4 asks for four times the exposure, which doubles the S/N.",
            )  # fmt: skip

    @property
    def acquisitions(self) -> tuple[str, ...]:
        """Names of the scores."""
        names = ("posterior_variance", "variance_reduction", "information_gain")
        return names if self.effect is None else (*names, "effect_variance")

    def __len__(self) -> int:
        return len(self.names)

    def score(self, by: str) -> Tensor:
        """The score of every candidate, ``(candidate,)``."""
        return getattr(self, f"_{by}")()

    def similarity(self, index: int) -> Tensor:
        """Gaussian kernel of the distance of posterior means, ``(candidate,)``."""
        means = self._means
        distance = (means - means[index]).square().mean(-1)
        return torch.exp(-0.5 * distance / _LENGTH**2)

    @property
    def _means(self) -> Tensor:
        return self.theta.mean(0)

    def _posterior_variance(self) -> Tensor:
        """Mean over the variables of the variance, as a share of the population's."""
        return self.theta.var(0).mean(-1)

    def _effect_variance(self) -> Tensor:
        """Variance of the effect over the draws that allow it, in its unit squared."""
        known = self.effect.isfinite()
        count = known.sum(0).clamp(min=1)
        values = self.effect.nan_to_num(nan=0.0)
        mean = values.sum(0) / count
        square = ((values - mean).square() * known).sum(0)
        return square / (count - 1).clamp(min=1)

    def _variance_reduction(self) -> Tensor:
        """Expected fall of the posterior variance, see the head of this module."""
        left, factor, share = self._spectrum()
        after = left / (factor - (factor - 1.0) * left)
        return ((left - after) * share).sum(-1) / self.theta.shape[-1]

    def _information_gain(self) -> Tensor:
        """Expected fall of the entropy in nats, see the head of this module."""
        left, factor, _ = self._spectrum()
        return 0.5 * torch.log(factor - (factor - 1.0) * left).sum(-1)

    def _spectrum(self) -> tuple[Tensor, Tensor, Tensor]:
        """Eigenvalues v and factors f, and the variables' variance that an axis holds per v."""
        variance, axes = torch.linalg.eigh(self.correlation)
        kept = variance > _DEPENDENT * variance.max()
        whitened = self.theta @ (axes[:, kept] / variance[kept].sqrt())
        centred = whitened - whitened.mean(0)
        covariance = torch.einsum("sck,scl->ckl", centred, centred) / (len(centred) - 1)
        left, turn = torch.linalg.eigh(covariance)
        pixel = self.signal_to_noise.double().clamp(min=1e-3) ** -2
        error = self.template_error**2
        factor = ((pixel + error) / (pixel / self.exposure + error))[:, None]
        share = torch.einsum("k,ckl->cl", variance[kept], turn.square())
        return left.clamp(0.0, 1.0), factor, share


@dataclass
class PoolBuilder:
    """Collects candidates one observation at a time, keeping draws and no spectra.

    Arguments:
        engine: The engine.
        do: The action of the effect; none when left out.
        on: The outcome of the effect: a variable, or a feature such as ``dn4000``.
        exposure: See :class:`GalaxyPool`.

    Raises:
        UnknownVariable: No such variable or feature.
        ConfigurationError: An action without an outcome, or the other way round.
    """

    engine: CounterfactualEngine
    do: Sequence[str] = ()
    on: str = ""
    exposure: float = 4.0
    names: list[str] = field(default_factory=list, init=False)
    _theta: list[Tensor] = field(default_factory=list, init=False)
    _effects: list[Tensor] = field(default_factory=list, init=False)
    _facts: list[tuple[Tensor, Tensor]] = field(default_factory=list, init=False)
    _outcome: Outcome | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if bool(self.do) != bool(self.on):
            raise ConfigurationError(
                "effect", expected="an action and an outcome, or neither",
                found="an action" if self.do else "an outcome",
                remedy="For example --do stellar_mass*=1.5 --on dn4000.",
            )  # fmt: skip
        self.engine.act(list(self.do))
        if self.on:
            self._outcome = galaxy_outcome(self.engine.scm, self.engine.physics, self.on)
        self._variables = {
            name: variable for name, variable in self.engine.scm.variables.items()
            if variable.intervenable and variable.kind == "continuous"
        }  # fmt: skip

    def add(self, observation: Observation, abduction: Abduction, names: Sequence[str]) -> None:
        """Add a batch of candidates.

        Raises:
            CausalError: Fewer than half of the draws of a candidate allow the action.
        """
        values = abduction.posterior.values
        effect = None if self._outcome is None else self._effect(abduction)
        if effect is not None:
            self._effects.append(effect)
        self._theta.append(self._natural(values))
        observation = observation.batched()
        self._facts.append((observation.signal_to_noise, observation.redshift.double()))
        self.names.extend(names)

    def build(self, generator: torch.Generator) -> GalaxyPool:
        """The pool, in units of the population at the redshifts of the candidates.

        Raises:
            ConfigurationError: Nothing was added.
        """
        if not self.names:
            raise ConfigurationError(
                "pool", expected="at least one candidate", found="none",
                remedy="Give galaxies to choose from.",
            )  # fmt: skip
        snr, redshift = (torch.cat(parts) for parts in zip(*self._facts, strict=True))
        drawn = torch.randint(len(redshift), (_PRIOR_DRAWS,), generator=generator)
        prior, _ = self.engine.scm.sample(
            (_PRIOR_DRAWS,), given={"redshift": redshift[drawn]}, generator=generator
        )
        population = self._natural(prior)
        theta = (torch.cat(self._theta, 1) - population.mean(0)) / population.std(0)
        return GalaxyPool(
            tuple(self.names), theta, torch.corrcoef(population.T), snr,
            torch.cat(self._effects, 1) if self._effects else None, self.exposure,
            self.engine.noise_model.template_error,
        )  # fmt: skip

    def _natural(self, values: dict[str, Tensor]) -> Tensor:
        scaled = [v.forward(values[n].double()) for n, v in self._variables.items()]
        return torch.stack(torch.broadcast_tensors(*scaled), -1)

    def _effect(self, abduction: Abduction) -> Tensor:
        """The effect in every draw, NaN where the action is impossible, ``(draw, candidate)``."""
        values, noise = abduction.posterior.values, abduction.noise
        shape = torch.broadcast_shapes(*(value.shape for value in values.values()))
        flat = [
            {name: value.expand(shape).reshape(-1) for name, value in world.items()}
            for world in (values, noise)
        ]
        found = contrast(
            self.engine.scm, list(self.do), self._outcome, values=flat[0], noise=flat[1]
        )
        effect = torch.full((shape.numel(),), torch.nan, dtype=torch.float64)
        effect[found.index] = found.difference.double()
        effect = effect.reshape(shape)
        share = effect.isfinite().double().mean(0).min()
        if share < 0.5:
            raise CausalError(
                ", ".join(self.do), expected="an action that half of the draws allow",
                found=f"{float(share):.0%}", remedy="Ask for a smaller change.",
            )  # fmt: skip
        return effect

