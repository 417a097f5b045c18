"""Constraints that tie the state of a galaxy together: how far it is from them, and the way back.

Equalities hold for one value only: dust energy balance, mass formed, mass budget and the
star-formation history. Inequalities leave room: positivity, age, specific star-formation rate and
the virial relation, which is a band because galaxies scatter around it.
"""

__all__ = ["EQUALITIES", "PhysicsConstraints", "Violation"]

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from acie.device import pick_device
from acie.errors import PhysicsError
from acie.physics.sfh import (
    MAX_AGE_OVER_TAU,
    DelayedTauSolver,
    delayed_tau_specific_sfr,
)
from acie.physics.spectrum import StellarPopulationModel
from acie.physics.templates import TemplateSet
from acie.physics.virial import virial_log_dispersion
from acie.units import YEARS_PER_GYR

#: Constraints that hold for one value, with residuals of either sign; the others leave room.
EQUALITIES = ("dust_energy_balance", "mass_formed", "mass_budget", "star_formation_history")

State = Mapping[str, Tensor]
#: Smallest allowed value, and the unit in which falling short of it is counted.
_FLOORS = {
    "stellar_mass": (1.0, 1e10), "sfr": (1e-12, 1.0), "age": (1e-3, 1.0), "tau": (1e-6, 1.0),
    "metallicity": (1e-6, 0.02), "dust_av": (0.0, 1.0), "velocity_dispersion": (1e-6, 100.0),
    "size": (1e-6, 1.0), "redshift": (0.0, 1.0),
}  # fmt: skip
_FOR_DUST = ("gas_metallicity", "ionization_parameter", "dust_slope")
_OPTIONAL = {"dust_luminosity": 0.0, "mass_formed": 1e-6, "mass_returned": 1e-6}
#: Smallest age / tau that :class:`DelayedTauSolver` considers.
_MIN_AGE_OVER_TAU = math.exp(-9.0)
#: The tables end at 20 Gyr: older states count as this old for everything but the age itself.
_OLDEST_GYR = 19.0
#: Keeps the logarithm finite without dust; Lsun per Msun, far below any galaxy.
_NO_DUST = 1e-9
#: Rounding that does not count as breaking an inequality, dex.
_ROUNDING = 1e-5
#: States computed at a time: their arrays then stay in the cache of the processor.
_CHUNK = 2048


@dataclass(frozen=True)
class Violation:
    """One constraint that some states break.

    Arguments:
        name: Constraint.
        kind: ``"equality"`` or ``"inequality"``.
        count: Number of states that break it.
        worst: Residual of the largest magnitude among them.
        broken: Which states break it, shape ``(*batch,)``.
        amount: Residual of every state, shape ``(*batch,)``.
    """

    name: str
    kind: str
    count: int
    worst: float
    broken: Tensor
    amount: Tensor


