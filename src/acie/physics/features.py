r"""Features of a spectrum: breaks, colours, line indices, fluxes in bands.

A feature is a function of a spectrum and its wavelengths, so that the same definition serves the
model and a measured spectrum. Windows are rest-frame; those published in air are converted.
"""

__all__ = ["FEATURES", "Feature", "SpectralFeatures", "feature_of", "measure"]

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from acie.errors import ConfigurationError
from acie.observation import WAVELENGTH, Observation
from acie.physics.dust import BIRTH_CLOUD_RATIO, modified_calzetti_attenuation
from acie.physics.spectrum import StellarPopulationModel
from acie.physics.templates import REST_STEP, REST_WAVELENGTH
from acie.refraction import air_to_vacuum

Window = tuple[float, float]
#: Rows of spectra computed at a time.
_CHUNK = 256
#: A measured window may miss this share of its pixels.
_MISSING = 0.1


@dataclass(frozen=True)
class Feature:
    """Definition of a feature.

    Arguments:
        name: What to call it.
        kind: ``break`` (ratio of mean F_nu, second window over first), ``colour`` (AB magnitude
            of the first window minus that of the second), ``index`` (equivalent width of the
            first window, the other two are the continuum, positive in absorption), ``emission``
            (the same, positive in emission), ``flux`` (mean F_lambda of the only window).
        windows: Rest-frame windows, angstrom.
        air: Whether the windows are published in air.
        unit: Unit as text.
        source: Where the definition comes from.
        description: One sentence for people.
    """

    name: str
    kind: str
    windows: tuple[Window, ...]
    air: bool = False
    unit: str = ""
    source: str = ""
    description: str = ""

    def vacuum_windows(self) -> tuple[Window, ...]:
        """The windows in vacuum, angstrom."""
        edges = torch.tensor(self.windows, dtype=torch.float64)
        edges = air_to_vacuum(edges) if self.air else edges
        return tuple((low, high) for low, high in edges.tolist())

    def of(self, wave: Tensor, width: Tensor, light: Tensor, good: Tensor | None = None) -> Tensor:
        """The feature of spectra.

        Arguments:
            wave: Rest-frame vacuum wavelength of the pixels, angstrom, ``(wave,)``.
            width: Widths of the pixels, angstrom, ``(wave,)``.
            light: F_lambda in any unit, ``(*batch, wave)``.
            good: Pixels to use, ``(wave,)``; all of them when left out.

        Returns:
            Shape ``(*batch,)``, in double precision; NaN where a window is not covered.
        """
        parts = [_overlap(wave, width, low, high) for low, high in self.vacuum_windows()]
        if good is not None:
            kept = [part * good for part in parts]
            whole = [high - low for low, high in self.vacuum_windows()]
            if any(
                float(k.sum()) < (1.0 - _MISSING) * w for k, w in zip(kept, whole, strict=True)
            ):
                return light.new_full(light.shape[:-1], math.nan, dtype=torch.float64)
            parts = kept
        light = light.double()
        if self.kind in ("index", "emission"):
            index = self._equivalent_width(wave, light, parts)
            return index if self.kind == "index" else -index
        if self.kind == "flux":
            return light @ parts[0] / parts[0].sum()
        if self.kind == "break":
            # F_nu is proportional to lambda^2 F_lambda; both means are over wavelength.
            blue, red = (light @ (part * wave**2) / part.sum() for part in parts)
            return red / blue
        # Photons counted: the mean of F_nu over d ln(nu).
        first, second = (light @ (part * wave) / (part / wave).sum() for part in parts)
        return -2.5 * torch.log10(first / second)

    def _equivalent_width(self, wave: Tensor, light: Tensor, parts: list[Tensor]) -> Tensor:
        line, blue, red = parts
        means = [light @ part / part.sum() for part in (blue, red)]
        middles = [float((part * wave).sum() / part.sum()) for part in (blue, red)]
        slope = (means[1] - means[0]) / (middles[1] - middles[0])
        used = line > 0
        level = means[0][..., None] + slope[..., None] * (wave[used] - middles[0])
        low, high = self.vacuum_windows()[0]
        share = line[used] * ((high - low) / line.sum())
        return (1.0 - light[..., used] / level) @ share


def _overlap(wave: Tensor, width: Tensor, low: float, high: float) -> Tensor:
    """Angstroms of each pixel inside the window, ``(wave,)``."""
    start, stop = wave - 0.5 * width, wave + 0.5 * width
    return (stop.clamp(max=high) - start.clamp(min=low)).clamp(min=0.0)


