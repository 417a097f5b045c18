"""Noise of a spectrum without errors, from the scatter between its pixels."""

__all__ = ["estimate_noise"]

import numpy as np

from acie.errors import MalformedSpectrum

# Long enough for a median to 7 %, short enough to follow the throughput of a spectrograph.
_BLOCK = 300


def _der_snr(flux: np.ndarray) -> float:
    """Standard deviation of white noise on a smooth signal, in the unit of ``flux``."""
    curvature = np.abs(2.0 * flux[2:-2] - flux[:-4] - flux[4:])
    return float(1.482602 / np.sqrt(6.0) * np.median(curvature)) if curvature.size else 0.0


def estimate_noise(flux: np.ndarray) -> np.ndarray:
    r"""Standard deviation per pixel, in blocks of 300 pixels with linear interpolation between.

    .. math:: \sigma = \frac{1.482602}{\sqrt 6}\,
        \mathrm{median} |2 f_i - f_{i-2} - f_{i+2}|

    The second difference removes a linear signal, the median removes lines and outliers. Noise
    that is correlated between pixels two apart is underestimated.

    References:
        Stoehr et al. 2008, ASP Conf. Ser. 394, 505 (DER_SNR).

    Arguments:
        flux: Flux density, any unit, shape ``(pixel,)``; NaN where bad.

    Returns:
        Standard deviation, unit of ``flux``, shape ``(pixel,)``.

    Raises:
        MalformedSpectrum: Too few pixels, or no scatter at all.
    """
    good = np.flatnonzero(np.isfinite(flux))
    values = flux[good]
    overall = _der_snr(values)
    if not overall > 0:
        raise MalformedSpectrum(
            "error",
            expected="errors in the file, or pixels whose scatter shows them",
            found=f"no errors and no scatter in {good.size} pixels",
            remedy="Add a column error or ivar; a noiseless model has no likelihood.",
        )
    count = max(1, good.size // _BLOCK)
    blocks = np.array_split(np.arange(good.size), count)
    centres = np.array([good[block].mean() for block in blocks])
    noise = np.array([_der_snr(values[block]) for block in blocks])
    # A constant stretch (a filled gap) has no scatter but is not free of noise.
    noise = np.where(noise > 0.01 * overall, noise, overall)
    return np.interp(np.arange(flux.size), centres, noise)
