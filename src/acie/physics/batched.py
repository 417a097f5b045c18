"""Spectra of many galaxies at once, each with a redshift and a resolution of its own.

On a processor one galaxy after another is faster, because its arrays stay in the cache
(:class:`acie.physics.sightline.Sightline`). An accelerator wants few large operations: here all
galaxies of a chunk share them, and the steps are those of the sightline.
"""

__all__ = ["observe_together"]

import torch
from torch import Tensor

from acie.physics.kinematics import broaden_and_shift
from acie.physics.pixels import PixelWindow
from acie.physics.sampler import widened
from acie.physics.sightline import UNRESOLVED_STEP
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
    low, high, share = _nodes(variance, -excess_km2_s2.amin(-1))
    base = (variance + excess_km2_s2.amin(-1)).clamp(min=0.0)
    moved = broaden_and_shift(
        window.taper(light), base.to(light.dtype), shift, REST_STEP, window.prefilter
    )
    first, taps = window.taps(slice(None))
    left = (torch.stack([low, high])[..., None] + excess_km2_s2).clamp(min=0.0)
    half, filters = widened(taps, left)
    share = share[:, None].to(moved.dtype)
    pixels = moved.new_zeros(excess_km2_s2.shape)
    for tap, (below, above) in enumerate(filters):
        read = moved.index_select(-1, first + (tap - half))
        pixels.addcmul_(read, torch.lerp(below, above, share))
    return pixels


def _nodes(variance: Tensor, top: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Squared dispersions between which filters are mixed, and the share of the second.

    Where the templates are sharp enough for all pixels there is one, ``top``.
    """
    root = (variance.sqrt() / UNRESOLVED_STEP).floor() * UNRESOLVED_STEP
    resolved = variance >= top
    low = torch.where(resolved, top, root.square())
    high = torch.minimum((root + UNRESOLVED_STEP).square(), top)
    share = torch.where(resolved, 0.0, (variance - low) / (high - low).clamp(min=1e-9))
    return low, torch.where(resolved, top, high), share
