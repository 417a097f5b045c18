"""What may be asked about a galaxy: its variables, and features of its spectrum."""

__all__ = ["galaxy_outcome", "outcome_label", "outcome_names"]

from collections.abc import Mapping

from torch import Tensor

from acie.errors import ConfigurationError, UnknownVariable
from acie.physics.features import SpectralFeatures
from acie.physics.spectrum import StellarPopulationModel
from acie.scm import StructuralCausalModel
from acie.scm.outcomes import Outcome, ReadOut

#: Variables that shape the spectrum at rest, per solar mass formed.
_SHAPE = (
    "age", "tau", "metallicity", "gas_metallicity", "ionization_parameter", "dust_av",
    "dust_slope",
)  # fmt: skip
#: What each derived quantity depends on; features of the spectrum depend on its shape.
_CAUSES = {
    "balmer_decrement": ("dust_av", "dust_slope"),
    "mass_weighted_age": ("age", "tau"),
    "light_weighted_age": ("age", "tau", "metallicity"),
    "halpha_luminosity": (
        "stellar_mass", "age", "tau", "metallicity", "gas_metallicity", "ionization_parameter",
    ),
    "dust_luminosity": ("stellar_mass", *_SHAPE),
}  # fmt: skip
_NEEDED = ("stellar_mass", "redshift", *_SHAPE)


def galaxy_outcome(
    scm: StructuralCausalModel, physics: StellarPopulationModel, name: str
) -> Outcome:
    """A variable or its alias, a feature such as ``dn4000``, or ``flux:4000-4500``.

    Raises:
        UnknownVariable: Neither a variable nor a feature.
    """
    known = scm.aliases.get(name, name)
    if known in scm.variables:
        return known
    features = SpectralFeatures(physics)
    try:
        unit = features.unit(name)
    except ConfigurationError as error:
        if ":" in name:
            raise
        raise UnknownVariable(
            name, expected=f"a variable ({', '.join(scm.variables)}) or a feature "
            f"({', '.join(features.names)})",
            found=repr(name), remedy="Or windows: flux:4000-4500, colour:3500-4000/5500-6000.",
        ) from error  # fmt: skip
    causes = _CAUSES.get(name, _SHAPE)
    if name.startswith("flux:"):
        causes = ("stellar_mass", "redshift", *_SHAPE)

    def compute(state: Mapping[str, Tensor]) -> Tensor:
        return features.compute(name, {key: state[key] for key in _NEEDED})

    description = features.names.get(name, name)
    return ReadOut(name, causes, compute, unit, description)


def outcome_label(scm: StructuralCausalModel, outcome: Outcome) -> str:
    """Name and unit as people read them."""
    name = outcome if isinstance(outcome, str) else outcome.name
    unit = scm.variables[outcome].unit if isinstance(outcome, str) else outcome.unit
    return f"{name} [{unit}]" if unit else name


def outcome_names(physics: StellarPopulationModel) -> dict[str, str]:
    """Features that can be asked for, with their descriptions."""
    return SpectralFeatures(physics).names
