"""The scaling relations as pure functions of the parents; coefficients come from a table.

Masses are in solar masses, rates in solar masses per year, ages in Gyr. Every function takes the
dictionary of parent values first and its section of ``relations.toml`` second.
"""

__all__ = ["cosmic_age_gyr", "load_relations", "published_log_mass"]

import functools
import math
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from acie.physics import virial
from acie.physics.cosmology import FlatLambdaCDM
from acie.units import SOLAR_METALLICITY

State = Mapping[str, Tensor]
Coefficients = Mapping[str, Any]
_COSMOLOGY = FlatLambdaCDM()


def load_relations(path: str | Path | None = None) -> dict[str, dict[str, Any]]:
    """Coefficients, sources and status of every relation.

    Arguments:
        path: A TOML file whose sections replace, key by key, those of the built-in one.
    """
    text = resources.files("acie.simulation").joinpath("relations.toml").read_text("utf-8")
    table = tomllib.loads(text)
    if path is not None:
        for name, section in tomllib.loads(Path(path).read_text("utf-8")).items():
            table[name] = {**table.get(name, {}), **section}
    return table


@functools.cache
def published_log_mass() -> tuple[float, float]:
    """The range of log10 stellar mass that the sources of most built-in mechanisms support.

    It is the median of the ranges stated in the table, because each source stops elsewhere.
    """
    ranges = [row["range"] for row in load_relations().values() if "range" in row]
    low, high = (sorted(edge)[len(ranges) // 2] for edge in zip(*ranges, strict=True))
    return low, high


def cosmic_age_gyr(redshift: Tensor) -> Tensor:
    """Age of the universe, Gyr, in the cosmology of the relations."""
    return _COSMOLOGY.age_gyr(redshift)


def moster2013_log_mass(v: State, c: Coefficients) -> Tensor:
    r"""log10 stellar mass: :math:`2 N M_h / [(M_h/M_1)^{-\beta} + (M_h/M_1)^{\gamma}]`."""
    growth = v["redshift"] / (1.0 + v["redshift"])
    log_m1, n, beta, gamma = (
        c[key][0] + c[key][1] * growth for key in ("log_m1", "n", "beta", "gamma")
    )
    x = (torch.log10(v["halo_mass"]) - log_m1) * math.log(10.0)
    shape = torch.logaddexp(-beta * x, gamma * x) / math.log(10.0)
    return torch.log10(v["halo_mass"]) + torch.log10(2.0 * n) - shape


def behroozi2019_quenched_fraction(v: State, c: Coefficients) -> Tensor:
    """Probability of being quenched, an error function of the halo's peak velocity."""
    a = 1.0 / (1.0 + v["redshift"])
    mass = c["pivot"] / ((a / 0.378) ** -0.142 + (a / 0.378) ** -1.79)
    log_v = math.log10(c["velocity_200"]) + 0.3 * torch.log10(v["halo_mass"] / mass)
    log_vq = c["v_q"][0] + c["v_q"][1] * (1.0 - a) + c["v_q"][2] * v["redshift"]
    sigma = c["sigma"][0] + c["sigma"][1] * (1.0 - a) + c["sigma"][2] * torch.log1p(v["redshift"])
    floor = (c["q_min"][0] + c["q_min"][1] * (1.0 - a)).clamp(min=0.0)
    rise = 0.5 + 0.5 * torch.erf((log_v - log_vq) / (math.sqrt(2.0) * sigma))
    # A probability of exactly 0 or 1 would leave no noise that explains the other value.
    return (floor + (1.0 - floor) * rise).clamp(1e-9, 1.0 - 1e-9)


def popesso2023_log_sfr(v: State, c: Coefficients) -> Tensor:
    """log10 star-formation rate: turnover main sequence, or the declared quenched branch."""
    time = _COSMOLOGY.age_gyr(v["redshift"])
    mass = torch.log10(v["stellar_mass"])
    s0, s1, m0, m1 = c["main"]
    main = s0 + s1 * time - torch.log10(1.0 + 10.0 ** (m0 + m1 * time - mass))
    return torch.where(v["quenched"] > 0.5, mass + c["quenched_log_ssfr"], main)


def sfr_scatter(v: State, c: Coefficients) -> Tensor:
    """Scatter of log10 SFR on the two branches, dex."""
    quenched, main = c["quenched_scatter_dex"], c["scatter_dex"]
    return torch.where(v["quenched"] > 0.5, quenched, main).to(v["stellar_mass"].dtype)


def _tanh(mass: Tensor, p: list[float]) -> Tensor:
    return p[0] + p[1] * torch.tanh((torch.log10(mass) - p[2]) / p[3])


def gallazzi2005_log_age(v: State, c: Coefficients) -> Tensor:
    """log10 age / Gyr."""
    return _tanh(v["stellar_mass"], c["median"]) - 9.0


def gallazzi2005_log_metallicity(v: State, c: Coefficients) -> Tensor:
    """log10 stellar metallicity, mass fraction."""
    return _tanh(v["stellar_mass"], c["median"]) + math.log10(SOLAR_METALLICITY)


def gallazzi2005_scatter(v: State, c: Coefficients) -> Tensor:
    """Half of the 16-84 % range, dex; it includes measurement error."""
    return _tanh(v["stellar_mass"], c["scatter_dex"])


def oldest_age(v: State) -> Tensor:
    """Upper bound of the age, Gyr: the cosmic age, and what the star-formation rate allows.

    A delayed-exponential history has SFR x age < 2 x mass formed; because the mass formed exceeds
    the surviving mass, an age below 2 M / SFR is attainable at every metallicity.
    """
    allowed = 2.0 * v["stellar_mass"] / v["sfr"] * 1e-9
    return torch.minimum(_COSMOLOGY.age_gyr(v["redshift"]), allowed.clamp(min=0.06))


def curti2020_oxygen(v: State, c: Coefficients) -> Tensor:
    """12 + log10(O/H) of the fundamental metallicity relation."""
    log_m0 = c["m0"][0] + c["m0"][1] * torch.log10(v["sfr"])
    x = (torch.log10(v["stellar_mass"]) - log_m0) * (-c["beta"] * math.log(10.0))
    return c["z0"] - c["gamma"] / c["beta"] * torch.nn.functional.softplus(x) / math.log(10.0)


def garn_best2010_av(v: State, c: Coefficients) -> Tensor:
    """Stellar A_V, mag; galaxies without star formation keep a declared small fraction of it."""
    x = torch.log10(v["stellar_mass"]).clamp(*c["range"]) - 10.0
    p = c["halpha"]
    halpha = p[0] + p[1] * x + p[2] * x**2 + p[3] * x**3
    middle, width = c["fade_log_ssfr"]
    active = torch.sigmoid((torch.log10(v["sfr"] / v["stellar_mass"]) - middle) / width)
    share = c["quiescent_fraction"] + (1.0 - c["quiescent_fraction"]) * active
    return c["stellar_ratio"] * halpha * share


def salim2018_slope(v: State, c: Coefficients) -> Tensor:
    """Slope of the modified Calzetti law, linear between the tabulated A_V, flat outside."""
    nodes, values = (v["dust_av"].new_tensor(c[key]) for key in ("a_v", "slope"))
    value = v["dust_av"].clamp(c["a_v"][0], c["a_v"][-1])
    index = torch.searchsorted(nodes[1:-1], value.contiguous(), right=True)
    ends = torch.stack([nodes[:-1], nodes[1:], values[:-1], values[1:]], -1)
    low, high, before, after = ends[index].unbind(-1)
    return before + (value - low) / (high - low) * (after - before)


def _van_der_wel(v: State, c: Coefficients, row: int) -> Tensor:
    z0, z1 = c["z"]
    share = (v["redshift"].clamp(z0, z1) - z0) / (z1 - z0)
    early, late = (
        c[kind][row][0] + share * (c[kind][row][1] - c[kind][row][0]) for kind in ("early", "late")
    )
    return torch.where(v["quenched"] > 0.5, early, late)


def vanderwel2014_log_size(v: State, c: Coefficients) -> Tensor:
    """log10 effective radius, kpc."""
    mass = torch.log10(v["stellar_mass"] / 5e10)
    return _van_der_wel(v, c, 0) + _van_der_wel(v, c, 1) * mass


def vanderwel2014_scatter(v: State, c: Coefficients) -> Tensor:
    """Scatter of log10 effective radius, dex."""
    return _van_der_wel(v, c, 2)


def virial_log_dispersion(v: State, c: Coefficients) -> Tensor:
    """log10 velocity dispersion, km/s; see :func:`acie.physics.virial.virial_log_dispersion`."""
    return virial.virial_log_dispersion(
        v["stellar_mass"], v["size"], c["virial_k"], c["dark_fraction"]
    )


def kashino_inoue2019_log_u(v: State, c: Coefficients) -> Tensor:
    """log10 ionisation parameter."""
    mass = torch.log10(v["stellar_mass"])
    specific = torch.log10(v["sfr"]) - mass + 9.0
    n, u = c["log_ne"], c["log_u"]
    density = n[0] + n[1] * (mass - 10.0) + n[2] * specific
    return u[0] + u[1] * (v["gas_metallicity"] - 8.0) + u[2] * density + u[3] * specific
