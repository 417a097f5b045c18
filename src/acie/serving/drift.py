"""Have the galaxies that are asked about changed from those the model was trained on?

Averaged over galaxies of the training population, the posterior is the prior. So the share of
posterior draws in each decile of the prior is compared with what the prior puts there, by the
population stability index, the symmetrised Kullback-Leibler divergence of the two. The prior is
that of the causal model given each galaxy's redshift: other redshifts alone are no drift.

Below 0.1 is usually read as no change and above 0.25 as a change that matters. For galaxies of the
training population the index is not zero but about (bins - 1) / (galaxies in the window), at most.

References:
    Siddiqi 2006, Credit Risk Scorecards, chapter 10 (the index and its limits).
"""

__all__ = ["DriftMonitor"]

import threading

import torch
from torch import Tensor

from acie.scm import StructuralCausalModel

#: Draws of the prior in each cell of redshift, cells, and bins of each variable.
_DRAWS, _CELLS, _BINS = 4000, 12, 10
#: Galaxies after which an old one counts 1/e, and with fewer than which nothing is said.
_MEMORY, _FEWEST = 500.0, 50.0
#: Added to shares, so that an empty bin is far from a full one but not infinitely.
_FLOOR = 1e-4


class DriftMonitor:
    """Running index of every variable of one model.

    Arguments:
        scm: The causal model, whose population is the prior.
        redshift: Lowest and highest redshift of the training population.
    """

    def __init__(self, scm: StructuralCausalModel, redshift: tuple[float, float]) -> None:
        generator = torch.Generator().manual_seed(0)
        edges = torch.linspace(*redshift, _CELLS + 1, dtype=torch.float64)
        self._centres = (edges[1:] + edges[:-1]) / 2
        values, _ = scm.sample(
            (_CELLS, _DRAWS), given={"redshift": self._centres[:, None]}, generator=generator
        )
        self._names = [name for name in values if name != "redshift"]
        inner = torch.linspace(0, 1, _BINS + 1, dtype=torch.float64)[1:-1]
        prior = torch.stack([values[name].double() for name in self._names], 1)
        #: Of each cell and variable, ``(cell, variable, edge)`` and ``(cell, variable, bin)``.
        self._edges = torch.quantile(prior, inner, dim=-1).movedim(0, -1).contiguous()
        self._expected = torch.stack([self._shares(c, prior[c]) for c in range(_CELLS)])
        empty = torch.zeros(len(self._names), _BINS, dtype=torch.float64)
        self._seen, self._due, self._weight = empty, empty.clone(), 0.0
        self._lock = threading.Lock()

    def add(self, values: dict[str, Tensor], redshift: Tensor) -> None:
        """Count galaxies.

        Arguments:
            values: Posterior draws, each ``(sample, batch)``.
            redshift: ``(batch,)``.
        """
        keep = 1.0 - 1.0 / _MEMORY
        for galaxy in range(len(redshift)):
            cell = int((self._centres - redshift[galaxy].double()).abs().argmin())
            draws = torch.stack([values[name][:, galaxy].double() for name in self._names])
            seen = self._shares(cell, draws)
            with self._lock:
                self._seen = keep * self._seen + seen
                self._due = keep * self._due + self._expected[cell]
                self._weight = keep * self._weight + 1.0

    def index(self) -> dict[str, float]:
        """The index by variable; empty while too few galaxies were seen."""
        with self._lock:
            if self._weight < _FEWEST:
                return {}
            seen = self._seen / self._weight + _FLOOR
            due = self._due / self._weight + _FLOOR
        found = ((seen - due) * (seen / due).log()).sum(-1)
        return dict(zip(self._names, found.tolist(), strict=True))

    def _shares(self, cell: int, draws: Tensor) -> Tensor:
        """Share of draws ``(variable, draw)`` in each bin of the prior, ``(variable, bin)``."""
        place = torch.searchsorted(self._edges[cell], draws, right=True)
        counts = torch.zeros(len(draws), _BINS, dtype=torch.float64)
        return counts.scatter_add_(1, place, torch.ones_like(draws)) / draws.shape[1]
