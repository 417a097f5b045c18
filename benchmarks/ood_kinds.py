"""Spectra that the model was not trained for, made from simulated galaxies and from formulae.

Every function takes a simulated set (the donor of noise level, coverage, mask, resolution and
claimed redshift), the noise model and a generator, and returns an observation of the same size.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from acie.observation import WAVELENGTH, Observation
from acie.refraction import vacuum_to_air
from acie.simulation import NoiseModel, SimulatedSet
from acie.units import LIGHT_KM_S

WAVE = torch.as_tensor(WAVELENGTH.copy())
#: Hydrogen Balmer lines, vacuum angstrom.
BALMER = (6564.61, 4862.68, 4341.68, 4102.89, 3971.19, 3890.15, 3836.47)
#: Quasar lines: rest wavelength (angstrom), equivalent width (angstrom), Gaussian width
#: (angstrom); strongest lines of the composite of Vanden Berk et al. 2001, AJ 122, 549, Table 2,
#: rounded.
QUASAR_LINES = (
    (1908.7, 21.0, 23.6), (2800.3, 32.0, 35.0), (3729.7, 1.6, 3.3), (3869.8, 1.4, 5.3),
    (4102.7, 5.0, 18.6), (4346.4, 12.6, 20.3), (4853.1, 46.0, 40.4), (4960.4, 3.5, 3.9),
    (5008.2, 13.2, 6.0), (6564.9, 194.0, 47.4),
)  # fmt: skip
#: Continuum slopes of F_lambda from the same paper, blueward and redward of 4861 angstrom.
QUASAR_SLOPES = (-1.56, 0.45)
#: Titanium oxide band heads of M stars (air angstrom, nearly), with relative depths.
TIO = ((4761, 0.2), (4954, 0.3), (5167, 0.35), (5448, 0.3), (5847, 0.35), (6159, 0.4),
       (6651, 0.4), (7053, 0.55), (7589, 0.5), (8432, 0.4), (8859, 0.35))  # fmt: skip
#: Metal lines of solar-type stars, vacuum angstrom, with central depths at 2 angstrom width.
METALS = ((3934.8, 0.8), (3969.6, 0.75), (4227.9, 0.4), (4305.0, 0.4), (4384.8, 0.3),
          (5168.8, 0.3), (5174.1, 0.4), (5185.0, 0.45), (5270.9, 0.25), (5329.5, 0.2),
          (5891.6, 0.4), (5897.6, 0.35), (8500.4, 0.3), (8544.4, 0.4), (8664.5, 0.4))  # fmt: skip
#: Bright OH night-sky lines, angstrom, to one angstrom.
SKY = (5578, 6301, 7277, 7317, 7341, 7370, 7402, 7525, 7573, 7752, 7796, 7823, 7915, 7966, 7995,
       8027, 8064, 8346, 8401, 8432, 8467, 8507, 8780, 8829, 8869, 8888, 8921, 8945, 8960, 9003,
       9105, 9155, 9219, 9227, 9311, 9317, 9340, 9378, 9442, 9478)  # fmt: skip

Maker = Callable[[SimulatedSet, NoiseModel, torch.Generator], Observation]


def uniform(low: float, high: float, count: int, generator: torch.Generator) -> Tensor:
    draw = torch.rand(count, generator=generator, dtype=torch.float64)
    return (low + (high - low) * draw)[:, None]


def sign(count: int, generator: torch.Generator) -> Tensor:
    return uniform(0.0, 1.0, count, generator).sub(0.5).sign()


def gauss(centre: Tensor | float, width: Tensor | float) -> Tensor:
    """Gaussian of height one at every pixel."""
    return torch.exp(-0.5 * ((WAVE - centre) / width) ** 2)


def observe(
    clean: Tensor, donor: SimulatedSet, noise: NoiseModel, generator: torch.Generator
) -> Observation:
    """A clean spectrum at the brightness of the donor, with its noise and its mask."""
    seen = donor.observation
    good = seen.ivar > 0
    level = donor.clean.double().median(-1, keepdim=True).values
    clean = clean / clean.median(-1, keepdim=True).values * level
    sigma = torch.where(good, seen.ivar, torch.nan).rsqrt()
    typical = sigma.nanmedian(-1, keepdim=True).values
    sigma = torch.where(good, sigma, typical).float()
    flux = noise.sample(clean.float(), sigma, seen.redshift, generator)
    return replace(seen, flux=torch.where(good, flux, 0.0).to(seen.flux.dtype))


# -- other objects --------------------------------------------------------------------------------


def quasar(donor: SimulatedSet, noise: NoiseModel, generator: torch.Generator) -> Observation:
    """Broken power law and broad lines, with scatter of slope and of line strength."""
    count = len(donor.clean)
    rest = WAVE / (1.0 + donor.observation.redshift[:, None])
    tilt = 0.3 * torch.randn((count, 1), generator=generator, dtype=torch.float64)
    ratio = (rest / 4861.0).log()
    blue, red = QUASAR_SLOPES
    light = torch.exp(torch.where(ratio < 0, blue, red) * ratio + tilt * ratio)
    lines = torch.zeros_like(light)
    for centre, width, sigma in QUASAR_LINES:
        strength = width * torch.exp(
            0.4 * torch.randn((count, 1), generator=generator, dtype=torch.float64)
        )
        profile = torch.exp(-0.5 * ((rest - centre) / sigma) ** 2)
        lines = lines + strength / (sigma * math.sqrt(2.0 * math.pi)) * profile
    return observe(light * (1.0 + lines), donor, noise, generator)


def black_body(kelvin: Tensor) -> Tensor:
    """F_lambda of a black body, any scale."""
    return WAVE**-5 / torch.expm1(1.43878e8 / WAVE / kelvin)


def star_m(donor: SimulatedSet, noise: NoiseModel, generator: torch.Generator) -> Observation:
    count = len(donor.clean)
    light = black_body(uniform(2900, 3700, count, generator))
    depth = uniform(0.6, 1.4, count, generator)
    for head, strength in TIO:
        # A sharp head that recovers towards the red over some 150 angstrom.
        shape = torch.where(head <= WAVE, torch.exp(-(WAVE - head).clamp(min=0.0) / 150.0), 0.0)
        light = light * (1.0 - (depth * strength).clamp(max=0.9) * shape)
    return observe(light, donor, noise, generator)


def star_g(donor: SimulatedSet, noise: NoiseModel, generator: torch.Generator) -> Observation:
    count = len(donor.clean)
    light = black_body(uniform(5200, 6200, count, generator))
    depth = uniform(0.7, 1.3, count, generator)
    for centre, strength in (*METALS, *((line, 0.35) for line in BALMER)):
        width = 6.0 if centre < 3980 else 2.2
        light = light * (1.0 - (depth * strength).clamp(max=0.95) * gauss(centre, width))
    # The break at 4000 angstrom.
    light = light * torch.where(WAVE < 4000.0, 0.65, 1.0)
    return observe(light, donor, noise, generator)


def hot_star(
    donor: SimulatedSet, noise: NoiseModel, generator: torch.Generator,
    kelvin: tuple[float, float], width: tuple[float, float], jump: float,
) -> Observation:  # fmt: skip
    count = len(donor.clean)
    light = black_body(uniform(*kelvin, count, generator))
    broad = uniform(*width, count, generator)
    for number, centre in enumerate(BALMER):
        light = light * (1.0 - (0.65 - 0.05 * number) / (1.0 + ((WAVE - centre) / broad) ** 2))
    light = light * torch.where(WAVE < 3700.0, jump, 1.0)
    return observe(light, donor, noise, generator)


def star_a(donor: SimulatedSet, noise: NoiseModel, generator: torch.Generator) -> Observation:
    return hot_star(donor, noise, generator, (8000, 10000), (6, 12), 0.5)


def white_dwarf(donor: SimulatedSet, noise: NoiseModel, generator: torch.Generator) -> Observation:
    return hot_star(donor, noise, generator, (11000, 25000), (25, 50), 0.95)


def with_lines(
    donor: SimulatedSet, noise: NoiseModel, generator: torch.Generator,
    lines: list[tuple[float, Tensor]], sigma_km_s: Tensor,
) -> Observation:  # fmt: skip
    """Lines of given equivalent width (rest angstrom) on top of the galaxies."""
    factor = 1.0 + donor.observation.redshift[:, None]
    level = donor.clean.double().median(-1, keepdim=True).values
    light = donor.clean.double().clone()
    for centre, width in lines:
        sigma = centre * factor * sigma_km_s / LIGHT_KM_S
        height = level * width * factor / (sigma * math.sqrt(2.0 * math.pi))
        light = light + height * gauss(centre * factor, sigma)
    return observe(light, donor, noise, generator)


def agn_narrow(donor: SimulatedSet, noise: NoiseModel, generator: torch.Generator) -> Observation:
    """[O III]/Hbeta of 8 to 12 and [N II]/Halpha of 1 to 2, [O III] of 15 to 100 angstrom."""
    count = len(donor.clean)
    oxygen = torch.exp(uniform(math.log(15.0), math.log(100.0), count, generator))
    beta = oxygen / uniform(8.0, 12.0, count, generator)
    nitrogen = 3.0 * beta * uniform(1.0, 2.0, count, generator)
    lines = [
        (5008.24, oxygen), (4960.30, oxygen / 3.0), (4862.68, beta), (6564.61, 3.0 * beta),
        (6585.27, nitrogen), (6549.85, nitrogen / 3.0), (6718.29, 0.8 * beta),
        (6732.67, 0.8 * beta), (6302.05, 0.5 * beta), (3728.5, 1.5 * beta),
    ]  # fmt: skip
    return with_lines(donor, noise, generator, lines, uniform(150.0, 300.0, count, generator))


def agn_broad(donor: SimulatedSet, noise: NoiseModel, generator: torch.Generator) -> Observation:
    """Broad Halpha of 50 to 300 angstrom and FWHM 2000 to 6000 km/s, with its Hbeta."""
    count = len(donor.clean)
    alpha = torch.exp(uniform(math.log(50.0), math.log(300.0), count, generator))
    sigma = uniform(2000.0, 6000.0, count, generator) / 2.3548
    lines = [(6564.61, alpha), (4862.68, alpha / 3.5)]
    return with_lines(donor, noise, generator, lines, sigma)


# -- instruments and their reduction --------------------------------------------------------------


def changed(donor: SimulatedSet, flux: Tensor, ivar: Tensor | None = None) -> Observation:
    seen = donor.observation
    ivar = seen.ivar if ivar is None else ivar
    flux = torch.where(ivar > 0, flux, 0.0).to(seen.flux.dtype)
    return replace(seen, flux=flux, ivar=ivar)


def sky_ramp(donor: SimulatedSet, noise: NoiseModel, generator: torch.Generator) -> Observation:
    """Additive light that grows from 6500 angstrom to 30 to 100 % of the median at 9600."""
    count = len(donor.clean)
    level = donor.clean.double().median(-1, keepdim=True).values
    height = uniform(0.3, 1.0, count, generator) * sign(count, generator)
    ramp = ((WAVE - 6500.0) / 3100.0).clamp(min=0.0)
    return changed(donor, donor.observation.flux + level * height * ramp)


def sky_lines(donor: SimulatedSet, noise: NoiseModel, generator: torch.Generator) -> Observation:
    """Residuals of night-sky lines, 30 to 100 % of the median flux, all of one sign."""
    count = len(donor.clean)
    level = donor.clean.double().median(-1, keepdim=True).values
    height = uniform(0.3, 1.0, count, generator) * sign(count, generator)
    lines = torch.zeros_like(donor.observation.flux)
    for centre in SKY:
        lines = lines + uniform(0.3, 1.7, count, generator) * gauss(float(centre), 1.5)
    return changed(donor, donor.observation.flux + level * height * lines)


def cosmic_rays(donor: SimulatedSet, noise: NoiseModel, generator: torch.Generator) -> Observation:
    """40 to 100 hits, three pixels wide, of 10 to 50 standard errors."""
    count, seen = len(donor.clean), donor.observation
    hits = torch.zeros_like(seen.flux)
    for row in range(count):
        number = int(uniform(40, 100, 1, generator))
        at = torch.randint(1, WAVE.numel() - 1, (number,), generator=generator)
        height = uniform(10.0, 50.0, number, generator)[:, 0].to(hits)
        for offset, share in ((-1, 0.5), (0, 1.0), (1, 0.5)):
            hits[row].index_add_(0, at + offset, share * height)
    sigma = torch.where(seen.ivar > 0, seen.ivar, torch.inf).rsqrt()
    return changed(donor, seen.flux + hits * sigma)


def dead_half(donor: SimulatedSet, noise: NoiseModel, generator: torch.Generator) -> Observation:
    """Noise without light on one side of 6000 angstrom, with the errors of the healthy half."""
    count, seen = len(donor.clean), donor.observation
    red = sign(count, generator) > 0
    dead = torch.where(red, WAVE > 6000.0, WAVE <= 6000.0)
    return changed(donor, torch.where(dead, seen.flux - donor.clean, seen.flux))


def pure_noise(donor: SimulatedSet, noise: NoiseModel, generator: torch.Generator) -> Observation:
    seen = donor.observation
    sigma = torch.where(seen.ivar > 0, seen.ivar, torch.inf).rsqrt()
    deviate = torch.randn(seen.flux.shape, generator=generator, dtype=seen.flux.dtype)
    return changed(donor, sigma * deviate)


# -- mistakes of the user -------------------------------------------------------------------------


def scaled(factor: float) -> Maker:
    """Flux and errors in another unit."""

    def make(donor: SimulatedSet, noise: NoiseModel, generator: torch.Generator) -> Observation:
        seen = donor.observation
        return changed(donor, seen.flux * factor, seen.ivar / factor**2)

    return make


def sigma_for_ivar(
    donor: SimulatedSet, noise: NoiseModel, generator: torch.Generator
) -> Observation:
    """A column of standard errors read as inverse variances."""
    seen = donor.observation
    sigma = torch.where(seen.ivar > 0, seen.ivar, torch.inf).rsqrt()
    return changed(donor, seen.flux, sigma)


def ivar_for_sigma(
    donor: SimulatedSet, noise: NoiseModel, generator: torch.Generator
) -> Observation:
    """A column of inverse variances read as standard errors."""
    seen = donor.observation
    return changed(donor, seen.flux, torch.where(seen.ivar > 0, seen.ivar**-2, 0.0))


def wrong_redshift(
    donor: SimulatedSet, noise: NoiseModel, generator: torch.Generator
) -> Observation:
    """A redshift that is off by 0.02 to 0.2, inside the range of the model."""
    seen = donor.observation
    count = len(donor.clean)
    shift = uniform(0.02, 0.2, count, generator)[:, 0] * sign(count, generator)[:, 0]
    inside = (seen.redshift + shift > 0.006) & (seen.redshift + shift < 0.599)
    return replace(seen, redshift=seen.redshift + torch.where(inside, shift, -shift))


def air_for_vacuum(
    donor: SimulatedSet, noise: NoiseModel, generator: torch.Generator
) -> Observation:
    """Wavelengths in air that are read as vacuum."""
    # The pixel that claims a wavelength shows the light of that wavelength in air.
    true = WAVE * (WAVE / vacuum_to_air(WAVE))
    index = true - WAVELENGTH[0]
    left = index.floor().clamp(0, WAVE.numel() - 2).long()
    share = (index - left).clamp(0.0, 1.0)
    clean = donor.clean.double()
    moved = clean[:, left] * (1.0 - share) + clean[:, left + 1] * share
    return observe(moved, donor, noise, generator)


#: Inputs that should be noticed.
KINDS: dict[str, Maker] = {
    "quasar": quasar,
    "star M": star_m,
    "star G": star_g,
    "star A": star_a,
    "white dwarf": white_dwarf,
    "AGN, narrow lines": agn_narrow,
    "AGN, broad lines": agn_broad,
    "sky ramp": sky_ramp,
    "sky line residuals": sky_lines,
    "cosmic rays": cosmic_rays,
    "dead half": dead_half,
    "pure noise": pure_noise,
    "flux in erg, not 1e-17 erg": scaled(1e-17),
    "errors read as ivar": sigma_for_ivar,
    "ivar read as errors": ivar_for_sigma,
    "wrong redshift": wrong_redshift,
    "air read as vacuum": air_for_vacuum,
}
#: Inputs that a galaxy of the model could have given: no test can notice most of them.
UNNOTICEABLE: dict[str, Maker] = {
    "flux per nm (a factor 10)": scaled(10.0),
    "flux twice too large": scaled(2.0),
}
