"""Counterfactual answers, laws, predictive checks and efficiency as plain tables."""

__all__ = ["counterfactuals", "efficiency", "laws", "mean_and_error", "predictive"]

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from acie.evaluation.calibration import Measured, bootstrap_error, natural_unit
from acie.evaluation.counterfactuals import LEVEL
from acie.evaluation.laws import LAWS
from acie.evaluation.questions import Question


def mean_and_error(values: Tensor) -> tuple[float, float, int]:
    """Mean over the galaxies that have a value, its standard error, and their number."""
    good = values[values.isfinite()]
    error = float(good.std()) / len(good) ** 0.5 if len(good) > 1 else float("nan")
    return (float(good.mean()) if len(good) else float("nan")), error, len(good)


def state_inside(measured: Measured) -> Tensor:
    """Share of the moved variables whose true value is in the 68 % interval.

    The target itself counts: where it was shifted, its counterfactual is as uncertain as it was.

    Returns:
        ``(question, batch)``, NaN where nothing was asked.
    """
    ranks = measured.found["answer/ranks"]
    moved = ranks.isfinite()
    hit = ((2.0 * ranks - 1.0).abs() <= LEVEL) & moved
    return hit.sum(-1) / moved.sum(-1).double()


def counterfactuals(measured: Measured, questions: Sequence[Question]) -> list[dict[str, Any]]:
    """One row per question: errors of the answers and coverage of their 68 % intervals."""
    found, state, rows = measured.found, state_inside(measured), []
    for index, question in enumerate(questions):
        row: dict[str, Any] = {
            "label": question.label,
            "target": question.target,
            "size": question.size,
            "unit": natural_unit(measured.population, question.target)
            if question.variable else "",
        }  # fmt: skip
        for name in ("effect", "effect_error", "error"):
            values = found[f"answer/{name}"][index]
            row[name] = float(values.nanmedian())
        named = {
            "state": state[index],
            "spectrum": found["answer/spectrum_inside"][index],
            "effect": found["answer/effect_inside"][index],
        }
        for name, values in named.items():
            row[f"coverage_{name}"], row[f"coverage_{name}_error"], row["count"] = mean_and_error(
                values
            )
        rows.append(row)
    return rows


def laws(measured: Measured) -> dict[str, dict[str, Any]]:
    """Largest deviation from each law over all galaxies, draws, variables and questions."""
    table = {}
    for name, (statement, allowed, reason) in LAWS.items():
        values = measured.found.get(name, measured.found.get(f"answer/{name}"))
        deviation = float(values[values.isfinite()].max()) if values.isfinite().any() else 0.0
        table[name] = {
            "statement": statement, "deviation": deviation, "allowed": allowed,
            "reason": reason, "holds": deviation <= allowed,
            "checks": int(values.isfinite().sum()),
        }  # fmt: skip
    return table


def predictive(measured: Measured, replicates: int) -> dict[str, Any]:
    """Distribution of residual spreads and of posterior predictive p values.

    A spectrum drawn from its own model has p at or below 0.1 in 10 % of cases, and somewhat fewer,
    because the parameters were fitted to it.
    """
    found, table = measured.found, {"replicates": replicates}
    levels = torch.tensor([0.025, 0.16, 0.5, 0.84, 0.975], dtype=torch.float64)
    for name in ("chi2", "spread"):
        table[name] = torch.quantile(found[f"ppc/{name}"], levels).tolist()
    for name in ("p_chi2", "p_correlation"):
        p = found[f"ppc/{name}"]
        low = float((p <= 0.1 + 1e-9).double().mean())
        table[name] = {
            "values": p.tolist(), "share_below_0.1": low, "error": (0.09 / len(p)) ** 0.5,
            "smallest": float(p.min()),
        }  # fmt: skip
    return table


def efficiency(measured: Measured, generator: torch.Generator) -> dict[str, Any]:
    """Importance-sampling efficiency and effective number of the draws handed out."""
    values = measured.found["confidence"]
    levels = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95], dtype=torch.float64)
    effective = measured.found["effective"]
    return {
        "median": float(values.median()),
        "median_error": bootstrap_error(values, lambda s: s.median(-1).values, generator),
        "percentiles": dict(
            zip(("5", "25", "50", "75", "95"), values.quantile(levels).tolist(), strict=True)
        ),
        "below_0.01": float((values < 0.01).double().mean()),
        "effective_draws_median": float(effective.median()),
        "effective_draws_p05": float(effective.quantile(0.05)),
        "fit_median": float(measured.found["fit"].median()),
    }
