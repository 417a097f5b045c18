"""The causal model of a galaxy, version 1: variables, graph and mechanisms.

The relations are population conditionals taken as mechanisms, which is an assumption; each
variable names its source, and the coefficients are in ``relations.toml``.
"""

__all__ = [
    "ALIASES",
    "LATENT_NAMES",
    "SPECTRAL_NAMES",
    "build_galaxy_scm",
    "declared_supports",
]

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from acie.physics.sfh import DelayedTauSolver
from acie.physics.spectrum import StellarPopulationModel
from acie.scm import (
    AbstractMechanism,
    AdditiveNoiseMechanism,
    DeterministicMechanism,
    ExogenousMechanism,
    StructuralCausalModel,
    ThresholdMechanism,
    TruncatedNormalMechanism,
    UniformMechanism,
)
from acie.simulation import relations as law
from acie.simulation.relations import load_relations
from acie.variables import Variable

#: Variables that act on the spectrum directly and carry their own noise.
SPECTRAL_NAMES = (
    "stellar_mass", "sfr", "age", "metallicity", "gas_metallicity", "dust_av", "dust_slope",
    "velocity_dispersion", "ionization_parameter",
)  # fmt: skip
#: Continuous variables that the spectrum tells about only through the others.
LATENT_NAMES = ("halo_mass", "size")
ALIASES = {"mass": "stellar_mass", "sigma": "velocity_dispersion", "av": "dust_av"}

_ROWS = (
    # name, symbol, unit, support, transform, parents, description
    ("redshift", "z", "", (0.005, 0.6), "identity", (), "Redshift, given with the observation"),
    ("halo_mass", r"M_h", "Msun", (10**10.8, 10**14.5), "log10", (), "Halo mass M200c"),
    ("quenched", "Q", "", (0, 1), "identity", ("halo_mass", "redshift"), "1 when quenched"),
    ("stellar_mass", r"M_\star", "Msun", (1e6, 1e13), "log10", ("halo_mass", "redshift"),
     "Mass in stars and remnants"),
    ("sfr", r"\mathrm{SFR}", "Msun/yr", (1e-8, 1e4), "log10",
     ("stellar_mass", "redshift", "quenched"), "Present star-formation rate"),
    ("age", "T", "Gyr", (0.05, 13.5), "log10", ("stellar_mass", "sfr", "redshift"),
     "Time since the onset of star formation"),
    ("metallicity", "Z", "mass fraction", (1e-4, 0.05), "log10", ("stellar_mass",),
     "Stellar metallicity"),
    ("tau", r"\tau", "Gyr", (0, 1e6), "log10", ("stellar_mass", "sfr", "age"),
     "Time scale of the delayed-exponential history (derived)"),
    ("gas_metallicity", r"12+\log(\mathrm{O/H})", "dex", (6.5, 9.3), "identity",
     ("stellar_mass", "sfr"), "Gas-phase oxygen abundance"),
    ("dust_av", "A_V", "mag", (0, 4), "identity", ("stellar_mass", "sfr"),
     "Attenuation of the stars in the V band"),
    ("dust_slope", r"\delta", "", (-1.6, 0.7), "identity", ("dust_av",),
     "Slope of the modified Calzetti law"),
    ("size", "R_e", "kpc", (0.01, 1000), "log10", ("stellar_mass", "redshift", "quenched"),
     "Effective radius"),
    ("velocity_dispersion", r"\sigma", "km/s", (20, 500), "log10", ("stellar_mass", "size"),
     "Stellar velocity dispersion"),
    ("ionization_parameter", r"\log U", "dex", (-4, -1), "identity",
     ("gas_metallicity", "stellar_mass", "sfr"), "Ionisation parameter"),
)  # fmt: skip


def declared_supports() -> dict[str, tuple[tuple[float, float], str]]:
    """Support and transform of every variable, by name."""
    return {row[0]: (row[3], row[4]) for row in _ROWS}


def _variables(table: Mapping[str, Mapping[str, Any]]) -> list[Variable]:
    return [
        Variable(
            name=name, symbol=symbol, unit=unit, support=support, transform=transform,
            parents=parents, description=description,
            source=str(table.get(name, {}).get("source", "")),
            kind="binary" if name == "quenched" else "continuous",
            intervenable=name not in ("redshift", "tau"),
        )
        for name, symbol, unit, support, transform, parents, description in _ROWS
    ]  # fmt: skip


def build_galaxy_scm(
    physics: StellarPopulationModel, table: Mapping[str, Mapping[str, Any]] | None = None
) -> StructuralCausalModel:
    """The structural causal model ``galaxy``, version 1.

    Arguments:
        physics: Gives the surviving mass fraction, from which ``tau`` follows.
        table: Coefficients as from :func:`load_relations`; the built-in ones when left out.
    """
    table = load_relations() if table is None else table

    def of(name: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return partial(function, c=table[name])

    solve = DelayedTauSolver(physics.surviving_fraction, physics.history)

    def tau(v: Mapping[str, Tensor]) -> Tensor:
        specific = v["sfr"] / v["stellar_mass"] * v["age"] * 1e9
        return solve(v["age"], specific)

    c = table
    mechanisms: dict[str, AbstractMechanism] = {
        "redshift": ExogenousMechanism(),
        "halo_mass": UniformMechanism(
            10.0 ** c["halo_mass"]["low"], 10.0 ** c["halo_mass"]["high"], transform="log10"
        ),
        "quenched": ThresholdMechanism(of("quenched", law.behroozi2019_quenched_fraction)),
        "stellar_mass": AdditiveNoiseMechanism(
            of("stellar_mass", law.moster2013_log_mass),
            c["stellar_mass"]["scatter_dex"], transform="log10",
        ),
        "sfr": AdditiveNoiseMechanism(
            of("sfr", law.popesso2023_log_sfr), of("sfr", law.sfr_scatter), transform="log10"
        ),
        "age": TruncatedNormalMechanism(
            of("age", law.gallazzi2005_log_age), of("age", law.gallazzi2005_scatter),
            c["age"]["minimum_gyr"], law.oldest_age, transform="log10",
        ),
        "tau": DeterministicMechanism(tau),
        "metallicity": TruncatedNormalMechanism(
            of("metallicity", law.gallazzi2005_log_metallicity),
            of("metallicity", law.gallazzi2005_scatter),
            c["metallicity"]["low"], c["metallicity"]["high"], transform="log10",
        ),
        "size": AdditiveNoiseMechanism(
            of("size", law.vanderwel2014_log_size), of("size", law.vanderwel2014_scatter),
            transform="log10",
        ),
    }  # fmt: skip
    truncated = {
        "gas_metallicity": (law.curti2020_oxygen, "scatter", "identity"),
        "dust_av": (law.garn_best2010_av, "scatter_mag", "identity"),
        "dust_slope": (law.salim2018_slope, "scatter", "identity"),
        "velocity_dispersion": (law.virial_log_dispersion, "scatter_dex", "log10"),
        "ionization_parameter": (law.kashino_inoue2019_log_u, "scatter_dex", "identity"),
    }
    for name, (function, scatter, transform) in truncated.items():
        section = c[name]
        mechanisms[name] = TruncatedNormalMechanism(
            of(name, function), section[scatter], section.get("low", 0.0), section["high"],
            transform=transform,
        )  # fmt: skip
    return StructuralCausalModel(_variables(c), mechanisms, ALIASES, laws=("age",))
