r"""The forward model at few pixels of each galaxy, at a fraction of its cost.

Broadening, redshift and sampling are linear, so the value of a template at one pixel is a product
with a short row. For a galaxy of known redshift and resolution the rows of all templates are made
once, for a few velocity dispersions between which they are interpolated. Dust is applied at the
pixel, after the broadening: its curve hardly changes over the width of a line.
"""

__all__ = ["SubsetModel"]

import math

import torch
from torch import Tensor

from acie.physics.dust import BIRTH_CLOUD_RATIO, calzetti2000_attenuation, dust_depth
from acie.physics.pixels import MIDDLE, spline_prefilter
from acie.physics.spectrum import StellarPopulationModel
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
        excess_km2_s2: From :meth:`StellarPopulationModel.lsf_excess`, ``(batch, window)``.
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
        basis = physics.light_basis.T

        def table_of(galaxy: int) -> Tensor:
            one = (redshift[galaxy], excess_km2_s2[galaxy].double(), dispersion[galaxy])
            first, rows = _rows(physics, *one, pixels[galaxy])
            columns = first[:, None] + torch.arange(rows.shape[-1])
            # (pixel, node, reach) by (pixel, reach, template), to (template, node, pixel).
            return (rows.to(basis.dtype) @ basis[columns]).permute(2, 1, 0)

        table = torch.stack(spread(table_of, range(len(redshift)))).flatten(2)
        self._old, self._young = table.split(
            [physics.old_size, table.shape[1] - physics.old_size], 1
        )
        rest = physics.window.instrument[pixels] / (1.0 + redshift.double()[:, None])
        self._log_wave = torch.log(rest / 5500.0).to(basis.dtype)[:, None]
        self._log_curve = calzetti2000_attenuation(rest).log().to(basis.dtype)[:, None]

    def __call__(self, state: dict[str, Tensor]) -> Tensor:
        """Flux at the pixels, 1e-17 erg/s/cm2/A, ``(batch, sample, pixel)``.

        Arguments:
            state: See :class:`StellarPopulationModel`; each of shape ``(sample, batch)``.
        """
        state = {name: value.T for name, value in state.items()}
        old, young = self._physics.coefficients(state)
        share = self._interpolation(state["velocity_dispersion"]).to(old.dtype)[..., None]
        old, young = (
            (share * (part @ table).unflatten(-1, (_NODES, -1))).sum(-2)
            for part, table in ((old, self._old), (young, self._young))
        )
        depth = dust_depth(state["dust_av"], state["dust_slope"], self._log_curve, self._log_wave)
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


def _rows(
    physics: StellarPopulationModel,
    redshift: Tensor,
    excess: Tensor,
    dispersion: Tensor,
    pixels: Tensor,
) -> tuple[Tensor, Tensor]:
    """First rest pixel of each row, ``(pixel,)``, and the rows, ``(pixel, node, reach)``.

    They hold the same kernels as :func:`broaden_and_shift` and the same means over pixels as
    :class:`PixelWindow`.
    """
    start, shift = physics.window.locate(redshift)
    index, taps = physics.window.taps(pixels)
    least, variance = excess.amin(), dispersion.square()
    narrow, wide = ((variance + end).clamp(min=0.0) for end in (least, excess.amax()))
    # The mixture of the two widths at every tap, (pixel, node, tap): the spectrum is mixed before
    # it is sampled, and the resolution of the templates has steps.
    step = torch.arange(len(taps))
    above = excess[index[:, None] + step][:, None] + (variance - narrow)[:, None]
    share = (above / (wide - narrow).clamp(min=1e-3)[:, None]).clamp(0.0, 1.0)
    reach = math.ceil(_REACH * float(wide.max().sqrt()) / _SCALE) + 2
    half = min(_FREQUENCIES - 2, max(_LEAST, reach) + _FADE)
    omega = math.pi / _FREQUENCIES * torch.arange(_FREQUENCIES + 1, dtype=torch.float64)
    measure = torch.full_like(omega, 1.0 / _FREQUENCIES)
    measure[0] = measure[-1] = 0.5 / _FREQUENCIES
    measure = measure * spline_prefilter(omega / (2.0 * math.pi))

    def transfer(width: Tensor) -> Tensor:
        return torch.exp(-0.5 * (omega / _SCALE).square() * width[:, None]) * measure

    kernels = torch.stack([transfer(narrow), transfer(wide)], -2)
    weights = taps.double().T[:, None, None] * torch.stack([1.0 - share, share], -2)
    # The taps sit at index, index + 1, ...; a row starts ``half`` before the middle one.
    place = step.double()[:, None] + (half - MIDDLE - shift.double())
    cosine, sine = (
        ((weights @ wave(place * omega)) * kernels).sum(-2) for wave in (torch.cos, torch.sin)
    )
    turn = torch.arange(2 * half + 1, dtype=torch.float64)[:, None] * omega
    rows = cosine @ turn.cos().T + sine @ turn.sin().T
    distance = torch.arange(-half, half + 1, dtype=torch.float64).abs() - (half - _FADE)
    fade = (0.5 * math.pi * (distance / _FADE).clamp(min=0.0)).cos().square()
    rows = rows * fade
    return start + index + MIDDLE - half, rows
