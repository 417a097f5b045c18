"""Draws of galaxies that differ from the draw before: what need be computed only once."""

__all__ = ["DistinctDraws", "Part"]

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor


class Part(NamedTuple):
    """Some distinct draws of one galaxy.

    Arguments:
        galaxy: Which one.
        rows: Where they are among the draws that were taken.
        place: Where they are among all distinct draws.
    """

    galaxy: int
    rows: slice
    place: slice


class DistinctDraws:
    """The distinct ones among draws of several galaxies, galaxy by galaxy.

    Arguments:
        new: Which draws differ from the one before, ``(sample, batch)``.
    """

    def __init__(self, new: Tensor) -> None:
        self._batch = new.shape[1]
        #: Of every distinct draw, ``(distinct,)``.
        self.galaxy, self.sample = torch.nonzero(new.T, as_tuple=True)
        #: Which distinct draw each draw is, ``(sample, batch)``.
        self.place = (new.T.reshape(-1).cumsum(0) - 1).view(self._batch, -1).T

    def __len__(self) -> int:
        return len(self.galaxy)

    def take(
        self, states: dict[str, Tensor], names: Iterable[str], chosen: Tensor | slice = slice(None)
    ) -> dict[str, Tensor]:
        """Values of the distinct draws, or those ``chosen`` of them, each ``(distinct,)``."""
        place = self.sample[chosen] * self._batch + self.galaxy[chosen]
        return {name: states[name].take(place) for name in names}

    def parts(self, size: int, chosen: Tensor | None = None) -> Iterator[Part]:
        """Runs of at most ``size`` draws of one galaxy.

        Arguments:
            size: How many at most.
            chosen: Those that were taken, ascending; of one galaxy they must be neighbours.
        """
        galaxy = self.galaxy if chosen is None else self.galaxy[chosen]
        begin = 0
        for index, count in enumerate(torch.bincount(galaxy, minlength=self._batch).tolist()):
            first = begin if chosen is None or not count else int(chosen[begin])
            for start in range(0, count, size):
                stop = min(start + size, count)
                yield Part(
                    index, slice(begin + start, begin + stop), slice(first + start, first + stop)
                )
            begin += count
