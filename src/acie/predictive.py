r"""Posterior predictive check: do the residuals of the draws look like noise on every scale?

Residuals of a draw are binned over several widths and standardised. Under the model each binned
residual is a standard normal deviate, so the sum of n squares follows :math:`\chi^2_n`, whatever
the state of the galaxy: a pivotal discrepancy, whose posterior predictive p value is the mean of
its tail probability over the draws. Narrow bins see wrong or missing lines, wide ones a wrong
continuum. Two more discrepancies belong to the nuisances, which could otherwise swallow what is
wrong: the coefficients of the calibration polynomial in units of their prior, and the scale of the
noise, taken from differences between neighbouring bins, which no smooth misfit changes.

References:
    Gelman, Meng & Stern 1996, Statistica Sinica 6, 733 (realised discrepancies, section 2).
"""

__all__ = ["WIDTHS", "PredictiveCheck", "predictive_check"]

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from acie.native import checks
from acie.observation import Observation
from acie.simulation import NoiseModel, SpectrumLikelihood
from acie.threads import spread

#: Widths of the bins, pixels of 1 angstrom. The first has the residuals of rebinned spectra,
#: whose neighbouring pixels share information, at their stated error.
WIDTHS = (5, 20, 100)
#: Relative error of the templates that is common to the pixels of a bin. Without it the templates'
#: own imperfection (0.02 per pixel in the noise model) would fail every spectrum of high S/N.
COHERENT_ERROR = 0.02
#: Draws whose discrepancies are averaged.
DRAWS = 8
#: Galaxies checked at a time by one thread.
_GROUP = 10
#: Differences beyond this many standard deviations are left out of the scale, and the variance of
#: a normal law cut off there.
_CUT, _CUT_VARIANCE = 3.0, 0.9733
#: Independent squares that the scale is worth, per bin: 2/3 because neighbouring differences share
#: a bin, and a tenth less for the cut.
_WORTH = 0.6


@dataclass(frozen=True)
class PredictiveCheck:
    """The check for a batch of galaxies.

    Arguments:
        p_value: Posterior predictive p value, the smallest over the checks times their number,
            ``(batch,)``.
        p_values: For every width of :data:`WIDTHS`, for the calibration that the draws ask for and
            for the scale of the noise, ``(check, batch)``.
        noise_scale: Scatter between neighbouring bins in stated standard errors, ``(batch,)``.
    """

    p_value: Tensor
    p_values: Tensor
    noise_scale: Tensor


def predictive_check(
    observation: Observation, spectra: Tensor, noise: NoiseModel | None = None
) -> PredictiveCheck:
    """Compare observed spectra with posterior draws.

    Arguments:
        observation: A batch of galaxies.
        spectra: Model spectra of equally weighted draws, ``(sample, batch, wave)``.
        noise: The noise model; the default one when left out.
    """
    noise = NoiseModel() if noise is None else noise
    observation = observation.batched()
    chosen = torch.linspace(0, len(spectra) - 1, min(DRAWS, len(spectra))).round().long()
    groups = [slice(start, start + _GROUP) for start in range(0, len(observation), _GROUP)]
    parts = spread(
        lambda group: _check(
            observation[group], spectra[:, group].index_select(0, chosen).float(), noise
        ),
        groups,
    )
    return PredictiveCheck(*(torch.cat(columns, -1) for columns in zip(*parts, strict=True)))


def _check(
    observation: Observation, model: Tensor, noise: NoiseModel
) -> tuple[Tensor, Tensor, Tensor]:
    """The fields of :class:`PredictiveCheck` for few galaxies and draws."""
    likelihood = SpectrumLikelihood(observation, noise)
    coefficients = likelihood.coefficients(model)
    rows = likelihood.flux, likelihood.ivar, likelihood.relative
    if WIDTHS[0] == checks.BIN and checks.fits(model, likelihood.basis, *rows):
        sums, mean = checks.bins(model, *rows, likelihood.basis, coefficients.float())
        scale = _scale_of(*_deviates(mean.unbind(1), WIDTHS[0]))
        squares = checks.squares(sums, scale.square(), COHERENT_ERROR, WIDTHS)
        counts = squares.permute(2, 3, 1, 0)
    else:
        model = model * (1.0 + coefficients.float() @ likelihood.basis)
        weight, residual = likelihood.weight(model)[0], likelihood.flux - model
        scale = _noise_scale(weight, residual)
        counts = [
            _squares(*binned, scale) for binned in _binned(weight, (residual, model), WIDTHS)
        ]
    dof = _scale_dof(likelihood.ivar)
    tails = [_tail(count, total, dof) for count, total in counts]
    tails.append(_calibration_tail(coefficients, scale, noise))
    p_values = torch.stack([*(tail.mean(0) for tail in tails), _scale_tail(scale, dof, noise)])
    p_value = (len(p_values) * p_values.amin(0)).clamp(max=1.0)
    return p_value, p_values, scale


