"""Residuals of spectra by compiled kernels: what their callers have :func:`usable` tensors for."""

__all__ = ["BIN", "bins", "deviates", "fits", "nanmedian", "row_sums", "squares"]

import torch
from torch import Tensor

from acie.native import kernels, usable

#: Pixels of a bin, bins that the kernels make at once, and terms of a calibration at most.
BIN, _LANES, _TERMS = 5, 8, 8
#: Terms of the calibration for which the sums over the pixels are compiled, and how many they are.
_SUM_TERMS, _SUMS = 4, 13


def fits(model: Tensor, basis: Tensor, *rows: Tensor) -> bool:
    """Whether the kernels here may take spectra and what belongs to their pixels.

    Arguments:
        model: Shape ``(sample, batch, wave)``, of which the last axis is contiguous.
        basis: The polynomials of the calibration, ``(term, wave)``.
        rows: Contiguous, ``(batch, wave)``.
    """
    return (
        usable(model, basis, *rows)
        and model.ndim == 3
        and all(part.shape == model.shape[1:] for part in rows)
        and model.shape[-1] % (BIN * _LANES) == 0
        and model.stride(-1) == 1
        and len(basis) <= _TERMS
        and all(part.is_contiguous() for part in (basis, *rows))
    )


def row_sums(
    model: Tensor, flux: Tensor, ivar: Tensor, relative: Tensor, powers: Tensor
) -> tuple[Tensor, Tensor] | None:
    """Sums T w f r, ``(sample, batch, term)``, and T w f^2, ``(sample, batch, 2 term - 1)``.

    None for a number of terms for which they are not compiled. Arguments: see :func:`fits`.
    """
    if len(powers) != 2 * _SUM_TERMS - 1:
        return None
    samples, batch, pixels = model.shape
    out = torch.empty(samples, batch, _SUMS, dtype=torch.float64)
    for galaxy in range(batch):
        row = tuple(part[galaxy].data_ptr() for part in (flux, ivar, relative))
        first, step = model[:, galaxy].data_ptr(), 4 * model.stride(0)
        to, next_to = out[:, galaxy].data_ptr(), 8 * out.stride(0)
        for sample in range(samples):
            where = first + sample * step
            kernels.sums(1, pixels, where, *row, powers.data_ptr(), to + sample * next_to)
    return out[..., 2 : 2 + _SUM_TERMS], out[..., 2 + _SUM_TERMS :]


def bins(
    model: Tensor,
    flux: Tensor,
    ivar: Tensor,
    relative: Tensor,
    basis: Tensor,
    coefficients: Tensor,
) -> tuple[Tensor, Tensor]:
    """Sums over bins of :data:`BIN` pixels of calibrated draws.

    Arguments:
        model: See :func:`fits`, as are the next four.
        flux: Observed.
        ivar: Its inverse variances.
        relative: These times the squared relative error of the model.
        basis: Of the calibration.
        coefficients: Of the calibration, single precision, ``(sample, batch, term)``.

    Returns:
        Weights, how many are positive, weighted residuals and weighted models, ``(batch, sample,
        4, bin)``; and of the mean weights and residuals over the draws the first three, ``(batch,
        3, bin)``.
    """
    samples, batch, pixels = model.shape
    out = torch.empty(batch, samples, 4, pixels // BIN)
    mean = torch.empty(batch, 3, pixels // BIN)
    coefficients = coefficients.transpose(0, 1).contiguous()
    place = model.stride(0) * torch.arange(samples)
    for galaxy in range(batch):
        of_galaxy = (model[:, galaxy], flux[galaxy], ivar[galaxy], relative[galaxy])
        kernels.bins(
            samples,
            pixels,
            place.data_ptr(),
            *(part.data_ptr() for part in of_galaxy),
            len(basis),
            basis.data_ptr(),
            *(part[galaxy].data_ptr() for part in (coefficients, out, mean)),
        )
    return out, mean


def squares(sums: Tensor, variance: Tensor, common: float, widths: tuple[int, ...]) -> Tensor:
    """Sums of squares of the residuals of bins in their standard errors, on several scales.

    Arguments:
        sums: From :func:`bins`; lost here.
        variance: Of the noise, in stated ones, ``(batch,)``.
        common: Relative error of the model that all pixels of a bin share.
        widths: Of the bins, pixels, each a multiple of the one before, the first of :data:`BIN`.

    Returns:
        How many bins have most of their pixels, and their sum, ``(batch, sample, width, 2)``.
    """
    batch, samples, _, count = sums.shape
    before = (BIN, *widths[:-1])
    factors = torch.tensor([width // last for width, last in zip(widths, before, strict=True)])
    out = torch.empty(batch, samples, len(widths), 2, dtype=torch.float64)
    for galaxy, own in enumerate(variance.tolist()):
        arguments = samples, count, len(widths), factors.data_ptr(), own, common
        kernels.squares(*arguments, sums[galaxy].data_ptr(), out[galaxy].data_ptr())
    return out


def deviates(
    model: Tensor,
    flux: Tensor,
    ivar: Tensor,
    relative: Tensor,
    basis: Tensor,
    coefficients: Tensor,
) -> tuple[Tensor, Tensor]:
    """Residuals in standard errors of bins of :data:`BIN` pixels, and of pixels; NaN where bad.

    Arguments: see :func:`bins`; the weights here are those of the models before calibration.

    Returns:
        ``(sample, batch, bin)`` and ``(sample, batch, wave)``.
    """
    samples, batch, pixels = model.shape
    single = torch.empty(samples, batch, pixels)
    binned = torch.empty(samples, batch, pixels // BIN)
    coefficients = coefficients.contiguous()
    for galaxy in range(batch):
        row = tuple(part[galaxy].data_ptr() for part in (flux, ivar, relative))
        for sample in range(samples):
            own = (part[sample, galaxy].data_ptr() for part in (coefficients, single, binned))
            where = model[sample, galaxy].data_ptr()
            kernels.deviates(pixels, where, *row, len(basis), basis.data_ptr(), *own)
    return binned, single


def nanmedian(values: Tensor) -> Tensor:
    """Medians of the last axis without NaN, compiled where it may be."""
    if not usable(values) or values.ndim == 0:
        return values.nanmedian(-1).values
    values = values.contiguous()
    size = values.shape[-1]
    keys = torch.empty(size + _LANES, dtype=torch.int32)
    out = torch.empty(values.shape[:-1])
    arguments = values.data_ptr(), keys.data_ptr(), out.data_ptr()
    kernels.medians(out.numel(), size, *arguments)
    return out
