"""From the state of a galaxy to its observed spectrum.

Stellar populations and gas are summed from compressed templates, attenuated, broadened, redshifted
and sampled at the pixels of the instrument. Everything is differentiable torch; axes are
``(*batch, wave)``.
"""

__all__ = ["OBSERVED", "ReadOuts", "StellarPopulationModel"]

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from acie.native import operators, usable
from acie.native.operators import LANES, MOST_BINS
from acie.observation import Observation
from acie.physics.batched import observe_together
from acie.physics.compiled import CompiledSpectra
from acie.physics.cosmology import FlatLambdaCDM
from acie.physics.dust import absorbed_luminosity, modified_calzetti_attenuation
from acie.physics.interpolation import linear_weights
from acie.physics.kinematics import Broadening, broaden_and_shift
from acie.physics.pixels import PixelWindow
from acie.physics.screen import DustScreen
from acie.physics.sfh import (
    HistoryTables,
    delayed_tau_bin_masses,
    delayed_tau_mass_weighted_age,
)
from acie.physics.sightline import Sightline
from acie.physics.ssp import AGE_EDGES_YR
from acie.physics.templates import (
    REST_SIZE,
    REST_STEP,
    REST_WAVELENGTH,
    TemplateSet,
    template_sigma_km_s,
    undo_pixel_mean,
)
from acie.threads import spread
from acie.units import FLUX_SCALE, MPC_CM, SOLAR_LUMINOSITY_ERG_S, SOLAR_METALLICITY, SOLAR_OXYGEN