_DECLARED = "window declared here"
_BANDS = {"u": (3250.0, 3850.0), "g": (4150.0, 5500.0), "r": (5600.0, 6950.0)}
_SDSS = (
    "top-hat windows declared here in place of the SDSS bands; "
    "not the filter curves (rest frame, AB)"
)
#: Named features; any other window is asked for as in :func:`feature_of`.
FEATURES: dict[str, Feature] = {
    feature.name: feature
    for feature in (
        Feature("dn4000", "break", ((3850.0, 3950.0), (4000.0, 4100.0)), True,
                source="Balogh et al. 1999, ApJ 527, 54", description="Narrow 4000 A break"),
        Feature("d4000", "break", ((3750.0, 3950.0), (4050.0, 4250.0)), True,
                source="Bruzual 1983, ApJ 273, 105", description="Wide 4000 A break"),
        Feature("hdelta_a", "index", ((4083.5, 4122.25), (4041.6, 4079.75), (4128.5, 4161.0)),
                True, "angstrom", "Worthey & Ottaviani 1997, ApJS 111, 377",
                "Hdelta_A, positive in absorption"),
        Feature("halpha_ew", "emission", ((6554.6, 6574.6), (6480.0, 6540.0), (6610.0, 6650.0)),
                False, "angstrom", _DECLARED, "Halpha equivalent width, positive in emission"),
        Feature("oiii_ew", "emission", ((4998.0, 5018.0), (4970.0, 4995.0), (5020.0, 5100.0)),
                False, "angstrom", _DECLARED, "[O III] 5008 equivalent width"),
        *(Feature(f"{a}_{b}", "colour", (_BANDS[a], _BANDS[b]), False, "mag", _SDSS,
                  f"Rest-frame colour {a} - {b}") for a, b in ("ur", "gr", "ug")),
    )
}  # fmt: skip
_OTHERS = {
    "balmer_decrement": ("", "Halpha over Hbeta of the gas: 2.86 (case B, 10^4 K; Osterbrock & "
                         "Ferland 2006) reddened by the dust of birth clouds"),
    "halpha_luminosity": ("erg/s", "Halpha luminosity before dust"),
    "light_weighted_age": ("Gyr", "Age weighted by the light at 5500 A"),
    "mass_weighted_age": ("Gyr", "Age weighted by the mass formed"),
    "dust_luminosity": ("Lsun", "Luminosity re-emitted by dust"),
}  # fmt: skip
_FLUX = re.compile(r"flux:(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)")
_COLOUR = re.compile(r"colour:(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)/(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)")


def feature_of(name: str) -> Feature:
    """A feature by name, ``flux:4000-4500``, or ``colour:3500-4000/5500-6000``.

    Windows are rest-frame vacuum angstrom. The flux is the mean over the window, in
    1e-17 erg/s/cm2/A as observed.

    Raises:
        ConfigurationError: Not a feature, or a window outside the model.
    """
    if name in FEATURES:
        return FEATURES[name]
    for pattern, kind, unit in ((_FLUX, "flux", "1e-17 cgs/A"), (_COLOUR, "colour", "mag")):
        match = pattern.fullmatch(name)
        if match is None:
            continue
        edges = [float(edge) for edge in match.groups()]
        windows = tuple(zip(edges[::2], edges[1::2], strict=True))
        span = float(REST_WAVELENGTH[0]) + 50.0, float(REST_WAVELENGTH[-1]) - 50.0
        if all(span[0] <= low < high <= span[1] for low, high in windows):
            return Feature(name, kind, windows, False, unit, "asked for", name)
        raise ConfigurationError(
            "feature", expected=f"windows between {span[0]:.0f} and {span[1]:.0f} angstrom",
            found=name, remedy="The lower edge comes first.",
        )  # fmt: skip
    raise ConfigurationError(
        "feature", expected=f"one of {', '.join((*FEATURES, *_OTHERS))}", found=repr(name),
        remedy="Or windows: flux:4000-4500, colour:3500-4000/5500-6000.",
    )  # fmt: skip


