"""Recovery, ranks, coverage and TARP of a set of measured galaxies, as plain tables."""

__all__ = [
    "Measured", "bootstrap_error", "coverage", "expected_maximum", "recovery", "sbc", "tarp",
]  # fmt: skip

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from acie.evaluation.population import Population, random_rows
from acie.evaluation.ranks import UniformBand, fractional_ranks, tarp_ranks
from acie.evaluation.sbi_bridge import sbc_ranks, tarp_curve, tarp_references
from acie.inference import expected_coverage, uniformity_p_value
from acie.quantiles import effective_draws, quantiles

_LEVELS = torch.tensor([0.16, 0.5, 0.84], dtype=torch.float64)
#: Nominal levels at which coverage is measured.
LEVELS = torch.arange(1, 100, dtype=torch.float64) / 100.0
#: Resamplings behind an error, simulated sets behind an expected maximum.
_BOOTSTRAP, _SETS = 200, 400


@dataclass(frozen=True)
class Measured:
    """Galaxies with their truth, draws and ranks.

    Arguments:
        population: The prior and its scale.
        found: From :func:`acie.evaluation.measure`.
        effective: What the draws of each galaxy are worth, ``(batch,)``.
        ranks: Of the truth among all draws, ``(batch, variable)``, in (0, 1); they allow for what
            the draws are worth, as the intervals of an answer do.
        thinned: Draws chosen at random, ``(ranked, batch, variable)``; a binary variable has a
            uniform number added that breaks its ties.
        thinned_truth: The truth with the same kind of number added, ``(batch, variable)``.
        sbc: Of the truth among the thinned draws, ``(batch, variable)``, whole numbers.
        tarp: Ranks of :func:`tarp_ranks` among the thinned draws, ``(batch,)``.
        references: Reference points of TARP in units of the population, ``(batch, dim)``.
    """

    population: Population
    found: dict[str, Tensor]
    effective: Tensor
    ranks: Tensor
    thinned: Tensor
    thinned_truth: Tensor
    sbc: Tensor
    tarp: Tensor
    references: Tensor

    @classmethod
    def of(
        cls,
        population: Population,
        found: dict[str, Tensor],
        ranked: int,
        generator: torch.Generator,
    ) -> "Measured":
        """Rank the truth of every galaxy."""
        draws, truth = found["draws"], found["truth"]
        samples, batch = draws.shape[:2]
        rows = random_rows(samples, batch, ranked, generator)
        binary = torch.tensor([v.kind == "binary" for v in population.variables.values()])

        def untied(values: Tensor) -> Tensor:
            noise = torch.rand(values.shape, generator=generator, dtype=values.dtype)
            return values + 0.5 * noise * binary

        thinned, thinned_truth = untied(draws[rows, torch.arange(batch)]), untied(truth)
        names = population.continuous
        references = tarp_references(
            population.standard(population.theta, names), batch, generator
        )
        points = [population.standard(value, names) for value in (thinned, thinned_truth)]
        effective = effective_draws(draws).amax(-1)
        ranks = fractional_ranks(draws, truth, generator, effective[:, None])
        return cls(
            population, found, effective, ranks, thinned, thinned_truth,
            sbc_ranks(thinned_truth, thinned),
            tarp_ranks(points[0], points[1], references, generator), references,
        )  # fmt: skip

    @property
    def count(self) -> int:
        """Number of galaxies."""
        return len(self.ranks)

    def bands(self) -> Tensor:
        """Lower end, median and upper end of all 68 % intervals, ``(3, batch, variable)``."""
        return quantiles(self.found["draws"], _LEVELS.tolist(), self.effective[:, None])

    def uniform_sbc(self, generator: torch.Generator) -> Tensor:
        """SBC ranks spread over their cells, ``(batch, variable)``, uniform if calibrated."""
        spread = torch.rand(self.sbc.shape, generator=generator, dtype=torch.float64)
        return (self.sbc.double() + spread) / (len(self.thinned) + 1)


def bootstrap_error(
    values: Tensor, statistic: Callable[[Tensor], Tensor], generator: torch.Generator
) -> float:
    """Standard error of a statistic of ``(batch,)`` values, which takes ``(set, batch)``."""
    index = torch.randint(len(values), (_BOOTSTRAP, len(values)), generator=generator)
    return float(statistic(values[index]).std())


def _half_width(values: Tensor) -> Tensor:
    ends = torch.quantile(values.double(), _LEVELS[[0, 2]], dim=-1)
    return (ends[1] - ends[0]) / 2.0


