"""Figures of fit, efficiency, counterfactual answers, and all of it in bins."""

__all__ = ["draw_answers", "draw_binned", "draw_efficiency", "draw_predictive", "draw_scatter"]

from typing import Any

import numpy as np

from acie.evaluation.calibration import Measured, natural_unit
from acie.evaluation.figures_calibration import grid_of
from acie.evaluation.style import Palette, legend, new_figure, tidy

_KINDS = ("spectrum", "effect", "state")
#: p values are multiples of 1 / (replicates + 1): edges lie between such values, and the tenth
#: of a bin that an edge on one of them would move is not seen as a pattern.
_EDGES = np.linspace(0.0, 1.0, 11) + 1e-6


def draw_efficiency(measured: Measured, palette: Palette) -> Any:
    """Importance efficiency of every galaxy against S/N, and its distribution."""
    figure = new_figure(10.0, 3.4)
    left, right = figure.subplots(1, 2, width_ratios=[1.7, 1])
    confidence = 100.0 * measured.found["confidence"].numpy()
    snr = measured.found["snr"].clamp(min=0.1).numpy()
    left.plot(snr, confidence, "o", ms=3.2, mew=0, color=palette.one, alpha=0.6)
    left.set_xscale("log")
    left.xaxis.set_major_formatter("{x:g}")
    left.xaxis.set_minor_formatter("")
    left.set_xticks([2, 5, 10, 20, 50], minor=False)
    left.axhline(12, color=palette.two, lw=1.1, ls=(0, (4, 3)), label="required median, 12 %")
    left.axhline(np.median(confidence), color=palette.one, lw=1.4, label="median")
    tidy(left, palette, "median S/N per pixel", "importance efficiency [%]")
    legend(left, palette, loc="upper left")
    left.set_ylim(0, None)
    right.hist(confidence, 24, color=palette.one, alpha=0.85)
    tidy(right, palette, "importance efficiency [%]", "galaxies")
    return figure


def draw_predictive(measured: Measured, table: dict[str, Any], palette: Palette) -> Any:
    """Posterior predictive p values, and the spread of the standard residuals."""
    figure = new_figure(10.0, 3.2)
    panels = figure.subplots(1, 3)
    named = {"p_chi2": "χ² of the pixels", "p_correlation": "correlated misfit"}
    for panel, (name, title) in zip(panels, named.items(), strict=False):
        panel.hist(table[name]["values"], _EDGES, color=palette.one, alpha=0.85)
        panel.axhline(measured.count / 10.0, color=palette.two, lw=1.2, ls=(0, (4, 3)))
        tidy(panel, palette, "posterior predictive p", "galaxies", title)
    spread = measured.found["ppc/spread"].numpy()
    panels[2].hist(spread, 24, color=palette.one, alpha=0.85)
    panels[2].axvline(1.0, color=palette.two, lw=1.2, ls=(0, (4, 3)))
    tidy(
        panels[2], palette, "robust std of residuals / stated error", "galaxies",
        "spread of the residuals",
    )  # fmt: skip
    return figure


