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
        prior = {name: values[name].double() for name in self._names}
        self._edges = {n: torch.quantile(v, inner, dim=1).T.contiguous() for n, v in prior.items()}
        self._expected = {
            name: torch.stack([self._shares(name, cell, prior[name][cell]) for cell in
                               range(_CELLS)])
            for name in self._names
        }  # fmt: skip
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
            seen = torch.stack(
                [self._shares(n, cell, values[n][:, galaxy].double()) for n in self._names]
            )
            due = torch.stack([self._expected[name][cell] for name in self._names])
            with self._lock:
                self._seen = keep * self._seen + seen
                self._due = keep * self._due + due
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

    def _shares(self, name: str, cell: int, draws: Tensor) -> Tensor:
        """Share of draws in each bin of the prior."""
        place = torch.bucketize(draws.contiguous(), self._edges[name][cell], right=True)
        return torch.bincount(place, minlength=_BINS).double() / len(draws)
