r"""Rebinning onto another pixel grid: flux and information are conserved.

Flux density is averaged over every output pixel by exact overlap. Inverse variance is handled so
that information is never counted twice: an input pixel that is broader than the output pixels
(SDSS at its red end: 2.1 angstrom native, 1 angstrom here) makes several output pixels that carry
the same measurement, and propagating its variance to each of them would multiply its weight.
"""

__all__ = ["pixel_edges", "rebin"]

import numpy as np

from acie.errors import MalformedSpectrum
from acie.observation import WAVELENGTH

#: An output pixel is used when at least this fraction of its width is covered by good pixels.
MINIMUM_COVERAGE = 0.5
# A grid counts as log-linear when its ratios vary less than this; its edges are then geometric.
_LOG_LINEAR_TOLERANCE = 1e-6


def pixel_edges(wave: np.ndarray) -> np.ndarray:
    """Edges of contiguous pixels from their centres.

    Edges lie midway between centres; geometrically midway where the grid is log-linear, as the
    grids of SDSS are. The outermost pixels are as wide as their neighbours' spacing.

    Arguments:
        wave: Pixel centres, angstrom, strictly increasing, shape ``(pixel,)``.

    Returns:
        Edges, angstrom, shape ``(pixel + 1,)``.

    Raises:
        MalformedSpectrum: Fewer than two pixels, or not strictly increasing.

    Example:
        >>> pixel_edges(np.array([4000.0, 4001.0, 4002.0]))
        array([3999.5, 4000.5, 4001.5, 4002.5])
    """
    wave = np.asarray(wave, dtype=np.float64)
    if wave.ndim != 1 or wave.size < 2:
        raise MalformedSpectrum(
            "wavelength",
            expected="one axis of at least 2 pixels",
            found=f"shape {wave.shape}",
            remedy="Give one wavelength per pixel.",
        )
    if not (np.isfinite(wave).all() and (wave > 0).all() and (np.diff(wave) > 0).all()):
        raise MalformedSpectrum(
            "wavelength",
            expected="finite, positive and strictly increasing",
            found="values that are not",
            remedy="Sort the pixels and remove repeated or missing wavelengths.",
        )
    steps = np.diff(np.log(wave))
    logarithmic = np.ptp(steps) < _LOG_LINEAR_TOLERANCE * steps.mean() * wave.size
    centres = np.log(wave) if logarithmic else wave
    middle = 0.5 * (centres[1:] + centres[:-1])
    first = 2.0 * centres[0] - middle[0]
    last = 2.0 * centres[-1] - middle[-1]
    edges = np.concatenate([[first], middle, [last]])
    return np.exp(edges) if logarithmic else edges


def _integrate(density: np.ndarray, edges_in: np.ndarray, edges_out: np.ndarray) -> np.ndarray:
    """Integrals of a piecewise constant density over output pixels.

    Arguments:
        density: Value in every input pixel, shape ``(..., pixel)``.
        edges_in: Edges of the input pixels, angstrom, shape ``(pixel + 1,)``.
        edges_out: Edges of the output pixels, angstrom, shape ``(out + 1,)``.

    Returns:
        Integrals, unit of density times angstrom, shape ``(..., out)``; zero beyond the input.
    """
    start = np.zeros((*density.shape[:-1], 1))
    cumulative = np.concatenate([start, np.cumsum(density * np.diff(edges_in), axis=-1)], axis=-1)
    inside = np.clip(edges_out, edges_in[0], edges_in[-1])
    pixel = np.clip(np.searchsorted(edges_in, inside, side="right") - 1, 0, density.shape[-1] - 1)
    at_edges = cumulative[..., pixel] + density[..., pixel] * (inside - edges_in[pixel])
    return np.diff(at_edges, axis=-1)


def rebin(
    wave: np.ndarray,
    flux: np.ndarray,
    ivar: np.ndarray,
    good: np.ndarray | None = None,
    edges: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    r"""Flux density and inverse variance on other pixels.

    With the overlap :math:`o_{ij}` of good input pixel :math:`i`, of width :math:`w_i`, with
    output pixel :math:`j`, and :math:`C_j = \sum_i o_{ij}`,

    .. math:: F_j = \frac{1}{C_j} \sum_i o_{ij} F_i , \qquad
        \frac{1}{I_j} = \frac{1}{C_j^2} \sum_i o_{ij} \frac{w_i}{I_i} .

    Where the inverse variance is the same in the inputs of one output pixel this is the density
    of information, :math:`I_j = \sum_i I_i\, o_{ij} / w_i`, and the sum of inverse variance over
    pixels is conserved exactly. Where it is not, the unweighted mean :math:`F_j` is as noisy as
    its worst input and :math:`I_j` says so: information is lost there, never gained. To first
    order this is naive propagation where output pixels are broader than input pixels; where they
    are narrower, each carries its share of the one measurement.

    Arguments:
        wave: Centres of the input pixels, angstrom, strictly increasing, shape ``(pixel,)``.
        flux: Flux density per angstrom, shape ``(..., pixel)``.
        ivar: Inverse variance of ``flux``, shape ``(..., pixel)``.
        good: Which input pixels to use, shape ``(..., pixel)``; pixels with NaN or without
            positive inverse variance are left out in any case.
        edges: Edges of the output pixels, angstrom, shape ``(out + 1,)``; by default those of
            :data:`acie.observation.WAVELENGTH`.

    Returns:
        Flux density and inverse variance, shape ``(..., out)``; both zero where good input
        pixels cover less than half of the output pixel.
    """
    flux = np.asarray(flux, dtype=np.float64)
    ivar = np.asarray(ivar, dtype=np.float64)
    wave = np.asarray(wave, dtype=np.float64)
    if flux.shape != ivar.shape or flux.shape[-1:] != wave.shape:
        raise MalformedSpectrum(
            "flux",
            expected=f"flux and ivar of shape (..., {wave.size}), one value per wavelength",
            found=f"{flux.shape} and {ivar.shape}",
            remedy="Give flux and ivar on the same pixels as the wavelength.",
        )
    edges_in = pixel_edges(wave)
    edges_out = pixel_edges(WAVELENGTH) if edges is None else np.asarray(edges, dtype=np.float64)
    usable = np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0)
    if good is not None:
        usable &= np.asarray(good, dtype=bool)

    # Variance times width is the variance per unit of covered width.
    spread = np.diff(edges_in) / np.where(usable, ivar, 1.0)
    covered = _integrate(usable.astype(np.float64), edges_in, edges_out)
    total = _integrate(np.where(usable, flux, 0.0), edges_in, edges_out)
    variance = _integrate(np.where(usable, spread, 0.0), edges_in, edges_out)

    # The tolerance lets exactly half a pixel through in spite of rounding.
    keep = covered >= (MINIMUM_COVERAGE - 1e-9) * np.diff(edges_out)
    keep &= variance > 0
    width = np.where(keep, covered, 1.0)
    flux_out = np.where(keep, total / width, 0.0)
    ivar_out = np.where(keep, width**2 / np.where(keep, variance, 1.0), 0.0)
    return flux_out, ivar_out
