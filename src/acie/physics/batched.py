r"""Spectra of many galaxies at once, each with a redshift and a resolution of its own.

On a processor one galaxy after another is faster, because its arrays stay in the cache
(:class:`acie.physics.sightline.Sightline`). An accelerator wants few large operations: here all
galaxies of a chunk share them. At every pixel of every galaxy the Gaussian that is left,

.. math:: s^2(\lambda) = \max(\sigma^2 + e(\lambda), 0) - \max(\sigma^2 + \min e, 0) ,

with e the excess of the instrument over the templates, becomes a filter of its own.
"""

__all__ = ["observe_together"]

import torch
from torch import Tensor

from acie.physics.kinematics import broaden_and_shift
from acie.physics.pixels import PixelWindow, widened
from acie.physics.templates import REST_STEP


def observe_together(
    window: PixelWindow,
    light: Tensor,
    shift: Tensor,
    variance_km2_s2: Tensor,
    excess_km2_s2: Tensor,
) -> Tensor:
    """Means over the instrument's pixels.

    Arguments:
        window: The observed window.
        light: Attenuated light on each galaxy's window; overwritten, ``(row, window)``.
        shift: Fraction of a pixel left to move by, from :meth:`PixelWindow.locate`, ``(row,)``.
        variance_km2_s2: Squared velocity dispersion, km^2/s^2, ``(row,)``.
        excess_km2_s2: Variance to add at each pixel, or, negative, to remove, down to a total of
            zero, km^2/s^2, ``(row, wave)``.

    Returns:
        Shape ``(row, wave)``.
    """
    variance = variance_km2_s2.to(excess_km2_s2.dtype)
    base = (variance + excess_km2_s2.amin(-1)).clamp(min=0.0)
    moved = broaden_and_shift(
        window.taper(light), base.to(light.dtype), shift, REST_STEP, window.prefilter
    )
    left = (variance[:, None] + excess_km2_s2).clamp(min=0.0) - base[:, None]
    first, taps = window.taps(slice(None))
    half, filters = widened(taps, left)
    pixels = moved.new_zeros(left.shape)
    for tap, weights in enumerate(filters):
        pixels.addcmul_(moved.index_select(-1, first + (tap - half)), weights)
    return pixels
