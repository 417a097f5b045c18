"""A small basis of spectra by compiled kernels, and what a quadratic likelihood needs of it.

Their callers have :func:`fits` or :func:`expands` what they are given.
"""

__all__ = ["centred", "combined", "expanded", "expands", "fits", "strata"]

import torch
from torch import Tensor

from acie.native import kernels, usable
from acie.threads import spread

#: Pixels that are done at once; pixels over which polynomials are flat, and how many of these and
#: components there are at most.
_STRETCH, _BLOCK, _POLYNOMIALS, _COMPONENTS = 240, 12, 12, 24


def fits(spectra: Tensor, *rows: Tensor) -> bool:
    """Whether the kernels here may take spectra and what belongs to their pixels.

    Arguments:
        spectra: Shape ``(batch, sample, wave)``, of which the last axis is contiguous.
        rows: Contiguous, of any shape.
    """
    return (
        usable(spectra, *rows)
        and spectra.stride(-1) == 1
        and all(part.is_contiguous() for part in rows)
    )


def centred(
    spectra: Tensor, share: Tensor, ivar: Tensor, relative: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The means of draws, standard errors around them, and products of the draws.

    Arguments:
        spectra: See :func:`fits`.
        share: Weights of the mean, ``(batch, sample)``.
        ivar: Inverse variances, ``(batch, wave)``.
        relative: These times the squared relative error of a model, ``(batch, wave)``.

    Returns:
        Means and roots of the inverse variances there, ``(batch, wave)``; products of the
        differences from the mean in standard errors, ``(batch, sample, sample)``, double.
    """
    batch, draws, pixels = spectra.shape
    centre, root = torch.empty(2, batch, pixels)
    products = torch.empty(batch, draws, draws, dtype=torch.float64)
    place = spectra.stride(1) * torch.arange(draws)

    def fill(galaxy: int) -> None:
        buffer = torch.empty(draws, _STRETCH, dtype=torch.float64)
        rows = (part[galaxy] for part in (spectra, share, ivar, relative, centre, root))
        where = (part.data_ptr() for part in (place, *rows, buffer, products[galaxy]))
        kernels.centred(draws, pixels, *where)

    spread(fill, range(batch))
    return centre, root, products


def combined(
    spectra: Tensor, centre: Tensor, root: Tensor, coefficients: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Combinations of the differences of draws from their mean.

    Arguments:
        spectra: See :func:`fits`.
        centre: From :func:`centred`, as is the next one.
        root: Likewise.
        coefficients: Of the draws, double precision, ``(batch, rank, sample)``.

    Returns:
        The combinations in standard errors and in units of flux, ``(batch, rank, wave)``, and
        sums of squares of the first, double, ``(batch, wave)``.
    """
    batch, draws, pixels = spectra.shape
    rank = coefficients.shape[1]
    coefficients = coefficients.contiguous()
    white, basis = torch.empty(2, batch, rank, pixels)
    leverage = torch.empty(batch, pixels, dtype=torch.float64)
    place = spectra.stride(1) * torch.arange(draws)

    def fill(galaxy: int) -> None:
        buffer = torch.empty(draws, _STRETCH, dtype=torch.float64)
        given = (part[galaxy] for part in (spectra, centre, root, coefficients))
        made = (part[galaxy] for part in (white, basis, leverage))
        where = (part.data_ptr() for part in (place, *given, buffer, *made))
        kernels.combined(draws, rank, pixels, *where)

    spread(fill, range(batch))
    return white, basis, leverage


def strata(leverage: Tensor, root: Tensor, count: int, even: float) -> tuple[Tensor, Tensor]:
    """Pixels in strata of equal share, and their weights, each ``(batch, count)``.

    Arguments:
        leverage: How much depends on each pixel, double precision, ``(batch, wave)``.
        root: Positive where a pixel is good, ``(batch, wave)``.
        count: How many are wanted.
        even: What share is spread evenly over the good ones.
    """
    batch, pixels = root.shape
    chosen = torch.empty(batch, count, dtype=torch.int64)
    weights = torch.empty(batch, count)
    for galaxy in range(batch):
        where = (part[galaxy].data_ptr() for part in (leverage, root, chosen, weights))
        kernels.strata(pixels, count, even, *where)
    return chosen, weights


def expands(basis: Tensor, polynomials: Tensor, block: int, *rows: Tensor) -> bool:
    """Whether :func:`expanded` may take a basis.

    Arguments:
        basis: Shape ``(batch, component, wave)``.
        polynomials: Shape ``(term, wave)``.
        block: Pixels over which the polynomials are flat in products of components.
        rows: Shape ``(batch, wave)``.
    """
    return (
        usable(basis, polynomials, *rows)
        and basis.shape[1] <= _COMPONENTS
        and basis.shape[2] % _STRETCH == 0
        and len(polynomials) <= _POLYNOMIALS
        and block == _BLOCK
        and all(part.is_contiguous() for part in (basis, polynomials, *rows))
    )


def expanded(
    weight: Tensor,
    centre: Tensor,
    residual: Tensor,
    basis: Tensor,
    polynomials: Tensor,
    flat: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sums over the pixels that a likelihood in a basis needs.

    Arguments:
        weight: Inverse variances, ``(batch, wave)``.
        centre: The spectrum that the basis starts from, likewise.
        residual: What was observed, without it.
        basis: See :func:`expands`.
        polynomials: Likewise.
        flat: Their means over blocks, ``(term, block)``.

    Returns:
        Weighted squares of the residual, its products with the centre, and squares of the centre,
        each against every polynomial, double precision, ``(batch, 3, term)``; components against
        residual and against centre, ``(batch, component, term)``; products of components,
        ``(batch, component, term * component)``.
    """
    (batch, rank, pixels), terms = basis.shape, len(polynomials)
    constant = torch.empty(batch, 3, terms, dtype=torch.float64)
    linear = torch.empty(batch, rank, 2, terms, dtype=torch.float64)
    square = torch.empty(batch, rank, terms * rank)
    flat = flat.contiguous()

    def fill(galaxy: int) -> None:
        given = (part[galaxy] for part in (weight, centre, residual, basis))
        made = (part[galaxy] for part in (constant, linear, square))
        where = (part.data_ptr() for part in (*given, polynomials, flat, *made))
        kernels.expanded(rank, pixels, terms, *where)

    spread(fill, range(batch))
    return constant, *linear.float().unbind(2), square