def recovery(measured: Measured, generator: torch.Generator) -> dict[str, dict[str, Any]]:
    """Scatter, bias and 68 % coverage of every continuous variable, with standard errors.

    Scatter is half of the 16-84 % range of median minus truth, on the natural scale; ``gain`` is
    the spread of the population over the scatter.
    """
    population, truth = measured.population, measured.found["truth"]
    bands = measured.bands()
    table = {}
    for name in population.continuous:
        column = population.names.index(name)
        low, middle, high = bands[..., column]
        true = truth[:, column]
        difference = middle - true
        inside = ((true >= low) & (true <= high)).double()
        scatter = float(_half_width(difference))
        table[name] = {
            "unit": natural_unit(population, name),
            "scatter": scatter,
            "scatter_error": bootstrap_error(difference, _half_width, generator),
            "bias": float(difference.median()),
            "bias_error": bootstrap_error(
                difference, lambda sets: sets.median(-1).values, generator
            ),
            "coverage_68": float(inside.mean()),
            "coverage_error": (0.68 * 0.32 / len(true)) ** 0.5,
            "gain": float(population.spread[column]) / max(scatter, 1e-12),
        }
    return table


def natural_unit(population: Population, name: str) -> str:
    """Unit of a variable on its natural scale."""
    variable = population.variables[name]
    return "dex" if variable.transform == "log10" else variable.unit


def sbc(measured: Measured, generator: torch.Generator) -> dict[str, Any]:
    """Rank counts and p values of every variable, as such and after Bonferroni."""
    names, cells = measured.population.names, len(measured.thinned) + 1
    p = uniformity_p_value(measured.uniform_sbc(generator))
    corrected = (p * len(names)).clamp(max=1.0)
    return {
        "ranked": len(measured.thinned),
        "p": dict(zip(names, p.tolist(), strict=True)),
        "p_bonferroni": dict(zip(names, corrected.tolist(), strict=True)),
        "counts": {
            name: torch.bincount(measured.sbc[:, column].long(), minlength=cells).tolist()
            for column, name in enumerate(names)
        },
    }


def coverage(measured: Measured, generator: torch.Generator) -> dict[str, Any]:
    """Coverage of central intervals at every level, and how far from nominal chance allows.

    Of a perfect model the largest deviation over variables and levels is ``expected`` in half of
    all evaluations and below ``limit`` in 99 %, the variables taken as independent.
    """
    names = measured.population.names
    curves = expected_coverage(measured.ranks, LEVELS)
    deviation = curves - LEVELS[:, None]
    worst = deviation.abs().amax(0)
    expected, limit = expected_maximum(measured.count, len(names), generator)
    return {
        "levels": LEVELS.tolist(),
        "curves": {n: curves[:, i].tolist() for i, n in enumerate(names)},
        "largest_deviation": {n: float(worst[i]) for i, n in enumerate(names)},
        "at_level": {n: float(LEVELS[deviation[:, i].abs().argmax()])
                     for i, n in enumerate(names)},
        "expected": expected,
        "limit": limit,
    }  # fmt: skip


def expected_maximum(
    count: int, variables: int, generator: torch.Generator
) -> tuple[float, float]:
    """Median and 99 % quantile of the largest deviation of coverage under perfect calibration."""
    largest = []
    for _ in range(_SETS):
        ranks = torch.rand(count, variables, generator=generator, dtype=torch.float64)
        largest.append((expected_coverage(ranks, LEVELS) - LEVELS[:, None]).abs().max())
    values = torch.stack(largest)
    return float(values.median()), float(values.quantile(0.99))


def tarp(measured: Measured, generator: torch.Generator) -> dict[str, Any]:
    """Coverage of random regions in all continuous variables at once, with its 99 % band.

    ``sbi`` is the curve of ``sbi.diagnostics.run_tarp`` on all draws, an implementation of its
    own, whose ranks are not spread over their cells.
    """
    population, names = measured.population, measured.population.continuous
    band = UniformBand.of(measured.count, generator)
    curve, levels = tarp_curve(
        population.standard(measured.found["truth"], names),
        population.standard(measured.found["draws"], names),
        measured.references,
    )
    own = band.curve(measured.tarp)
    return {
        "levels": band.grid.tolist(),
        "coverage": own.tolist(),
        "low": band.low.tolist(),
        "high": band.high.tolist(),
        "inside": band.holds(measured.tarp),
        "largest_deviation": float((own - band.grid).abs().max()),
        "half_width": float(((band.high - band.low) / 2.0).max()),
        "p": float(uniformity_p_value(measured.tarp[:, None])[0]),
        "sbi": {"levels": levels.tolist(), "coverage": curve.tolist()},
    }
