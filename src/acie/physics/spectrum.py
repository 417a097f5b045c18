"""From the state of a galaxy to its observed spectrum.

Stellar populations and gas are summed from compressed templates, attenuated, broadened, redshifted
and sampled at the pixels of the instrument. Everything is differentiable torch; axes are
``(*batch, wave)``.
"""

__all__ = ["ReadOuts", "StellarPopulationModel"]

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from acie.observation import WAVELENGTH
from acie.physics.cosmology import FlatLambdaCDM
from acie.physics.dust import (
    BIRTH_CLOUD_RATIO,
    absorbed_luminosity,
    calzetti2000_attenuation,
    modified_calzetti_attenuation,
)
from acie.physics.interpolation import linear_weights
from acie.physics.kinematics import broaden_and_shift, heat_step
from acie.physics.sfh import delayed_tau_bin_masses, delayed_tau_mass_weighted_age
from acie.physics.ssp import AGE_EDGES_YR
from acie.physics.templates import REST_STEP, REST_WAVELENGTH, TemplateSet, template_sigma_km_s
from acie.units import FLUX_SCALE, MPC_CM, SOLAR_LUMINOSITY_ERG_S, SOLAR_METALLICITY, SOLAR_OXYGEN

#: Spectra computed at a time: their arrays then stay in the cache of the processor.
_CHUNK = 64


@dataclass(frozen=True)
class ReadOuts:
    """Derived quantities of a galaxy, each of shape ``(*batch,)``.

    Arguments:
        mass_formed: Msun.
        surviving_fraction: Mass in stars and remnants over mass formed.
        mass_weighted_age: Gyr.
        light_weighted_age: Gyr, weighted by the light at 5500 angstrom before dust.
        dust_luminosity: Lsun, by energy balance.
        halpha_luminosity: erg/s, before dust.
    """

    mass_formed: Tensor
    surviving_fraction: Tensor
    mass_weighted_age: Tensor
    light_weighted_age: Tensor
    dust_luminosity: Tensor
    halpha_luminosity: Tensor


