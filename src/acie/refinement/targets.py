"""Log posterior densities of the proposal's noise, with the reduced and the exact likelihood."""

__all__ = ["ANCHORS", "ExactTarget", "ReducedTarget"]

import operator
from collections.abc import Callable

import torch
from torch import Tensor

from acie import native
from acie.inference import temper
from acie.native import student as compiled
from acie.refinement.density import CAUSES, ExactSpectra, GalaxyPrior, Settled
from acie.refinement.proposal import AmortisedProposal
from acie.refinement.reduced import ReducedLikelihood
from acie.replay import call

#: Draws whose exact spectra make the basis of the reduced likelihood.
ANCHORS = 26
#: Effective size to which the anchors' weights are flattened: none may be without say.
_ANCHOR_SIZE = 8.0
#: The regression of coordinates on variables uses weights of at least this effective size.
_SIZE_PER_DIM = 4.0
#: Longest Gauss-Newton step, in standard deviations of the draws.
_REACH = 4.0
#: Precision that the amortised posterior, made twice as wide, gives the noise.
_PRIOR = 0.25


class ReducedTarget:
    """Log posterior density of the proposal's noise, with a reduced likelihood.

    The basis is made from exact spectra of anchors: the first draws that are asked for, and draws
    of an earlier refinement if there are any.

    Arguments:
        proposal: Maps noise to variables.
        prior: Prior density.
        exact: Exact spectra.
        replay: Plays back what is called for every galaxy.
    """

    def __init__(
        self,
        proposal: AmortisedProposal,
        prior: GalaxyPrior,
        exact: ExactSpectra,
        replay: Callable = call,
    ) -> None:
        self._proposal, self._prior, self._exact = proposal, prior, exact
        # A recording would hold what the kernels are there to replace.
        self._replay = call if native.available() else replay
        self._reduced: ReducedLikelihood | None = None
        #: Exact spectra of the first draws.
        self.known: Settled | None = None
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
        causes = {name: states[name] for name in CAUSES}
        likelihood, coordinates = self._replay("reduced", operator.call, self._reduced, causes)
        self._likelihoods.append(likelihood)
        self._coordinates.append(coordinates)
        return log_prior + log_det + likelihood

    def _reduce(self, states: dict[str, Tensor]) -> ReducedLikelihood:
        self.known = self._exact(states)
        spectra, likelihood = self.known.spectra(), self.known.log_likelihood
        if self._more is not None:
            earlier, known = self._more
            states = {name: torch.cat([value, earlier[name]]) for name, value in states.items()}
            spectra = torch.cat([spectra, known])
            likelihood = torch.cat([likelihood, self._exact.likelihood(known)])
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
        coordinates = torch.cat(self._coordinates).double()
        centre, scale, middle, slopes = _regression(noise, log_weights, coordinates)
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
        #: Exact spectra of the first draws.
        self.known: Settled | None = None
        self._spectra: list[Tensor] = []
        self._likelihoods: list[Tensor] = []

    def __call__(self, noise: Tensor) -> Tensor:
        """Map ``(sample, batch, dim)`` to ``(sample, batch)``."""
        x, log_det = self._proposal.variables(noise)
        states, log_prior = self._prior(x)
        settled = self._exact(states)
        self.known = self.known or settled
        self._spectra.append(settled.spectra())
        self._likelihoods.append(settled.log_likelihood)
        return log_prior + log_det + self._likelihoods[-1]

    def log_likelihood(self, index: Tensor) -> Tensor:
        """Log likelihood of the draws ``index`` ``(sample, batch)``, same shape."""
        return torch.cat(self._likelihoods).gather(0, index)

    def gauss_newton(self, noise: Tensor, log_weights: Tensor) -> tuple[Tensor, Tensor]:
        """The same as of :class:`ReducedTarget`, from a regression of whole spectra."""
        spectra = torch.cat(self._spectra)
        centre, scale, middle, slopes = _regression(noise, log_weights, spectra)
        gradient, information = self._exact.likelihood.information(middle, slopes)
        return _newton(centre, scale, gradient, information)


def _regression(
    noise: Tensor, log_weights: Tensor, values: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weighted linear regression of values ``(sample, batch, n)`` on the noise of the draws.

    Returns:
        Weighted mean of the noise ``(batch, dim)``, its standard deviation, the mean of the values
        ``(batch, n)`` and their slopes ``(batch, dim, n)``.
    """
    dim = noise.shape[-1]
    weights, _ = temper(log_weights, _SIZE_PER_DIM * dim)
    if compiled.fits(noise, values):
        return compiled.regression(weights, noise, values)
    share = weights.T[..., None]
    x = noise.transpose(0, 1)
    centre, root = (share * x).sum(1), share.sqrt()
    design = root * (x - centre[:, None])
    gram = design.mT @ design
    scale = gram.diagonal(dim1=-2, dim2=-1).clamp(min=1e-12).sqrt()
    white = gram / scale[:, None] / scale[..., None] + 1e-6 * torch.eye(dim, dtype=x.dtype)
    solve = torch.linalg.solve(white, (design / scale[:, None]).mT) / scale[..., None]
    # Whole spectra are tens of megabytes: read once, and the mean is taken away afterwards.
    weights = torch.cat([share.mT, solve * root.mT], 1).to(values.dtype)
    means, slopes = (weights @ values.transpose(0, 1)).split([1, dim], 1)
    slopes = slopes - weights[:, 1:].sum(-1, True) * means
    return centre, scale, means[:, 0], slopes


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
