"""The same figures in bins of what an observer knows: S/N, redshift, inferred mass.

Bins are of measured quantities and never of the truth: given the data a right posterior is
calibrated, given the truth it is not, because it is drawn towards the population.
"""

__all__ = ["AXES", "binned"]

from typing import Any

import torch
from torch import Tensor

from acie.evaluation.calibration import Measured, bootstrap_error
from acie.evaluation.causal import mean_and_error, state_inside
from acie.inference import uniformity_p_value

_INFINITE = float("inf")
#: Name, title and edges of each axis.
AXES = {
    "snr": ("median S/N per pixel", (0.0, 5.0, 10.0, 20.0, 40.0, _INFINITE)),
    "redshift": ("redshift", (0.0, 0.1, 0.2, 0.3, 0.45, _INFINITE)),
    "mass": ("inferred log₁₀ M⋆ / M☉", (0.0, 10.0, 10.75, 11.0, 11.25, _INFINITE)),
}
#: Bins with fewer galaxies say nothing and are left out.
FEWEST = 5


def binned(measured: Measured, generator: torch.Generator) -> dict[str, dict[str, Any]]:
    """Recovery, calibration, fit, efficiency and answers by S/N, redshift and inferred mass."""
    found, names = measured.found, measured.population.names
    mass = found["draws"][..., names.index("stellar_mass")].median(0).values
    axes = {"snr": found["snr"], "redshift": found["redshift"], "mass": mass}
    uniform = measured.uniform_sbc(generator)
    table = {}
    for axis, values in axes.items():
        title, edges = AXES[axis]
        rows = []
        for low, high in zip(edges[:-1], edges[1:], strict=True):
            chosen = (values >= low) & (values < high)
            if int(chosen.sum()) >= FEWEST:
                row = _row(measured, chosen, uniform, generator)
                rows.append({"bin": _label(low, high), "middle": float(values[chosen].median()),
                             **row})  # fmt: skip
        table[axis] = {"title": title, "rows": rows}
    return table


def _label(low: float, high: float) -> str:
    if high == _INFINITE:
        return f"≥ {low:g}"
    return f"< {high:g}" if low == 0.0 else f"{low:g}–{high:g}"


def _row(
    measured: Measured, chosen: Tensor, uniform: Tensor, generator: torch.Generator
) -> dict[str, Any]:
    found, population = measured.found, measured.population
    columns = [population.names.index(name) for name in population.continuous]
    draws = found["draws"][:, chosen][..., columns]
    difference = draws.median(0).values - found["truth"][chosen][:, columns]
    inside = ((2.0 * measured.ranks[chosen][:, columns] - 1.0).abs() <= 0.68).double()
    coverage, coverage_error, count = mean_and_error(inside.mean(-1))
    answers = {
        "state": state_inside(measured)[:, chosen],
        "spectrum": found["answer/spectrum_inside"][:, chosen],
        "effect": found["answer/effect_inside"][:, chosen],
    }
    p = (uniformity_p_value(uniform[chosen]) * len(population.names)).clamp(max=1.0)
    confidence = found["confidence"][chosen]
    low = (found["ppc/p_chi2"][chosen] <= 0.1 + 1e-9).double()
    row: dict[str, Any] = {
        "count": count,
        "scatter": dict(zip(population.continuous, _half_widths(difference), strict=True)),
        "bias": dict(
            zip(population.continuous, difference.median(0).values.tolist(), strict=True)
        ),
        "coverage_68": coverage,
        "coverage_68_error": coverage_error,
        "coverage_by_variable": dict(
            zip(population.continuous, inside.mean(0).tolist(), strict=True)
        ),
        "sbc_smallest_p_bonferroni": float(p.min()),
        "tarp_p": float(uniformity_p_value(measured.tarp[chosen][:, None])[0]),
        "efficiency": float(confidence.median()),
        "efficiency_error": bootstrap_error(
            confidence, lambda sets: sets.median(-1).values, generator
        ),
        "residual_spread": float(found["ppc/spread"][chosen].median()),
        "predictive_share_below_0.1": float(low.mean()),
        "answer_relative_error": float(
            (found["answer/effect_error"] / found["answer/effect"])[:, chosen].nanmedian()
        ),
    }
    for name, values in answers.items():
        # Questions to one galaxy share its draws: the galaxy is the unit of the error.
        mean, error, _ = mean_and_error(values.nanmean(0))
        row[f"answer_coverage_{name}"], row[f"answer_coverage_{name}_error"] = mean, error
    return row


def _half_widths(difference: Tensor) -> list[float]:
    ends = torch.quantile(difference, torch.tensor([0.16, 0.84]).to(difference), dim=0)
    return ((ends[1] - ends[0]) / 2.0).tolist()