class SpectralFeatures:
    """Features of the model spectrum of a state.

    They are computed at rest, at the resolution of the templates: before the broadening by the
    velocity dispersion and the instrument, on which they do not depend by this definition, and
    without noise.

    Arguments:
        physics: The forward model.
    """

    def __init__(self, physics: StellarPopulationModel) -> None:
        self._physics = physics
        self._wave = torch.as_tensor(REST_WAVELENGTH.copy())
        self._width = self._wave * REST_STEP

    @property
    def names(self) -> dict[str, str]:
        """Named features with their descriptions."""
        named = {name: feature.description for name, feature in FEATURES.items()}
        return {**named, **{name: text for name, (_, text) in _OTHERS.items()}}

    def unit(self, name: str) -> str:
        """Unit of a feature as text."""
        return _OTHERS[name][0] if name in _OTHERS else feature_of(name).unit

    def compute(self, name: str, state: Mapping[str, Tensor]) -> Tensor:
        """The feature of every state.

        Arguments:
            name: See :func:`feature_of`; or a derived quantity such as ``balmer_decrement``.
            state: As for :class:`StellarPopulationModel`; tensors broadcast to ``(*batch,)``.

        Returns:
            Shape ``(*batch,)``, double precision; NaN where the state is.
        """
        keys = list(state)
        stacked = torch.broadcast_tensors(*(state[key] for key in keys))
        shape = stacked[0].shape
        flat = torch.stack([value.reshape(-1) for value in stacked])
        whole = ~flat.isnan().any(0)
        # Worlds differ in few variables, and many of their rows are equal: each is computed once.
        rows, index = flat[:, whole].unique(dim=1, return_inverse=True)
        distinct = dict(zip(keys, rows, strict=True))
        result = rows.new_full((whole.numel(),), math.nan)
        if rows.shape[1]:
            result[whole] = self._rows(name, distinct).to(result.dtype)[index]
        return result.reshape(shape)

    def _rows(self, name: str, state: dict[str, Tensor]) -> Tensor:
        if name == "balmer_decrement":
            return _balmer_decrement(state)
        parts = []
        for start in range(0, len(next(iter(state.values()))), _CHUNK):
            chunk = {key: value[start : start + _CHUNK] for key, value in state.items()}
            if name in _OTHERS:
                parts.append(getattr(self._physics.read_outs(chunk), name))
            else:
                parts.append(self._from_light(feature_of(name), chunk))
        return torch.cat(parts)

    def _from_light(self, feature: Feature, state: dict[str, Tensor]) -> Tensor:
        pixels = self._pixels(feature)
        light = self._physics.rest_luminosity(state, pixels, feature.kind == "flux")
        return feature.of(self._wave[pixels], self._width[pixels], light)

    def _pixels(self, feature: Feature) -> slice:
        edges = [edge for window in feature.vacuum_windows() for edge in window]
        found = torch.searchsorted(self._wave, torch.tensor([min(edges), max(edges)]).double())
        return slice(max(int(found[0]) - 2, 0), int(found[1]) + 2)


def _balmer_decrement(state: Mapping[str, Tensor]) -> Tensor:
    lines = torch.tensor([4862.7, 6564.6], dtype=torch.float64)
    curve = modified_calzetti_attenuation(lines, state["dust_slope"])
    depth = BIRTH_CLOUD_RATIO * state["dust_av"] * (curve[..., 0] - curve[..., 1])
    return 2.86 * 10.0 ** (0.4 * depth)


def measure(
    observation: Observation, name: str, generator: torch.Generator, draws: int = 64
) -> tuple[Tensor, Tensor]:
    """A feature of measured spectra, and its error from their stated noise.

    Arguments:
        observation: One galaxy or a batch.
        name: See :func:`feature_of`.
        generator: Source of the noise that is added to find the error.
        draws: Number of noisy copies.

    Returns:
        Values and standard errors, each ``(batch,)``; NaN where a window misses more than a
        tenth of its pixels.
    """
    feature, batch = feature_of(name), observation.batched()
    wave, values, errors = torch.as_tensor(WAVELENGTH.copy()), [], []
    for galaxy in range(len(batch)):
        one = batch[galaxy]
        stretch = 1.0 + float(one.redshift)
        good = (one.ivar > 0).double()
        sigma = torch.where(one.ivar > 0, one.ivar.clamp(min=1e-30).rsqrt(), 0.0)
        noise = torch.randn(draws, wave.numel(), generator=generator)
        light = torch.cat([one.flux[None], one.flux + sigma * noise])
        # Per angstrom at rest a ratio is the same; a mean flux is kept as observed.
        found = feature.of(wave / stretch, torch.ones_like(wave) / stretch, light, good)
        values.append(found[0])
        errors.append(found[1:].std())
    return torch.stack(values), torch.stack(errors)
