"""Figures of recovery and calibration."""

__all__ = ["draw_coverage", "draw_recovery", "draw_sbc", "draw_tarp", "grid_of"]

from typing import Any

import numpy as np

from acie.evaluation.calibration import Measured
from acie.evaluation.ranks import UniformBand
from acie.evaluation.style import Palette, legend, new_figure, tidy

#: Galaxies drawn in one panel; more would only fill it.
_SHOWN = 400


def label_of(measured: Measured, name: str) -> str:
    """Symbol and natural unit of a variable, for axes."""
    variable = measured.population.variables[name]
    if variable.transform == "log10":
        unit = f" / {_math(variable.unit)}" if variable.unit else ""
        return rf"$\log_{{10}}\,{variable.symbol}$" + unit
    return f"${variable.symbol}$" + (f" [{variable.unit}]" if variable.unit else "")


def _math(unit: str) -> str:
    return unit.replace("Msun", r"M$_\odot$").replace("mass fraction", "by mass")


def grid_of(count: int, columns: int = 4, height: float = 2.1) -> tuple[Any, list[Any]]:
    """A figure of small panels, the spare ones left out."""
    rows = -(-count // columns)
    figure = new_figure(10.0, height * rows)
    panels = list(figure.subplots(rows, columns, squeeze=False).flatten())
    for spare in panels[count:]:
        spare.set_axis_off()
    return figure, panels[:count]


def draw_recovery(measured: Measured, palette: Palette) -> Any:
    """Posterior medians and 68 % intervals against the truth, one panel per variable."""
    population = measured.population
    figure, panels = grid_of(len(population.continuous), height=2.4)
    bands = measured.bands()[:, :_SHOWN].numpy()
    for panel, name in zip(panels, population.continuous, strict=True):
        column = population.names.index(name)
        true = measured.found["truth"][:_SHOWN, column].numpy()
        low, middle, high = bands[..., column]
        gap = np.full_like(true, np.nan)
        # All intervals in one line with gaps: small files.
        panel.plot(
            np.stack([true, true, gap], 1).ravel(), np.stack([low, high, gap], 1).ravel(),
            color=palette.one, lw=0.5, alpha=0.45,
        )  # fmt: skip
        panel.plot(true, middle, "o", ms=1.8, mew=0, color=palette.one, alpha=0.8)
        ends = [true.min(), true.max()]
        panel.plot(ends, ends, color=palette.two, lw=1.2)
        tidy(panel, palette, "true", "inferred", label_of(measured, name))
    return figure


def draw_sbc(measured: Measured, counts: dict[str, list[int]], palette: Palette) -> Any:
    """Rank histograms with the range that 99 % of the bars of a perfect model keep to."""
    from scipy.stats import binom

    figure, panels = grid_of(len(counts), height=1.9)
    for panel, (name, bars) in zip(panels, counts.items(), strict=True):
        share = 1.0 / len(bars)
        low, high = binom.interval(0.99, measured.count, share)
        panel.axhspan(low, high, color=palette.band, alpha=0.6, lw=0)
        panel.axhline(measured.count * share, color=palette.muted, lw=0.8)
        panel.bar(range(len(bars)), bars, width=0.9, color=palette.one, alpha=0.85)
        tidy(panel, palette, "rank of the truth", "galaxies", name)
        panel.set_ylim(0, max([*bars, high]) * 1.15)
        panel.grid(False, axis="x")
    return figure


def draw_coverage(
    measured: Measured, table: dict[str, Any], band: UniformBand, palette: Palette
) -> Any:
    """Coverage minus nominal level, all variables; the worst one is named."""
    figure = new_figure(10.0, 3.6)
    panel = figure.subplots()
    levels = 100.0 * np.asarray(table["levels"])
    grid = 100.0 * band.grid.numpy()
    panel.fill_between(
        grid, 100 * band.low.numpy() - grid, 100 * band.high.numpy() - grid,
        color=palette.band, alpha=0.6, lw=0, label="99 % of perfectly calibrated variables",
    )  # fmt: skip
    for edge in (-3, 3):
        label = "tolerance, 3 points" if edge > 0 else None
        panel.axhline(edge, color=palette.muted, lw=0.9, ls=(0, (4, 3)), label=label)
    panel.axhline(0, color=palette.muted, lw=0.8)
    worst = max(table["largest_deviation"], key=table["largest_deviation"].get)
    for name, curve in table["curves"].items():
        off = 100.0 * np.asarray(curve) - levels
        if name != worst:
            panel.plot(levels, off, color=palette.one, lw=0.9, alpha=0.6)
    off = 100.0 * np.asarray(table["curves"][worst]) - levels
    panel.plot([], [], color=palette.one, lw=0.9, label="other variables")
    panel.plot(levels, off, color=palette.two, lw=1.8, label=worst)
    tidy(panel, palette, "nominal level [%]", "coverage − nominal [points]")
    panel.set_xlim(0, 100)
    legend(panel, palette, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def draw_tarp(table: dict[str, Any], palette: Palette) -> Any:
    """TARP coverage and its deviation from the diagonal, with the 99 % band."""
    figure = new_figure(10.0, 3.8)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.6])
    level, own, low, high = (
        100.0 * np.asarray(table[key]) for key in ("levels", "coverage", "low", "high")
    )
    sbi_level, sbi = (100.0 * np.asarray(table["sbi"][key]) for key in ("levels", "coverage"))
    for panel, line in ((left, 0.0), (right, 1.0)):
        panel.fill_between(
            level, low - line * level, high - line * level, color=palette.band, alpha=0.6, lw=0,
            label="99 % band",
        )  # fmt: skip
        panel.plot([0, 100], [0, 100 - line * 100], color=palette.muted, lw=0.8)
        panel.plot(sbi_level, sbi - line * sbi_level, color=palette.two, lw=1.1,
                   ls=(0, (3, 2)), label="sbi.run_tarp, all draws")  # fmt: skip
        panel.plot(level, own - line * level, color=palette.one, lw=1.8, label="measured")
        panel.set_xlim(0, 100)
    left.set_ylim(0, 100)
    tidy(left, palette, "credibility level [%]", "expected coverage [%]")
    tidy(right, palette, "credibility level [%]", "coverage − level [points]")
    legend(right, palette, loc="best")
    return figure