def draw_answers(rows: list[dict[str, Any]], palette: Palette) -> Any:
    """Coverage of 68 % intervals, and error against size of the effect, for every question."""
    figure = new_figure(10.0, 1.3 + 0.2 * len(rows))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.2, 1])
    place = np.arange(len(rows))[::-1]
    left.axvspan(65, 71, color=palette.band, alpha=0.6, lw=0, label="68 ± 3 %")
    left.axvline(68, color=palette.muted, lw=0.8)
    looks = {"spectrum": ("o", palette.one), "effect": ("s", palette.two),
             "state": ("^", palette.three)}  # fmt: skip
    for shift, (kind, (marker, color)) in zip((0.22, 0.0, -0.22), looks.items(), strict=True):
        middle = 100.0 * np.array([_number(row[f"coverage_{kind}"]) for row in rows])
        error = 100.0 * np.array([_number(row[f"coverage_{kind}_error"]) for row in rows])
        left.errorbar(
            middle, place + shift, xerr=error, fmt=marker, ms=3.2, mew=0, lw=0.8, color=color,
            label=kind,
        )  # fmt: skip
    left.set_yticks(place, [row["label"] for row in rows])
    tidy(left, palette, "coverage of 68 % intervals [%]")
    left.tick_params(axis="y", colors=palette.ink)
    legend(left, palette, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    effect = 100.0 * np.array([_number(row["effect"]) for row in rows])
    error = 100.0 * np.array([_number(row["effect_error"]) for row in rows])
    right.hlines(place, error, effect, color=palette.grid, lw=1.4, zorder=1)
    right.plot(effect, place, "o", ms=4, mew=0, color=palette.muted, label="true effect")
    right.plot(error, place, "s", ms=4, mew=0, color=palette.two, label="error of the answer")
    right.set_xscale("log")
    right.xaxis.set_major_formatter("{x:g}")
    tidy(right, palette, "rms over rms of the spectrum [%]")
    legend(right, palette, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    left.set_ylim(-0.8, len(rows) - 0.2)
    return figure


def draw_binned(table: dict[str, Any], palette: Palette) -> Any:
    """Coverage, answers' coverage, efficiency and error in bins of the three axes."""
    figure = new_figure(10.0, 8.6)
    panels = figure.subplots(4, len(table), sharey="row", squeeze=False)
    for column, axis in enumerate(table.values()):
        rows = axis["rows"]
        place, names = np.arange(len(rows)), [row["bin"] for row in rows]
        top, second, third, last = panels[:, column]
        _points(top, place, rows, "coverage_68", palette.one, "o", "states")
        for shift, kind, color, marker in zip(
            (-0.12, 0.0, 0.12), _KINDS, (palette.one, palette.two, palette.three), "os^",
            strict=True,
        ):  # fmt: skip
            _points(second, place + shift, rows, f"answer_coverage_{kind}", color, marker, kind)
        _points(third, place, rows, "efficiency", palette.one, "o", "")
        third.axhline(12, color=palette.two, lw=1, ls=(0, (4, 3)))
        error = [100.0 * _number(row["answer_relative_error"]) for row in rows]
        last.plot(place, error, "o-", ms=4, lw=1, color=palette.one)
        for panel in (top, second):
            panel.axhspan(65, 71, color=palette.band, alpha=0.6, lw=0)
        labels = (
            "coverage of 68 %\nintervals [%]", "coverage of 68 %\nof answers [%]",
            "median importance\nefficiency [%]", "median error of an\neffect over effect [%]",
        )  # fmt: skip
        for row, panel in enumerate(panels[:, column]):
            below = axis["title"] if row == 3 else ""
            tidy(panel, palette, below, labels[row] if column == 0 else "")
            panel.set_xticks(place, names if row == 3 else [""] * len(names))
            panel.tick_params(axis="x", labelsize=7)
            panel.set_xlim(-0.5, max(len(rows) - 0.5, 0.5))
        third.set_ylim(0, None)
        last.set_ylim(0, None)
    legend(panels[1, 0], palette, loc="best", ncols=3, handletextpad=0.2, columnspacing=0.8)
    return figure


def draw_scatter(measured: Measured, table: dict[str, Any], palette: Palette) -> Any:
    """Scatter of each variable in the bins of the three axes, side by side."""
    names = measured.population.continuous
    figure, panels = grid_of(len(names), height=2.3)
    looks = zip(table.values(), (palette.one, palette.two, palette.three), "os^", strict=False)
    start, ticks, labels = 0, [], []
    for axis, color, marker in looks:
        rows = axis["rows"]
        place = start + np.arange(len(rows))
        for panel, name in zip(panels, names, strict=True):
            values = [row["scatter"][name] for row in rows]
            panel.plot(place, values, f"{marker}-", ms=3.5, mew=0, lw=1.1, color=color,
                       label=axis["title"])  # fmt: skip
        ticks += place.tolist()
        labels += [row["bin"] for row in rows]
        start += len(rows) + 1
    for index, (panel, name) in enumerate(zip(panels, names, strict=True)):
        unit = natural_unit(measured.population, name)
        tidy(panel, palette, title=f"{name} [{unit}]" if unit else name)
        panel.set_ylim(0, None)
        lowest = index >= len(names) - 4
        panel.set_xticks(ticks, labels if lowest else [""] * len(ticks), rotation=90)
        panel.tick_params(axis="x", labelsize=7)
        panel.grid(False, axis="x")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=3,
        frameon=False, fontsize=9, labelcolor=palette.ink,
    )  # fmt: skip
    return figure


def _points(
    panel: Any, place: np.ndarray, rows: list[dict[str, Any]], key: str, color: str, marker: str,
    label: str,
) -> None:  # fmt: skip
    middle = [100.0 * _number(row[key]) for row in rows]
    error = [100.0 * _number(row[f"{key}_error"]) for row in rows]
    panel.errorbar(place, middle, yerr=error, fmt=f"{marker}-", ms=4, mew=0, lw=1, color=color,
                   label=label)  # fmt: skip


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
