r"""The forward model at few pixels of each galaxy, at a fraction of its cost.

Broadening, redshift and sampling are linear, so the value of a template at one pixel is a product
with a short row. For a galaxy of known redshift and resolution the rows of all templates are made
once, for a few velocity dispersions between which they are interpolated. Dust is applied at the
pixel, after the broadening: its curve hardly changes over the width of a line.
"""

__all__ = ["SubsetModel"]

import functools
import math

import torch
from torch import Tensor

from acie.native import operators, usable
from acie.native import subset as compiled
from acie.physics.dust import BIRTH_CLOUD_RATIO, calzetti2000_attenuation, dust_depth
from acie.physics.pixels import MIDDLE, spline_prefilter
from acie.physics.sampler import widened
from acie.physics.spectrum import OBSERVED, StellarPopulationModel
from acie.physics.templates import REST_STEP
from acie.threads import spread
from acie.units import LIGHT_KM_S

#: Frequencies of the kernels; a row has less than twice as many pixels.
_FREQUENCIES = 64
#: Half-width of a row in standard deviations of the broadest kernel, and at least in pixels.
_REACH, _LEAST = 4.5, 8
#: Pixels more, over which a row falls to zero: a kernel of no width is a sinc, which never ends.
_FADE = 8
#: Velocity dispersions at which the rows are tabulated.
_NODES = 5
#: km/s per rest-frame pixel.
_SCALE = LIGHT_KM_S * REST_STEP


class SubsetModel:
    """Observed flux of a batch of galaxies at chosen pixels.

    Arguments:
        physics: The forward model.
        redshift: Shape ``(batch,)``.
        excess_km2_s2: From :meth:`StellarPopulationModel.lsf_excess`, ``(batch, wave)``.
        dispersion_km_s: Smallest and largest velocity dispersion of the table, km/s, each of
            shape ``(batch,)``; states beyond are taken at its ends.
        pixels: Indices of the instrument's pixels, shape ``(batch, pixel)``.
    """

    def __init__(
        self,
        physics: StellarPopulationModel,
        redshift: Tensor,
        excess_km2_s2: Tensor,
        dispersion_km_s: tuple[Tensor, Tensor],
        pixels: Tensor,
    ) -> None:
        self._physics = physics
        low, high = (end.double().log() for end in dispersion_km_s)
        self._middle, self._half = 0.5 * (low + high), (0.5 * (high - low)).clamp(min=1e-6)
        angle = math.pi * (torch.arange(_NODES, dtype=torch.float64) + 0.5) / _NODES
        self._nodes = angle.cos()
        # Barycentric weights of the Chebyshev points of the first kind.
        self._barycentric = angle.sin() * torch.tensor([1.0, -1.0]).repeat(_NODES)[:_NODES]
        dispersion = torch.exp(self._middle[:, None] + self._half[:, None] * self._nodes)
        basis = physics.basis_of_pixel
        rows = _Rows(physics, redshift, excess_km2_s2.double(), dispersion, pixels)

        # What one pixel sees is one run of memory.
        self._table = basis.new_empty(len(redshift), pixels.shape[1], _NODES, basis.shape[1])
        spread(lambda galaxy: rows.fill(galaxy, self._table[galaxy]), range(len(redshift)))
        rest = physics.window.instrument[pixels] / (1.0 + redshift.double()[:, None])
        self._log_wave = torch.log(rest / 5500.0).to(basis.dtype)
        self._log_curve = calzetti2000_attenuation(rest).log().to(basis.dtype)

    def __call__(self, state: dict[str, Tensor]) -> Tensor:
        """Flux at the pixels, 1e-17 erg/s/cm2/A, ``(batch, sample, pixel)``.

        Arguments:
            state: See :class:`StellarPopulationModel`; each of shape ``(sample, batch)``.
        """
        light = self._physics.coefficients(state)
        own = [state[name] for name in OBSERVED]
        if usable(self._table, *light) and operators.usable(*own):
            scale = torch.stack([self._middle, self._half], -1)
            nodes = torch.stack([self._nodes, self._barycentric])
            tables = self._table, self._log_curve, self._log_wave
            return compiled.flux(light, own, scale, nodes, *tables)
        a_v, slope, dispersion = (value.T for value in own)
        share = self._interpolation(dispersion).to(self._table.dtype)[:, :, None]
        sizes = [part.shape[-1] for part in light]
        old, young = (
            (share * (part.transpose(0, 1) @ table.mT).unflatten(-1, (-1, _NODES))).sum(-1)
            for part, table in zip(light, self._table.flatten(1, 2).split(sizes, -1), strict=True)
        )
        depth = dust_depth(a_v, slope, self._log_curve[:, None], self._log_wave[:, None])
        return torch.addcmul(old * depth.exp(), young, torch.exp(BIRTH_CLOUD_RATIO * depth))

    def _interpolation(self, dispersion: Tensor) -> Tensor:
        """Weights of the nodes, ``(batch, sample, node)``.

        References:
            Berrut & Trefethen 2004, SIAM Review 46, 501, equations 4.2 and 5.2.
        """
        place = (dispersion.double().log() - self._middle[:, None]) / self._half[:, None]
        distance = place.clamp(-1.0, 1.0)[..., None] - self._nodes
        # On a node, the others get no weight that single precision could see.
        distance = torch.where(distance.abs() < 1e-12, 1e-12, distance)
        weights = self._barycentric / distance
        return weights / weights.sum(-1, keepdim=True)