class PhysicsConstraints:
    """Residuals, a penalty, and a projection onto the allowed states.

    A state maps names to tensors that broadcast to ``(*batch,)``, with the units of
    :class:`StellarPopulationModel`, plus ``sfr`` [Msun/yr], ``size`` [kpc] and, to have them
    checked, ``dust_luminosity`` [Lsun], ``mass_formed`` and ``mass_returned`` [Msun]. Computation
    takes the type of the state; single precision is enough and fastest.

    Arguments:
        physics: Forward model, or templates to build one from.
        device: Where to compute; see :func:`acie.device.pick_device`.
        tolerance_dex: Residual at which one constraint adds 1 to the penalty, and above which an
            equality counts as broken.
        virial_band_dex: Allowed distance from the virial relation; 0.6 is six times the scatter.
    """

    def __init__(
        self,
        physics: StellarPopulationModel | TemplateSet,
        device: str | torch.device = "auto",
        *,
        tolerance_dex: float = 0.01,
        virial_band_dex: float = 0.6,
    ) -> None:
        self.device = pick_device(device)
        if isinstance(physics, TemplateSet):
            physics = StellarPopulationModel(physics)
        if physics.age_edges_gyr.device != self.device:
            physics = copy.deepcopy(physics)
            # Apple's devices have no double precision.
            physics = physics.float() if self.device.type == "mps" else physics
            physics = physics.to(self.device)
        self.physics = physics
        self._tau = DelayedTauSolver(physics.surviving_fraction, physics.history)
        self.tolerance_dex = tolerance_dex
        self.virial_band_dex = virial_band_dex

    def residuals(self, state: State) -> dict[str, Tensor]:
        """One residual per constraint, zero when satisfied, each of shape ``(*batch,)``.

        Residuals are in dex, positivity in units of each variable. The dust energy balance, the
        mass formed and the mass budget appear only when the state has their quantities.
        """
        return self._chunked(self._residuals, state)

    def penalty(self, state: State, residuals: State | None = None) -> Tensor:
        """Sum of squared residuals over ``tolerance_dex``, shape ``(*batch,)``.

        It is zero on the allowed states, and continuous with its gradient where an inequality
        sets in. Residuals already computed for the state need not be computed again.
        """
        residuals = self.residuals(state) if residuals is None else residuals
        return sum(value.square() for value in residuals.values()) / self.tolerance_dex**2

    def project(self, state: State) -> dict[str, Tensor]:
        """The state moved onto the allowed ones; projecting twice changes nothing more.

        In this order: values are raised to their floors, the age lowered to the cosmic age, the
        star-formation rate moved into what the history can give, ``tau`` solved for, the velocity
        dispersion moved into the virial band, and derived quantities replaced.
        """
        return {**state, **self._chunked(self._project, state)}

    def report(self, state: State) -> list[Violation]:
        """The constraints that some states break, the most often broken first."""
        found = []
        with torch.no_grad():
            residuals = self.residuals(state)
        for name, residual in residuals.items():
            kind = "equality" if name in EQUALITIES else "inequality"
            allowed = self.tolerance_dex if kind == "equality" else _ROUNDING
            # Negated, so that a residual that is not a number counts as broken.
            broken = ~(residual.abs() <= (0.0 if name == "positivity" else allowed))
            count = int(broken.sum())
            if count:
                worst = residual[broken][residual[broken].abs().argmax()].item()
                found.append(Violation(name, kind, count, worst, broken, residual))
        return sorted(found, key=lambda violation: -violation.count)

    # -- one chunk ----------------------------------------------------------------------------

    def _residuals(self, state: State) -> dict[str, Tensor]:
        short = sum(
            (floor - state[name]).clamp(min=0.0) / unit for name, (floor, unit) in _FLOORS.items()
        )
        v = _raised(state)
        age = torch.log10(v["age"] / self._cosmic_age(v)).clamp(min=0.0)
        v["age"] = v["age"].clamp(max=_OLDEST_GYR)
        surviving = self.physics.surviving_fraction(v["age"], v["tau"])
        # SFR x age / mass formed, which the history bounds and determines.
        specific = torch.log10(v["sfr"] * v["age"] * YEARS_PER_GYR / v["stellar_mass"] * surviving)
        history = _log_specific_sfr(v["age"] / v["tau"])
        centre = virial_log_dispersion(v["stellar_mass"], v["size"])
        virial = torch.log10(v["velocity_dispersion"]) - centre
        result = {
            "positivity": short,
            "age": age,
            "specific_sfr": (specific - math.log10(2.0)).clamp(min=0.0),
            "virial": torch.nn.functional.softshrink(virial, self.virial_band_dex),
            "star_formation_history": specific - history,
        }
        formed = v["stellar_mass"] / surviving
        if "mass_formed" in v:
            result["mass_formed"] = torch.log10(v["mass_formed"] / formed)
            formed = v["mass_formed"]
        if "mass_returned" in v:
            result["mass_budget"] = torch.log10((v["stellar_mass"] + v["mass_returned"]) / formed)
        if "dust_luminosity" in v:
            floor = _NO_DUST * v["stellar_mass"]
            absorbed = self.physics.read_outs(v).dust_luminosity
            ratio = (v["dust_luminosity"] + floor) / (absorbed + floor)
            result["dust_energy_balance"] = torch.log10(ratio)
        return result

    def _project(self, state: State) -> dict[str, Tensor]:
        v = _raised(state)
        surviving = self.physics.surviving_fraction
        v["age"] = torch.minimum(v["age"], self._cosmic_age(v))
        low, high = (
            delayed_tau_specific_sfr(torch.full_like(v["age"], x))
            / surviving(v["age"], v["age"] / x)
            for x in (MAX_AGE_OVER_TAU, _MIN_AGE_OVER_TAU)
        )
        rate = v["stellar_mass"] / (v["age"] * YEARS_PER_GYR)
        v["sfr"] = torch.minimum(torch.maximum(v["sfr"], low * rate), high * rate)
        # In single precision the solver's Newton step fails where the rate is close to the bound.
        wide = v["age"].dtype if self.device.type == "mps" else torch.float64
        age, specific = v["age"].to(wide), v["sfr"].to(wide) / rate.to(wide)
        v["tau"] = self._tau(age, specific).to(rate.dtype)
        centre, band = virial_log_dispersion(v["stellar_mass"], v["size"]), self.virial_band_dex
        sigma = torch.maximum(v["velocity_dispersion"], 10.0 ** (centre - band))
        v["velocity_dispersion"] = torch.minimum(sigma, 10.0 ** (centre + band))
        formed = v["stellar_mass"] / surviving(v["age"], v["tau"])
        if "mass_formed" in v:
            v["mass_formed"] = formed
        if "mass_returned" in v:
            v["mass_returned"] = formed - v["stellar_mass"]
        if "dust_luminosity" in v:
            v["dust_luminosity"] = self.physics.read_outs(v).dust_luminosity
        return v

    def _cosmic_age(self, state: State) -> Tensor:
        return self.physics.cosmology.age_gyr(state["redshift"])

    def _chunked(self, function: Callable, state: State) -> dict[str, Tensor]:
        names = [*_FLOORS, *(_FOR_DUST if "dust_luminosity" in state else ())]
        missing = [name for name in names if name not in state]
        if missing:
            raise PhysicsError(
                "state", expected=f"the variables {', '.join(names)}", found="no " + missing[0]
            )
        names += [name for name in _OPTIONAL if name in state]
        values = torch.broadcast_tensors(*(state[name].to(self.device) for name in names))
        batch = values[0].shape
        rows = zip(*(value.reshape(-1).split(_CHUNK) for value in values), strict=True)
        parts = [function(dict(zip(names, row, strict=True))) for row in rows]
        return {name: torch.cat([p[name] for p in parts]).reshape(batch) for name in parts[0]}


def _log_specific_sfr(age_over_tau: Tensor) -> Tensor:
    """log10 of :func:`delayed_tau_specific_sfr`, also where that underflows."""
    x = age_over_tau.clamp(min=1e-6)
    inside = delayed_tau_specific_sfr(x.clamp(max=MAX_AGE_OVER_TAU)).log()
    log_h = torch.where(x < MAX_AGE_OVER_TAU, inside, 2.0 * x.log() - x)
    return log_h / math.log(10.0)


def _raised(state: State) -> dict[str, Tensor]:
    """The state with every value raised to its floor."""
    floors = {name: floor for name, (floor, _) in _FLOORS.items()} | _OPTIONAL
    return {n: v.clamp(min=floors[n]) if n in floors else v for n, v in state.items()}
