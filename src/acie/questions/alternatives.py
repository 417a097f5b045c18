"""Other published relations, other graphs and hidden common causes of the galaxy model.

Every alternative is one assumption changed; sources and status are part of it.
"""

__all__ = ["ALTERNATIVES", "Alternative", "alternatives"]

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from acie.errors import ConfigurationError
from acie.scm import (
    AbstractMechanism,
    AdditiveNoiseMechanism,
    StructuralCausalModel,
    TruncatedNormalMechanism,
)
from acie.scm.variants import Variant, common_cause, correlated_noise, other_mechanisms
from acie.simulation import load_relations
from acie.simulation import relations as law
from acie.simulation.relations import cosmic_age_gyr

State = Mapping[str, Tensor]
Table = Mapping[str, Mapping[str, Any]]
_SOLAR = math.log10(0.02)


@dataclass(frozen=True)
class Alternative:
    """One assumption changed.

    Arguments:
        name: What to call it.
        description: The assumption in plain words.
        source: Where it comes from, and how far that was checked.
        build: Mechanisms and, where the graph changes, parents, from the coefficient table.
    """

    name: str
    description: str
    source: str
    build: Callable[[Table], tuple[dict[str, AbstractMechanism], dict[str, tuple[str, ...]]]]

    def apply(self, scm: StructuralCausalModel, table: Table | None = None) -> Variant:
        """The galaxy model under this assumption."""
        mechanisms, parents = self.build(load_relations() if table is None else table)
        return other_mechanisms(scm, self.name, self.description, mechanisms, parents)


def behroozi2013_log_mass(v: State) -> Tensor:
    """log10 stellar mass from halo mass: Behroozi, Wechsler & Conroy 2013, equation 3."""
    a = 1.0 / (1.0 + v["redshift"])
    nu, z = torch.exp(-4.0 * a**2), v["redshift"]
    log_eps = -1.777 - 0.006 * (a - 1.0) * nu - 0.119 * (a - 1.0)
    log_m1 = 11.514 + (-1.793 * (a - 1.0) - 0.251 * z) * nu
    alpha = -1.412 + 0.731 * (a - 1.0) * nu
    delta = 3.508 + (2.608 * (a - 1.0) - 0.043 * z) * nu
    gamma = 0.316 + (1.319 * (a - 1.0) + 0.279 * z) * nu

    def f(x: Tensor) -> Tensor:
        rise = torch.log10(1.0 + torch.exp(x)) ** gamma
        return -torch.log10(10.0 ** (alpha * x) + 1.0) + delta * rise / (1.0 + torch.exp(10.0**-x))

    x = torch.log10(v["halo_mass"]) - log_m1
    return log_eps + log_m1 + f(x) - f(torch.zeros_like(x))


def behroozi2019_log_mass(v: State) -> Tensor:
    """log10 stellar mass from halo mass: Behroozi et al. 2019, appendix J, all galaxies."""
    a, z = 1.0 / (1.0 + v["redshift"]), v["redshift"]
    log_a = torch.log(a)
    log_m1 = 12.035 + 4.556 * (a - 1.0) - 4.417 * log_a - 0.731 * z
    eps = -1.435 + 1.831 * (a - 1.0) - 1.368 * log_a - 0.217 * z
    alpha = 1.963 - 2.316 * (a - 1.0) + 1.732 * log_a + 0.178 * z
    beta = 0.482 - 0.841 * (a - 1.0) - 0.471 * z
    gamma = 10.0 ** (-1.034 - 3.100 * (a - 1.0) - 1.055 * z)
    x = torch.log10(v["halo_mass"]) - log_m1
    bend = torch.log10(10.0 ** (-alpha * x) + 10.0 ** (-beta * x))
    return log_m1 + eps - bend + gamma * torch.exp(-0.5 * (x / 0.411) ** 2)


def speagle2014_log_sfr(v: State, c: Mapping[str, Any]) -> Tensor:
    """log10 SFR: Speagle et al. 2014, equation 28; the quenched branch is kept."""
    time, mass = cosmic_age_gyr(v["redshift"]), torch.log10(v["stellar_mass"])
    main = (0.84 - 0.026 * time) * mass - (6.51 - 0.11 * time)
    return torch.where(v["quenched"] > 0.5, mass + c["quenched_log_ssfr"], main)


def kirby2013_log_metallicity(v: State) -> Tensor:
    """log10 stellar metallicity, mass fraction: Kirby et al. 2013, linear in log mass."""
    return -1.69 + 0.30 * (torch.log10(v["stellar_mass"]) - 6.0) + _SOLAR


def andrews_martini2013_oxygen(v: State) -> Tensor:
    """12 + log10(O/H) from mass alone: Andrews & Martini 2013."""
    x = 0.640 * (8.901 - torch.log10(v["stellar_mass"]))
    return 8.798 - torch.log10(1.0 + 10.0**x)


def _mass(function: Callable[[State], Tensor], scatter: Any) -> Any:
    return lambda table: (
        {"stellar_mass": AdditiveNoiseMechanism(function, scatter, transform="log10")}, {}
    )  # fmt: skip


def _sfr(table: Table) -> Any:
    c = table["sfr"]
    location = partial(speagle2014_log_sfr, c=c)
    scatter = partial(law.sfr_scatter, c=c)
    return {"sfr": AdditiveNoiseMechanism(location, scatter, transform="log10")}, {}


def _metallicity(location: Callable[..., Tensor], parents: tuple[str, ...]) -> Any:
    def build(table: Table) -> Any:
        c = table["metallicity"]
        mechanism = TruncatedNormalMechanism(
            partial(location, table=table), partial(law.gallazzi2005_scatter, c=c),
            c["low"], c["high"], transform="log10",
        )  # fmt: skip
        return {"metallicity": mechanism}, {"metallicity": parents}

    return build