class _Rows:
    """What every chosen pixel of each galaxy reads of the rest grid.

    They hold the same kernels and the same means over pixels as
    :class:`acie.physics.sightline.Sightline`. All that is small is computed for the batch at once.

    Arguments:
        physics: See :class:`SubsetModel`, as is all else.
        redshift: Shape ``(batch,)``.
        excess: Shape ``(batch, wave)``.
        dispersion: km/s, ``(batch, node)``.
        pixels: Shape ``(batch, pixel)``.
    """

    def __init__(
        self,
        physics: StellarPopulationModel,
        redshift: Tensor,
        excess: Tensor,
        dispersion: Tensor,
        pixels: Tensor,
    ) -> None:
        start, shift = physics.window.locate(redshift)
        index, taps = physics.window.taps(pixels)
        # Every node broadens by its own variance with the least excess, and what a pixel needs
        # beyond that goes into its taps: (batch, pixel * node, tap), one product per galaxy.
        variance = dispersion.square()
        base = (variance + excess.amin(-1, keepdim=True)).clamp(min=0.0)
        total = (variance[:, None] + excess.gather(1, pixels)[..., None]).clamp(min=0.0)
        half, taps = widened(taps.double()[..., None], total - base[:, None])
        weights = taps.movedim(0, -1).flatten(1, 2)
        omega, measure, *turns = _frequencies()
        kernels = torch.exp(-0.5 * (omega / _SCALE).square() * base[..., None]) * measure
        widest = (variance + excess.amax(-1, keepdim=True)).clamp(min=0.0).amax(-1)
        self._half = [
            min(_FREQUENCIES - 2, max(_LEAST, math.ceil(own) + 2) + _FADE)
            for own in (_REACH * widest.sqrt() / _SCALE).tolist()
        ]
        # The taps sit at index - half, index - half + 1, ...; a row is centred on the middle one.
        step = torch.arange(weights.shape[-1], dtype=torch.float64) - half
        place = (step - MIDDLE - shift.double()[:, None])[..., None] * omega
        # Sums of a hundred terms below one from here on: single precision, as the templates.
        dtype, self._basis = physics.basis_of_pixel.dtype, physics.basis_of_pixel
        weights, kernels = weights.to(dtype), kernels.to(dtype)[:, None]
        reach = max(self._half) + 1
        self._even, self._odd = (
            ((weights @ wave.to(dtype)).unflatten(1, (-1, kernels.shape[2])) * kernels)
            @ turn[:, :reach].to(dtype)
            for wave, turn in zip((place.cos(), place.sin()), turns, strict=True)
        )
        self._middle = start[:, None] + index + MIDDLE
        self._compiled = (
            compiled.fits(self._basis, self._even, self._odd)
            and bool(self._middle.amin() >= reach)
            and bool(self._middle.amax() < len(self._basis) - reach)
        )

    def fill(self, galaxy: int, table: Tensor) -> None:
        """Write what every row of one galaxy sees, ``(pixel, node, template)``."""
        half, middle = self._half[galaxy], self._middle[galaxy]
        even, odd = self._even[galaxy], self._odd[galaxy]
        fade = _fade(half).to(even.dtype)
        if self._compiled:
            compiled.table(self._basis, even, odd, fade, middle, table)
            return
        even, odd = even[..., : half + 1] * fade, odd[..., : half + 1] * fade
        own = torch.cat([(even - odd).flip(-1), (even + odd)[..., 1:]], -1)
        columns = middle[:, None] - half + torch.arange(own.shape[-1])
        near = self._basis.index_select(0, columns.flatten()).view(*columns.shape, -1)
        table.copy_(own @ near)


@functools.cache
def _frequencies() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Angular frequencies, their measure, cosines and sines ``(frequency, place)``.

    Places are pixels from the centre on.
    """
    with torch.inference_mode(False):
        omega = math.pi / _FREQUENCIES * torch.arange(_FREQUENCIES + 1, dtype=torch.float64)
        measure = torch.full_like(omega, 1.0 / _FREQUENCIES)
        measure[0] = measure[-1] = 0.5 / _FREQUENCIES
        measure = measure * spline_prefilter(omega / (2.0 * math.pi))
        place = torch.arange(_FREQUENCIES + 1, dtype=torch.float64)
        turn = omega[:, None] * place
        return omega, measure, turn.cos(), turn.sin()


@functools.cache
def _fade(half: int) -> Tensor:
    """What brings a row to zero at its ends, from its middle on, ``(half + 1,)``."""
    with torch.inference_mode(False):
        distance = torch.arange(half + 1, dtype=torch.float64) - (half - _FADE)
        return (0.5 * math.pi * (distance / _FADE).clamp(min=0.0)).cos().square()
