"""From the amortised posterior of a galaxy to draws weighted with the exact likelihood.

The amortised posterior proposes the variables that act on the spectrum; each proposal gets one
draw of the others (halo mass, size), and the two are weighted together. Exact spectra of a few
proposals make a reduced likelihood, against which the proposal is adapted; the draws that are
chosen get exact spectra and are weighted with the exact likelihood.
"""

__all__ = [
    "HARD",
    "MISFIT",
    "AmortisedProposal",
    "ExactSpectra",
    "GalaxyPrior",
    "PosteriorRefiner",
    "RefinedPosterior",
    "RefinementModels",
]

from acie.refinement.density import ExactSpectra, GalaxyPrior, RefinementModels
from acie.refinement.proposal import AmortisedProposal
from acie.refinement.refiner import HARD, MISFIT, PosteriorRefiner, RefinedPosterior