def _shifted(v: State, table: Table, shift: float) -> Tensor:
    moved = {"stellar_mass": v["stellar_mass"] * 10.0**shift}
    return law.gallazzi2005_log_metallicity(moved, table["metallicity"])


def _with_sfr(v: State, table: Table) -> Tensor:
    active = {**v, "quenched": torch.zeros_like(v["stellar_mass"])}
    excess = torch.log10(v["sfr"]) - law.popesso2023_log_sfr(active, table["sfr"])
    return law.gallazzi2005_log_metallicity(v, table["metallicity"]) - 0.1 * excess


def _oxygen(table: Table) -> Any:
    c = table["gas_metallicity"]
    mechanism = TruncatedNormalMechanism(andrews_martini2013_oxygen, 0.18, c["low"], c["high"])
    return {"gas_metallicity": mechanism}, {"gas_metallicity": ("stellar_mass",)}


def _slope(value: float) -> Any:
    def build(table: Table) -> Any:
        c = table["dust_slope"]
        mechanism = TruncatedNormalMechanism(value, c["scatter"], c["low"], c["high"])
        return {"dust_slope": mechanism}, {"dust_slope": ()}

    return build


def _dust(table: Table) -> Any:
    # With nothing faded, the relation depends on mass alone: the arrow from the rate is gone.
    c = {**table["dust_av"], "quiescent_fraction": 1.0}

    def location(v: State) -> Tensor:
        return law.garn_best2010_av({**v, "sfr": v["stellar_mass"]}, c)

    mechanism = TruncatedNormalMechanism(location, c["scatter_mag"], 0.0, c["high"])
    return {"dust_av": mechanism}, {"dust_av": ("stellar_mass",)}


def _b13_scatter(v: State) -> Tensor:
    return 0.218 - 0.023 * (1.0 / (1.0 + v["redshift"]) - 1.0)


ALTERNATIVES: dict[str, Alternative] = {
    alternative.name: alternative
    for alternative in (
        Alternative("mass_behroozi2013", "another mass-halo relation",
                    "Behroozi, Wechsler & Conroy 2013, ApJ 770, 57, eq. 3 (checked: TeX)",
                    _mass(behroozi2013_log_mass, _b13_scatter)),
        Alternative("mass_behroozi2019", "another mass-halo relation",
                    "Behroozi et al. 2019, MNRAS 488, 3143, appendix J (checked: codes)",
                    _mass(behroozi2019_log_mass, 0.2)),
        Alternative("sfr_speagle2014", "another main sequence",
                    "Speagle et al. 2014, ApJS 214, 15, eq. 28 (checked: TeX)", _sfr),
        Alternative("metallicity_kirby2013", "stellar metallicity linear in log mass",
                    "Kirby et al. 2013, ApJ 779, 102 (checked: code); extrapolated from dwarfs",
                    _metallicity(lambda v, table: kirby2013_log_metallicity(v),
                                 ("stellar_mass",))),
        Alternative("metallicity_mass_scale", "Gallazzi masses 0.04 dex lower (disputed IMF)",
                    "declared",
                    _metallicity(partial(_shifted, shift=0.04), ("stellar_mass",))),
        Alternative("metallicity_from_sfr", "edge added: sfr > metallicity, -0.1 dex per dex",
                    "declared",
                    _metallicity(_with_sfr, ("stellar_mass", "sfr", "redshift"))),
        Alternative("gas_andrews2013", "edge removed: sfr > gas_metallicity; scatter 0.18 dex",
                    "Andrews & Martini 2013, ApJ 765, 140 (checked: TeX)", _oxygen),
        Alternative("dust_slope_calzetti", "edge removed: dust_av > dust_slope; slope 0",
                    "Calzetti et al. 2000, ApJ 533, 682; scatter as before", _slope(0.0)),
        Alternative("dust_slope_steep", "edge removed: dust_av > dust_slope; slope -0.4",
                    "declared", _slope(-0.4)),
        Alternative("dust_without_sfr", "edge removed: sfr > dust_av",
                    "declared: Garn & Best 2010 for all galaxies", _dust),
    )
}  # fmt: skip
_HIDDEN = ("stellar_mass~metallicity:0.3", "stellar_mass~metallicity:-0.3",
           "stellar_mass>metallicity:0.5")  # fmt: skip
_PAIR = re.compile(r"(\w+)([~>])(\w+):([+-]?\d*\.?\d+)")


def alternatives(
    scm: StructuralCausalModel, names: Iterable[str] = (), table: Table | None = None
) -> list[Variant]:
    """Variants of the galaxy model by name; the whole set when no name is given.

    Besides the names of ``ALTERNATIVES``: ``a~b:0.3`` correlates the noises of two variables,
    ``a>b:0.5`` gives half of the relation to a hidden common cause.

    Raises:
        ConfigurationError: An unknown name.
    """
    found = []
    for name in list(names) or [*ALTERNATIVES, *_HIDDEN]:
        pair = _PAIR.fullmatch(name.strip())
        if name in ALTERNATIVES:
            found.append(ALTERNATIVES[name].apply(scm, table))
        elif pair is not None:
            first, kind, second, strength = pair.groups()
            first, second = (scm.aliases.get(n, n) for n in (first, second))
            make = correlated_noise if kind == "~" else common_cause
            found.append(make(scm, first, second, float(strength)))
        else:
            raise ConfigurationError(
                "alternative", expected=f"one of {', '.join(ALTERNATIVES)}", found=repr(name),
                remedy="Or a hidden common cause: stellar_mass~metallicity:0.3 (correlation of "
                "noises), stellar_mass>metallicity:0.5 (share of the relation).",
            )  # fmt: skip
    return found