def _total(values: Tensor, width: int) -> Tensor:
    """Sums over bins of the last axis, whose size is a multiple of ``width``."""
    while width > 1:
        factor = next(f for f in (5, 4, width) if width % f == 0)
        # Adding slices is several times as fast as summing over a short axis.
        slices = values.unflatten(-1, (-1, factor)).unbind(-1)
        values = sum(slices[1:], slices[0])
        width //= factor
    return values


def _binned(
    weight: Tensor, values: tuple[Tensor, ...], widths: tuple[int, ...]
) -> Iterator[list[Tensor]]:
    """Each of the values in bins, in standard errors of the bin; NaN where most pixels are bad.

    Every width is a multiple of the one before, so that its sums are sums of few.
    """
    sums, before = [weight, (weight > 0).to(weight.dtype), *(weight * v for v in values)], 1
    for width in widths:
        sums = [_total(part, width // before) for part in sums]
        before = width
        yield _deviates(sums, width)


def _deviates(sums: Sequence[Tensor], width: int) -> list[Tensor]:
    """Weighted sums over bins in standard errors, from the weights, how many count, and them."""
    weights, good = sums[:2]
    root = torch.where(good >= width / 2, weights.clamp(min=1e-30).rsqrt(), math.nan)
    return [part * root for part in sums[2:]]


def _noise_scale(weight: Tensor, residual: Tensor) -> Tensor:
    """Scatter of the differences of neighbouring bins, without outliers, ``(batch,)``."""
    ((deviate,),) = _binned(weight.mean(0), (residual.mean(0),), WIDTHS[:1])
    return _scale_of(deviate)


def _scale_of(deviate: Tensor) -> Tensor:
    """The same from the bins of the mean draw in their standard errors, ``(batch, bin)``."""
    step = (deviate[..., 1:] - deviate[..., :-1]) / math.sqrt(2.0)
    first = 1.4826 * checks.nanmedian(step.abs())[:, None]
    kept = torch.where(step.abs() <= _CUT * first, step, math.nan)
    scale = (kept.square().nanmean(-1) / _CUT_VARIANCE).sqrt()
    # A spectrum with hardly a bin has no measured scale: the stated one stands.
    return scale.nan_to_num(nan=1.0).clamp(min=1e-3)


def _scale_dof(ivar: Tensor) -> Tensor:
    """Degrees of freedom of the measured squared scale, ``(batch,)``."""
    return _WORTH * ((ivar > 0).sum(-1).double() / WIDTHS[0]).clamp(min=1.0)


def _squares(deviate: Tensor, level: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """How many bins there are, and their sum of squares, each ``(sample, batch)``.

    Arguments:
        deviate: Residuals of the bins in their standard errors, ``(sample, batch, bin)``.
        level: The model, likewise.
        scale: Of the noise, ``(batch,)``.
    """
    # The level is the mean over its error, so this is in standard errors of the bin.
    common = COHERENT_ERROR * level
    square = deviate.square() / (scale[:, None] ** 2 + common.square())
    return square.isfinite().sum(-1).double(), square.nan_to_num(nan=0.0).sum(-1).double()


def _tail(count: Tensor, total: Tensor, scale_dof: Tensor) -> Tensor:
    """Probability of a larger sum of squares, ``(sample, batch)``.

    Arguments:
        count: From :func:`_squares`, as is the next one.
        total: Likewise.
        scale_dof: Degrees of freedom of the scale of the noise, ``(batch,)``.
    """
    count = count.clamp(min=1.0)
    # The scale is measured too, so the mean square is a ratio of two, which has fewer degrees of
    # freedom: a chi-square law with the variance of the F law.
    dof = 1.0 / (1.0 / count + 1.0 / scale_dof)
    return torch.special.gammaincc(dof / 2.0, total / count * dof / 2.0)


def _calibration_tail(coefficients: Tensor, scale: Tensor, noise: NoiseModel) -> Tensor:
    """Probability of larger calibration coefficients, ``(sample, batch)``."""
    # The noise model draws calibration and pixel noise with one scale.
    square = (coefficients / noise.calibration / scale[:, None]).square().sum(-1)
    return torch.special.gammaincc(square.new_tensor(noise.calibration_terms / 2.0), square / 2.0)


def _scale_tail(scale: Tensor, scale_dof: Tensor, noise: NoiseModel) -> Tensor:
    """Two-sided probability of a scale farther from one, ``(batch,)``.

    The noise model says ``dof / scale^2 ~ chi2(dof)``; fewer degrees of freedom stand for the
    sampling error of the measured scale.
    """
    dof = 1.0 / (1.0 / noise.scale_dof + 1.0 / scale_dof)
    half = dof / 2.0
    above = torch.special.gammaincc(half, half / scale.double().square())
    return 2.0 * torch.minimum(above, 1.0 - above)
