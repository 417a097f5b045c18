"""What all spectra of one galaxy share: its redshift, and the resolution that it is seen with.

An instrument whose resolution differs from that of the templates asks for another width at every
pixel. The broadening in Fourier space has one width; it takes the least, and what a pixel needs
beyond that is part of how it reads the spectrum, see :func:`acie.physics.sampler.widened`.
"""

__all__ = ["UNRESOLVED_STEP", "Sightline"]

import torch
from torch import Tensor

from acie.physics.kinematics import Broadening
from acie.physics.pixels import PixelWindow
from acie.physics.sampler import PixelSampler

#: Step in km/s between velocity dispersions at which pixels are prepared, where the width of some
#: is cut off at zero.
UNRESOLVED_STEP = 10.0


class Sightline:
    """From attenuated light on the rest grid to the pixels of the instrument, for one galaxy.

    Arguments:
        window: The observed window.
        first: Its first pixel on the rest grid.
        broadening: Shift by a fraction of a pixel, and velocity dispersion.
        excess_km2_s2: Variance to add at each pixel of the instrument, or, negative, to remove,
            down to a total of zero, shape ``(wave,)``; left out, none.
    """

    def __init__(
        self,
        window: PixelWindow,
        first: int,
        broadening: Broadening,
        excess_km2_s2: Tensor | None = None,
    ) -> None:
        #: Where the window lies on the rest grid.
        self.pixels = slice(first, first + window.size)
        #: Variance of instrument minus templates, km^2/s^2, ``(wave,)``, or None.
        self.excess = excess_km2_s2
        self.window, self.broadening = window, broadening
        #: The least excess, which the broadening takes over from the pixels.
        self.least = 0.0 if excess_km2_s2 is None else float(excess_km2_s2.min())
        self._samplers: dict[float, PixelSampler] = {}

    def __call__(
        self, light: Tensor, variance_km2_s2: Tensor, out: Tensor | None = None
    ) -> Tensor:
        """Means over the pixels, ``(row, wave)``.

        Arguments:
            light: On the window; overwritten, ``(row, window)``.
            variance_km2_s2: Squared velocity dispersion, ``(row,)``.
            out: Where to write.
        """
        return self.read(self.window.taper(light), variance_km2_s2, out)

    def read(self, light: Tensor, variance_km2_s2: Tensor, out: Tensor | None = None) -> Tensor:
        """The same for light that falls to zero at both ends of the window."""
        moved = self.broadening(light, (variance_km2_s2 + self.least).clamp(min=0.0))
        return self.at_pixels(moved, variance_km2_s2, out)

    def at_pixels(
        self, moved: Tensor, variance_km2_s2: Tensor, out: Tensor | None = None
    ) -> Tensor:
        """The same for light that has been broadened, as far as all pixels need it, and moved."""
        if bool((variance_km2_s2 + self.least >= 0.0).all()):
            return self.sampler(moved, out)
        return self._unresolved(moved, variance_km2_s2, out)

    @property
    def sampler(self) -> PixelSampler:
        """For spectra of a squared dispersion that, with the least excess, is not negative."""
        return self.window.plain if self.excess is None else self._sampler(-self.least)

    def _sampler(self, variance: float) -> PixelSampler:
        """For spectra of this squared dispersion that have only got what exceeds the least."""
        if variance not in self._samplers:
            total = (variance + self.excess).clamp(min=0.0)
            self._samplers[variance] = self.window.sampler(total - max(variance + self.least, 0))
        return self._samplers[variance]

    def _unresolved(self, moved: Tensor, variance: Tensor, out: Tensor | None) -> Tensor:
        """Where the templates are less sharp than some pixels ask for.

        What a pixel needs then depends on the dispersion: it is mixed from the two next to it of
        a few dispersions, so that it depends on nothing else and has the right variance.
        """
        top = -self.least
        steps = torch.arange(0.0, top**0.5, UNRESOLVED_STEP, dtype=torch.float64)
        nodes = steps.square().tolist()
        nodes = torch.tensor([*nodes, top, max(top, float(variance.max())) + 1.0])
        nodes = nodes.to(variance)
        place = torch.searchsorted(nodes, variance.detach().contiguous(), right=True)
        place = place.clamp(1, len(nodes) - 1)
        if out is None:
            out = moved.new_empty(len(moved), self.excess.shape[-1])
        for index in place.unique().tolist():
            rows = torch.nonzero(place == index)[:, 0]
            low, high = (float(node) for node in nodes[index - 1 : index + 1])
            sampler = self._sampler(min(low, top))
            if low < top:
                share = (variance[rows] - low) / (high - low)
                sampler.mix(self._sampler(high), share, moved, rows, out)
            else:
                out[rows] = sampler(moved[rows])
        return out