#: Spectra computed at a time: their arrays then stay in the cache of the processor.
_CHUNK = 128
#: What a spectrum depends on besides the coefficients of its light and its sightline.
OBSERVED = ("dust_av", "dust_slope", "velocity_dispersion")
#: What the coefficients depend on.
_LIGHT = (
    "stellar_mass", "age", "tau", "metallicity", "gas_metallicity", "ionization_parameter",
    "redshift",
)  # fmt: skip


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
        grid = templates.metallicity
        solar = linear_weights(grid.new_tensor([SOLAR_METALLICITY]), grid)[0]
        self.register_buffer("_solar_surviving", solar @ templates.surviving, persistent=False)
        edges = torch.as_tensor(AGE_EDGES_YR * 1e-9)
        self.register_buffer("age_edges_gyr", edges, persistent=False)
        self.history = HistoryTables(edges, self._solar_surviving)
        self.window = PixelWindow()
        # The window of the nearest galaxies reaches beyond the red end of the grid, into zeros.
        room = (0, self.window.overhang)
        # Stars are tabulated as means over the pixels of the grid; lines, painted in Fourier
        # space, and the smooth continuum below them as values.
        stars = (undo_pixel_mean(t) for t in (templates.stellar_basis, templates.young_basis))
        bases = (*stars, templates.nebular_basis)
        #: Templates that only diffuse dust attenuates come first.
        self.old_size = len(templates.stellar_basis)
        basis = nn.functional.pad(torch.cat(bases), room)
        self.register_buffer("light_basis", basis, persistent=False)
        #: The same with the pixels first, ``(rest, template)``: one pixel is one run of memory.
        self.register_buffer("basis_of_pixel", basis.T.contiguous(), persistent=False)
        self.screen = DustScreen(float(REST_WAVELENGTH[0]), REST_STEP, basis.shape[-1])
        self._compiled: CompiledSpectra | None = None

    # -- masses -------------------------------------------------------------------------------

    def bin_masses(self, age_gyr: Tensor, tau_gyr: Tensor) -> Tensor:
        """Fraction of the mass formed in each bin of stellar age, shape ``(*batch, age)``."""
        return delayed_tau_bin_masses(age_gyr, tau_gyr, self.age_edges_gyr.to(age_gyr.dtype))

    def surviving_fraction(self, age_gyr: Tensor, tau_gyr: Tensor) -> Tensor:
        """Mass in stars and remnants over mass formed, at solar metallicity, ``(*batch,)``.

        The fraction depends on metallicity by less than 0.02 dex over the grid's range; taking it
        at solar metallicity keeps the mass budget a function of the history alone.
        """
        if operators.usable(age_gyr, tau_gyr):
            return self.history.surviving(age_gyr, tau_gyr)
        masses = self.bin_masses(age_gyr, tau_gyr)
        return masses @ self._solar_surviving.to(masses.dtype)

    # -- light --------------------------------------------------------------------------------

    def _weights(self, state: dict[str, Tensor], masses: Tensor) -> dict[str, Tensor]:
        """Template weights for the masses formed in bins of age, in the templates' precision."""
        tables = self.templates
        share = tables.birth_cloud_share
        # Masses of bins are differences, hence of the state's precision until here.
        masses = masses.to(share.dtype)
        metal = linear_weights(state["metallicity"].to(share.dtype), tables.metallicity)
        gas_z = _gas_metallicity(state["gas_metallicity"])
        gas = linear_weights(gas_z.to(share.dtype), tables.metallicity)
        log_u = linear_weights(state["ionization_parameter"].to(share.dtype), tables.log_u)
        young = (masses * share)[..., : tables.young_bins]
        outer = metal[..., :, None]
        return {
            "stellar": (outer * (masses * (1.0 - share))[..., None, :]).flatten(-2),
            "young": (outer * young[..., None, :]).flatten(-2),
            "nebular": torch.einsum("...m,...u,...a->...mua", gas, log_u, young).flatten(-3),
        }

    def coefficients(
        self, state: dict[str, Tensor], observed: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Coefficients of the basis spectra of old light, and of young stars and gas.

        Arguments:
            state: See the class; tensors of one shape.
            observed: 1e-17 erg/s/cm2/A at the observer; else Lsun/A for one solar mass formed.

        Returns:
            ``(*batch, old)`` and ``(*batch, young)``, in the order of ``light_basis``.
        """
        given = [state[name] for name in _LIGHT]
        if operators.usable(*given) and _tables_fit(self.templates):
            return self._coefficients(state, observed)
        masses = self.bin_masses(state["age"], state["tau"])
        if observed:
            # Spectra are linear in the weights: scaling these costs nothing.
            masses = masses * self.flux_factor(state, masses)[..., None]
        weights = self._weights(state, masses)
        parts = []
        for name, weight in weights.items():
            table = getattr(self.templates, f"{name}_coefficients")
            parts.append(weight @ table.reshape(-1, table.shape[-1]))
        return parts[0], torch.cat(parts[1:], -1)

    def _coefficients(self, state: dict[str, Tensor], observed: bool) -> tuple[Tensor, Tensor]:
        """The same in one pass, which skips the nodes and ages whose weight is zero."""
        tables = self.templates
        if observed:
            mass = state["stellar_mass"] * self._flux_per_luminosity(state["redshift"])
        else:
            mass = torch.ones_like(state["age"])
        gas_z = _gas_metallicity(state["gas_metallicity"])
        parts = [state["age"], state["tau"], state["metallicity"], gas_z,
                 state["ionization_parameter"], mass]  # fmt: skip
        return operators.coefficients(
            parts, observed, self.history.edges, self.history.survival, tables.birth_cloud_share,
            tables.metallicity, tables.log_u,
            [tables.stellar_coefficients, tables.young_coefficients, tables.nebular_coefficients],
        )  # fmt: skip

    def rest_luminosity(
        self, state: dict[str, Tensor], pixels: slice | None = None, observed: bool = False
    ) -> Tensor:
        """Attenuated light on the rest-frame grid, ``(*batch, rest)``.

        Arguments:
            state: See the class; tensors of one shape.
            pixels: Part of the rest-frame grid; all of it when left out.
            observed: See :meth:`coefficients`.
        """
        pixels = slice(0, REST_SIZE) if pixels is None else pixels
        return self._attenuated(*self.coefficients(state, observed), state, pixels)

    def _attenuated(
        self, old: Tensor, young: Tensor, state: dict[str, Tensor], pixels: slice
    ) -> Tensor:
        old = old @ self.light_basis[: self.old_size, pixels]
        young = young @ self.light_basis[self.old_size :, pixels]
        passed = self.screen(state["dust_av"], state["dust_slope"], pixels)
        return torch.addcmul(old * passed[0], young, passed[1])

    def flux_factor(self, state: dict[str, Tensor], masses: Tensor) -> Tensor:
        """1e-17 erg/s/cm2/A observed per Lsun/A of one solar mass formed, shape ``(*batch,)``.

        Arguments:
            state: See the class.
            masses: From :meth:`bin_masses`, ``(*batch, age)``.
        """
        mass = state["stellar_mass"] / (masses @ self._solar_surviving.to(masses.dtype))
        return mass * self._flux_per_luminosity(state["redshift"])

    def _flux_per_luminosity(self, redshift: Tensor) -> Tensor:
        """1e-17 erg/s/cm2/A observed per Lsun/A, ``(*batch,)``."""
        distance_cm = self.cosmology.luminosity_distance_mpc(redshift) * MPC_CM
        # Divided step by step: the square of a distance in cm overflows single precision.
        scale = SOLAR_LUMINOSITY_ERG_S / FLUX_SCALE / (4.0 * math.pi) / distance_cm
        return scale / distance_cm / (1.0 + redshift)

    def lsf_excess(self, redshift: Tensor, lsf_km_s: Tensor) -> Tensor:
        """Variance of instrument minus templates at the instrument's pixels, km^2/s^2.

        The width of the pixels of 1 angstrom is in neither: the mean over them is taken exactly.

        Arguments:
            redshift: Shape ``(*batch,)``.
            lsf_km_s: Instrumental sigma at the 6000 pixels, as in
                :class:`acie.observation.Observation`, shape ``(*batch, wave)``.

        Returns:
            Shape ``(*batch, wave)``.
        """
        own = template_sigma_km_s(self.window.instrument / (1.0 + redshift.double()[..., None]))
        return lsf_km_s.double() ** 2 - own**2

    def forward(
        self,
        state: dict[str, Tensor],
        excess_km2_s2: Tensor | None = None,
    ) -> Tensor:
        """Observed flux density at the instrument's pixels.

        Arguments:
            state: See the class; tensors broadcast to ``(*batch,)``.
            excess_km2_s2: From :meth:`lsf_excess`, of the last axes of the batch: broadcastable
                to ``(*batch, wave)``; left out, the instrument is taken to have the templates'
                resolution.

        Returns:
            1e-17 erg/s/cm2/A, means over the pixels, shape ``(*batch, wave)``.
        """
        state = dict(zip(state, torch.broadcast_tensors(*state.values()), strict=True))
        batch = state["redshift"].shape
        light = self.coefficients(state)
        redshift = state["redshift"].reshape(-1, *batch[-1:])
        if excess_km2_s2 is None or len(batch) < 2 or bool((redshift != redshift[0]).any()):
            light = tuple(part.reshape(-1, part.shape[-1]) for part in light)
            flat = {name: state[name].reshape(-1) for name in (*OBSERVED, "redshift")}
            if excess_km2_s2 is not None:
                excess_km2_s2 = excess_km2_s2.expand(*batch, -1).reshape(len(light[0]), -1)
            return self._anywhere(light, flat, excess_km2_s2).reshape(*batch, -1)
        # The draws of one galaxy share redshift and resolution: they are computed together.
        sightlines = self.sightlines(redshift[0], excess_km2_s2.expand(*batch[-1:], -1))

        def galaxy(index: int) -> Tensor:
            part = tuple(p[..., index, :].reshape(-1, p.shape[-1]) for p in light)
            own = {name: state[name][..., index].reshape(-1) for name in OBSERVED}
            return self.observe(part, own, sightlines[index])

        return torch.stack(spread(galaxy, range(batch[-1])), -2).reshape(*batch, -1)

    def sightlines(self, redshift: Tensor, excess_km2_s2: Tensor | None = None) -> list[Sightline]:
        """What all spectra of a galaxy share, for each galaxy of a batch.

        Arguments:
            redshift: Shape ``(batch,)``.
            excess_km2_s2: From :meth:`lsf_excess`, ``(batch, wave)``.
        """
        window = self.window
        first, shift = window.locate(redshift)
        broadening = Broadening(
            window.size, shift, REST_STEP, window.prefilter, dtype=self.light_basis.dtype
        )
        excess = [None] * len(redshift) if excess_km2_s2 is None else excess_km2_s2
        parts = zip(first.tolist(), broadening.unbind(), excess, strict=True)
        return [Sightline(window, *part) for part in parts]

    def sightlines_of(self, observation: Observation) -> list[Sightline]:
        """Those of a batch of observed galaxies, at their redshifts and resolutions."""
        excess = self.lsf_excess(observation.redshift, observation.lsf)
        return self.sightlines(observation.redshift, excess)

    def observe(
        self,
        light: tuple[Tensor, Tensor],
        state: dict[str, Tensor],
        sightline: Sightline,
        out: Tensor | None = None,
    ) -> Tensor:
        """Spectra of states of one galaxy, ``(row,)``, from the coefficients of their light.

        Arguments:
            light: From :meth:`coefficients`, ``(row, old)`` and ``(row, young)``.
            state: ``dust_av``, ``dust_slope``, ``velocity_dispersion``.
            sightline: Of the galaxy.
            out: Where to write, ``(row, wave)``.

        Returns:
            As of :meth:`forward`, ``(row, wave)``.
        """
        moved = torch.is_grad_enabled() and any(state[name].requires_grad for name in OBSERVED)
        if not moved and usable(*light, self.light_basis):
            if self._compiled is None:
                self._compiled = CompiledSpectra(self)
            return self._compiled(light, state, sightline, out)
        parts = []
        for start in range(0, len(light[0]), _CHUNK):
            rows = slice(start, start + _CHUNK)
            chunk = {name: state[name][rows] for name in OBSERVED}
            flux = self._attenuated(light[0][rows], light[1][rows], chunk, sightline.pixels)
            variance = state["velocity_dispersion"][rows].to(flux.dtype) ** 2
            parts.append(sightline(flux, variance, None if out is None else out[rows]))
        if out is not None:
            return out
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _anywhere(
        self, light: tuple[Tensor, Tensor], state: dict[str, Tensor], excess: Tensor | None
    ) -> Tensor:
        """Spectra of states at any redshifts, ``(row,)``, each with its own excess."""
        window, redshift = self.window, state["redshift"]
        if excess is not None and excess.device.type == "cpu":
            # The very steps of :meth:`observe`, so that what is simulated is what is fitted.
            rows = range(len(redshift))
            return torch.cat(spread(lambda row: self._one(light, state, excess, row), rows))
        if excess is None and bool((redshift == redshift[0]).all()):
            return self.observe(light, state, self.sightlines(redshift[:1])[0])
        first, shift = window.locate(redshift)
        parts = []
        for start in range(0, len(first), _CHUNK):
            rows = slice(start, start + _CHUNK)
            begin = int(first[rows].min())
            pixels = slice(begin, int(first[rows].max()) + window.size)
            chunk = {name: state[name][rows] for name in OBSERVED}
            flux = self._attenuated(light[0][rows], light[1][rows], chunk, pixels)
            columns = torch.arange(window.size, device=first.device) - begin
            flux = flux.gather(-1, first[rows, None] + columns)
            variance = state["velocity_dispersion"][rows].to(flux.dtype) ** 2
            if excess is not None:
                parts.append(observe_together(window, flux, shift[rows], variance, excess[rows]))
                continue
            moved = broaden_and_shift(
                window.taper(flux), variance, shift[rows], REST_STEP, window.prefilter
            )
            parts.append(window.sample(moved))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _one(
        self, light: tuple[Tensor, Tensor], state: dict[str, Tensor], excess: Tensor, row: int
    ) -> Tensor:
        part = slice(row, row + 1)
        sightline = self.sightlines(state["redshift"][part], excess[part])[0]
        own = {name: state[name][part] for name in OBSERVED}
        return self.observe(tuple(piece[part] for piece in light), own, sightline)

    # -- read-outs ----------------------------------------------------------------------------

    def read_outs(self, state: dict[str, Tensor]) -> ReadOuts:
        """Derived quantities; see :class:`ReadOuts`."""
        tables = self.templates
        masses = self.bin_masses(state["age"], state["tau"])
        weights = self._weights(state, masses)
        surviving = masses @ self._solar_surviving.to(masses.dtype)
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
        light = light * masses
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


def _gas_metallicity(oxygen: Tensor) -> Tensor:
    """Mass fraction of metals in gas of 12 + log10(O/H), same shape."""
    return SOLAR_METALLICITY * 10.0 ** (oxygen - SOLAR_OXYGEN)


def _tables_fit(templates: TemplateSet) -> bool:
    """Whether the compiled kernel can read these tables."""
    kinds = ("stellar", "young", "nebular")
    tables = [getattr(templates, f"{kind}_coefficients") for kind in kinds]
    return templates.metallicity.device.type == "cpu" and all(
        table.dtype == torch.float32
        and table.is_contiguous()
        and table.shape[-1] % LANES == 0
        and table.shape[-2] <= MOST_BINS
        for table in tables
    )
