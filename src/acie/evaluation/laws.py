"""The laws of a counterfactual as numbers: how far each is from holding exactly.

References:
    Galles & Pearl 1998, Foundations of Science 3, 151 (composition, effectiveness,
    reversibility); Pearl 2009, Causality, section 7.3.
"""

__all__ = ["LAWS", "check_abduction", "check_composition", "check_laws"]

from collections.abc import Mapping

import torch
from torch import Tensor

from acie.engine import CounterfactualEngine
from acie.evaluation.questions import undo
from acie.results import Abduction, CounterfactualResult
from acie.scm import Do, Intervention, Scale, Shift
from acie.simulation import SimulatedSet
from acie.variables import Variable

#: Name, statement, largest deviation allowed and why.
LAWS = {
    "abduction": (
        "the abducted noise gives back every variable, on its natural scale", 1e-6,
        "inverse mechanisms, double precision",
    ),
    "composition": ("no action returns the observation and the state", 0.0, "exact"),
    "effectiveness": ("every draw has the value asked for", 1e-9, "rounding, double precision"),
    "minimality": ("variables that no action can reach do not move", 0.0, "exact"),
    "reversibility": (
        "doing and undoing returns every variable, on its natural scale", 1e-6,
        "rounding, double precision",
    ),
    "reversibility_spectrum": (
        "doing and undoing returns the spectrum, relative to its largest flux", 1e-4,
        "single precision",
    ),
}  # fmt: skip
#: Draws whose spectra are computed again.
_SPECTRA = 4


def check_abduction(engine: CounterfactualEngine, abduction: Abduction) -> Tensor:
    """Largest difference between the draws and what their noise makes of them, ``(batch,)``."""
    factual = abduction.posterior.values
    again, _ = engine.scm.sample(
        factual["redshift"].shape, {"redshift": factual["redshift"]}, noise=abduction.noise
    )
    return _largest(
        _natural(variable, again[name]) - _natural(variable, factual[name])
        for name, variable in engine.scm.variables.items()
    )


def check_composition(
    engine: CounterfactualEngine, truth: SimulatedSet, abduction: Abduction
) -> Tensor:
    """Largest change of any pixel or variable by an empty action, ``(batch,)``."""
    result = engine.predict(truth.observation, abduction, {})
    worlds = (result.worlds[1] - result.worlds[0]).abs().amax((0, 2)).double()
    for name, value in result.values.items():
        moved = (value - abduction.posterior.values[name]).abs().amax(0)
        worlds = torch.maximum(worlds, moved)
    return worlds


def check_laws(
    engine: CounterfactualEngine, result: CounterfactualResult, actions: Mapping[str, Intervention]
) -> dict[str, Tensor]:
    """Largest deviations from the laws of one answer, each ``(batch,)``."""
    factual = result.abduction.posterior.values
    variables = engine.scm.variables
    back = engine.scm.predict(
        result.abduction.noise, result.values, undo(actions, factual), strict=False
    )
    reached = engine.scm.graph.descendants(list(actions))
    others = [name for name in variables if name not in reached and name not in actions]
    return {
        "effectiveness": _largest(
            _natural(variables[name], result.values[name])
            - _natural(variables[name], _asked(action, factual[name]))
            for name, action in actions.items()
            if _asked(action, factual[name]) is not None
        ),
        "minimality": _largest(result.values[name] - factual[name] for name in others),
        "reversibility": _largest(
            _natural(variables[name], back[name]) - _natural(variables[name], factual[name])
            for name in variables
        ),
        "reversibility_spectrum": _returned_spectrum(engine, result, back),
    }


def _returned_spectrum(
    engine: CounterfactualEngine, result: CounterfactualResult, back: Mapping[str, Tensor]
) -> Tensor:
    observation, spectra = result.observation, result.abduction.posterior.spectra[:_SPECTRA]
    excess = engine.physics.lsf_excess(observation.redshift, observation.lsf)
    with torch.no_grad():
        again = engine.physics({name: v[:_SPECTRA] for name, v in back.items()}, excess)
    return ((again - spectra).abs().amax(-1) / spectra.abs().amax(-1)).amax(0)


def _natural(variable: Variable, value: Tensor) -> Tensor:
    return variable.forward(value.clamp(min=1e-300) if variable.transform == "log10" else value)


def _asked(action: Intervention, factual: Tensor) -> Tensor | None:
    """The value that was asked for, computed here and not by the action itself."""
    match action:
        case Do(value):
            return torch.as_tensor(value, dtype=factual.dtype).expand_as(factual)
        case Scale(factor):
            return factual * torch.as_tensor(factor, dtype=factual.dtype)
        case Shift(amount, dex):
            amount = torch.as_tensor(amount, dtype=factual.dtype)
            return 10.0 ** (torch.log10(factual) + amount) if dex else factual + amount
    return None


def _largest(differences: object) -> Tensor:
    """Largest absolute value over variables and draws, ``(batch,)``."""
    parts = [difference.abs().amax(0) for difference in differences]
    return torch.stack(parts).amax(0) if parts else torch.zeros(())