class StellarPopulationModel(nn.Module):
    """Spectrum of a galaxy with a delayed-exponential history.

    Arguments:
        templates: Compressed templates.
        cosmology: Ages and distances.

    The state is a mapping of tensors that broadcast to ``(*batch,)``: ``stellar_mass`` [Msun, in
    stars and remnants today], ``age`` [Gyr], ``tau`` [Gyr], ``metallicity`` [mass fraction],
    ``gas_metallicity`` [12 + log10(O/H)], ``ionization_parameter`` [log U], ``dust_av`` [mag],
    ``dust_slope``, ``velocity_dispersion`` [km/s], ``redshift``.
    """

    def __init__(self, templates: TemplateSet, cosmology: FlatLambdaCDM | None = None) -> None:
        super().__init__()
        self.templates = templates
        self.cosmology = FlatLambdaCDM() if cosmology is None else cosmology
        rest = torch.as_tensor(REST_WAVELENGTH.copy())
        self.register_buffer("log_wave_5500", torch.log(rest / 5500.0).float(), persistent=False)
        self.register_buffer("calzetti", calzetti2000_attenuation(rest).float(), persistent=False)
        edges = torch.as_tensor(AGE_EDGES_YR * 1e-9)
        self.register_buffer("age_edges_gyr", edges, persistent=False)
        index, weights = _cubic_taps()
        self.register_buffer("tap_index", index, persistent=False)
        self.register_buffer("tap_weights", weights.float(), persistent=False)

    # -- masses -------------------------------------------------------------------------------

    def bin_masses(self, age_gyr: Tensor, tau_gyr: Tensor) -> Tensor:
        """Fraction of the mass formed in each bin of stellar age, shape ``(*batch, age)``."""
        return delayed_tau_bin_masses(age_gyr, tau_gyr, self.age_edges_gyr.to(age_gyr.dtype))

    def surviving_fraction(self, age_gyr: Tensor, tau_gyr: Tensor) -> Tensor:
        """Mass in stars and remnants over mass formed, at solar metallicity, ``(*batch,)``.

        The fraction depends on metallicity by less than 0.02 dex over the grid's range; taking it
        at solar metallicity keeps the mass budget a function of the history alone.
        """
        solar = linear_weights(
            self.templates.metallicity.new_tensor([SOLAR_METALLICITY]), self.templates.metallicity
        )[0]
        surviving = (solar @ self.templates.surviving).to(age_gyr.dtype)
        return self.bin_masses(age_gyr, tau_gyr) @ surviving

    # -- light --------------------------------------------------------------------------------

    def _weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Template weights per solar mass formed; double precision until they are combined."""
        tables = self.templates
        masses = self.bin_masses(state["age"], state["tau"])
        metal = linear_weights(state["metallicity"], tables.metallicity.to(masses.dtype))
        gas_z = SOLAR_METALLICITY * 10.0 ** (state["gas_metallicity"] - SOLAR_OXYGEN)
        gas = linear_weights(gas_z, tables.metallicity.to(masses.dtype))
        log_u = linear_weights(state["ionization_parameter"], tables.log_u.to(masses.dtype))
        share = tables.birth_cloud_share.to(masses.dtype)
        young = (masses * share)[..., : tables.young_bins]
        outer = metal[..., :, None]
        return {
            "stellar": (outer * (masses * (1.0 - share))[..., None, :]).flatten(-2),
            "young": (outer * young[..., None, :]).flatten(-2),
            "nebular": torch.einsum("...m,...u,...a->...mua", gas, log_u, young).flatten(-3),
        }

    def rest_luminosity(self, state: dict[str, Tensor]) -> Tensor:
        """Attenuated luminosity per solar mass formed, Lsun/angstrom, ``(*batch, rest)``."""
        tables = self.templates
        weights = self._weights(state)
        parts = {}
        for name, weight in weights.items():
            table = getattr(tables, f"{name}_coefficients")
            basis = getattr(tables, f"{name}_basis")
            coefficients = weight @ table.reshape(-1, table.shape[-1]).to(weight.dtype)
            parts[name] = coefficients.to(basis.dtype) @ basis
        young = parts["young"] + parts["nebular"]
        slope = state["dust_slope"].to(young.dtype)[..., None]
        scale = (-0.4 * math.log(10.0)) * state["dust_av"].to(young.dtype)[..., None]
        depth = scale * self.calzetti.to(young.dtype) * torch.exp(slope * self.log_wave_5500)
        return parts["stellar"] * torch.exp(depth) + young * torch.exp(BIRTH_CLOUD_RATIO * depth)

    def flux_factor(self, state: dict[str, Tensor]) -> Tensor:
        """1e-17 erg/s/cm2/A observed per Lsun/A of one solar mass formed, shape ``(*batch,)``."""
        redshift = state["redshift"]
        distance_cm = self.cosmology.luminosity_distance_mpc(redshift) * MPC_CM
        mass = state["stellar_mass"] / self.surviving_fraction(state["age"], state["tau"])
        # Divided step by step: the square of a distance in cm overflows single precision.
        scale = SOLAR_LUMINOSITY_ERG_S / FLUX_SCALE / (4.0 * math.pi) / distance_cm
        return mass * (scale / distance_cm) / (1.0 + redshift)

    def lsf_excess(self, redshift: Tensor, lsf_km_s: Tensor) -> Tensor:
        """Variance of instrument minus templates on the logarithmic observed grid, km^2/s^2.

        Arguments:
            redshift: Shape ``(*batch,)``.
            lsf_km_s: Instrumental sigma at the 6000 pixels, shape ``(*batch, wave)``.

        Returns:
            Shape ``(*batch, rest)``; outside the instrument's range the end value is repeated.
        """
        wave = torch.as_tensor(REST_WAVELENGTH.copy(), device=lsf_km_s.device)
        position = ((wave - WAVELENGTH[0]) / (WAVELENGTH[1] - WAVELENGTH[0])).round()
        index = position.clamp(0, WAVELENGTH.size - 1).long()
        own = template_sigma_km_s(wave / (1.0 + redshift.double()[..., None]))
        return lsf_km_s[..., index].double() ** 2 - own**2

    def forward(
        self,
        state: dict[str, Tensor],
        excess_km2_s2: Tensor | None = None,
    ) -> Tensor:
        """Observed flux density at the instrument's pixels.

        Arguments:
            state: See the class; tensors broadcast to ``(*batch,)``.
            excess_km2_s2: From :meth:`lsf_excess`, broadcastable to ``(*batch, rest)``; left out,
                the instrument is taken to have the templates' resolution.

        Returns:
            1e-17 erg/s/cm2/A, shape ``(*batch, wave)``.
        """
        names = list(state)
        state = dict(zip(names, torch.broadcast_tensors(*state.values()), strict=True))
        batch = state["redshift"].shape
        flat = {name: value.reshape(-1) for name, value in state.items()}
        rows = flat["redshift"].numel()
        extra = None
        if excess_km2_s2 is not None:
            galaxies = excess_km2_s2.reshape(-1, excess_km2_s2.shape[-1])
            extra = (galaxies, torch.arange(rows, device=galaxies.device) % galaxies.shape[0])
        parts = []
        for start in range(0, rows, _CHUNK):
            chunk = {name: value[start : start + _CHUNK] for name, value in flat.items()}
            lsf = None if extra is None else extra[0][extra[1][start : start + _CHUNK]]
            parts.append(self._observe(chunk, lsf))
        return torch.cat(parts).reshape(*batch, -1)

    def _observe(self, state: dict[str, Tensor], excess: Tensor | None) -> Tensor:
        light = self.rest_luminosity(state)
        variance = state["velocity_dispersion"].to(light.dtype) ** 2
        redshift = state["redshift"]
        if bool((redshift == redshift[0]).all()):
            # The draws of one galaxy share the phase of the shift.
            redshift = redshift[:1]
        if excess is None:
            moved = broaden_and_shift(light, variance, redshift, REST_STEP)
        else:
            total = (variance[:, None] + excess.to(light.dtype)).clamp(min=0.0)
            centre = total[:, self.tap_index].mean(-1)
            moved = broaden_and_shift(light, centre, redshift, REST_STEP)
            moved = heat_step(moved, total - centre[:, None], REST_STEP)
        factor = self.flux_factor(state).to(light.dtype)[:, None]
        pixels = sum(
            moved[:, self.tap_index + tap] * self.tap_weights[tap].to(light.dtype)
            for tap in range(4)
        )
        return pixels * factor

    # -- read-outs ----------------------------------------------------------------------------

    def read_outs(self, state: dict[str, Tensor]) -> ReadOuts:
        """Derived quantities; see :class:`ReadOuts`."""
        tables = self.templates
        weights = self._weights(state)
        surviving = self.surviving_fraction(state["age"], state["tau"])
        formed = state["stellar_mass"] / surviving

        def coarse(name: str, table: Tensor) -> Tensor:
            weight = weights[name].to(table.dtype)
            return weight @ table.reshape(-1, table.shape[-1])

        old = coarse("stellar", tables.coarse_stellar)
        young = coarse("young", tables.coarse_young) + coarse("nebular", tables.coarse_nebular)
        curve = modified_calzetti_attenuation(
            tables.coarse_wave, state["dust_slope"].to(old.dtype)
        )
        dust = absorbed_luminosity(
            old, young, curve, state["dust_av"].to(old.dtype), tables.coarse_width
        )
        halpha = weights["nebular"] @ tables.halpha.reshape(-1).to(weights["nebular"].dtype)
        visible = int((tables.coarse_wave - 5500.0).abs().argmin())
        metal = linear_weights(state["metallicity"], tables.metallicity.to(formed.dtype))
        light = metal @ tables.coarse_stellar[..., visible].to(formed.dtype)
        light = light * self.bin_masses(state["age"], state["tau"])
        edges = self.age_edges_gyr.to(formed.dtype)
        middle = (edges[1:] + edges[:-1]) / 2.0
        return ReadOuts(
            mass_formed=formed,
            surviving_fraction=surviving,
            mass_weighted_age=delayed_tau_mass_weighted_age(state["age"], state["tau"]),
            light_weighted_age=(light * middle).sum(-1) / light.sum(-1),
            dust_luminosity=dust.to(formed.dtype) * formed,
            halpha_luminosity=halpha * formed * SOLAR_LUMINOSITY_ERG_S,
        )


def _cubic_taps() -> tuple[Tensor, Tensor]:
    """First index and four Lagrange weights that sample the logarithmic grid at the pixels.

    The weights conserve the mean over a pixel to fourth order; the grid is the same for all
    galaxies because the redshift is applied in Fourier space.
    """
    position = torch.log(torch.as_tensor(WAVELENGTH / REST_WAVELENGTH[0])) / REST_STEP
    first = position.floor().long() - 1
    t = position - position.floor()
    weights = torch.stack(
        [
            -t * (t - 1.0) * (t - 2.0) / 6.0,
            (t + 1.0) * (t - 1.0) * (t - 2.0) / 2.0,
            -(t + 1.0) * t * (t - 2.0) / 2.0,
            (t + 1.0) * t * (t - 1.0) / 6.0,
        ]
    )
    return first, weights
