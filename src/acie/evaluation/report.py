"""The report: one HTML file that needs nothing else, JSON, and the figures as PNG."""

__all__ = ["write_report"]

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from acie.errors import ConfigurationError
from acie.evaluation.calibration import Measured
from acie.evaluation.figures_calibration import (
    draw_coverage,
    draw_recovery,
    draw_sbc,
    draw_tarp,
)
from acie.evaluation.figures_causal import (
    draw_answers,
    draw_binned,
    draw_efficiency,
    draw_predictive,
    draw_scatter,
)
from acie.evaluation.ranks import UniformBand
from acie.evaluation.style import PAPER, Palette, write_figure
from acie.seeds import SeedStream


def write_report(
    report: dict[str, Any],
    measured: Measured,
    folder: Path,
    stage: Callable[[str], None] = lambda text: None,
) -> list[Path]:
    """Write ``report.html``, ``evaluation.json`` and one PNG per figure.

    Arguments:
        report: From :func:`acie.evaluation.evaluate`.
        measured: The galaxies, for the figures.
        folder: An existing folder.
        stage: Called with what is being done.

    Returns:
        The files, the report first.
    """
    drawn, pictures = {}, []
    for name, (draw, alt) in _figures(report, measured).items():
        stage(f"figure: {name}")
        pictures.append(folder / f"{name}.png")
        drawn[name] = write_figure(draw(PAPER), pictures[-1], alt)
    page, data = folder / "report.html", folder / "evaluation.json"
    page.write_text(_html(report, drawn), "utf-8")
    data.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    return [page, data, *pictures]


def _figures(
    report: dict[str, Any], measured: Measured
) -> dict[str, tuple[Callable[[Palette], Any], str]]:
    generator = SeedStream(report["settings"]["seed"]).generator("band")
    band = UniformBand.of(measured.count, generator)
    return {
        "recovery": (partial(draw_recovery, measured), "Inferred against true values"),
        "sbc": (partial(draw_sbc, measured, report["sbc"]["counts"]), "Rank histograms"),
        "coverage": (
            partial(draw_coverage, measured, report["coverage"], band),
            "Coverage minus nominal level",
        ),
        "tarp": (partial(draw_tarp, report["tarp"]), "TARP coverage against level"),
        "efficiency": (partial(draw_efficiency, measured), "Importance efficiency by S/N"),
        "predictive": (
            partial(draw_predictive, measured, report["predictive"]),
            "Posterior predictive p values and residual spread",
        ),
        "answers": (
            partial(draw_answers, report["counterfactuals"]),
            "Coverage and error of counterfactual answers",
        ),
        "binned": (partial(draw_binned, report["binned"]), "Calibration and efficiency in bins"),
        "scatter": (partial(draw_scatter, measured, report["binned"]), "Scatter in bins"),
    }


def _html(report: dict[str, Any], figures: dict[str, str]) -> str:
    try:
        import jinja2
        import markupsafe
    except ImportError as error:
        raise ConfigurationError(
            "evaluate", expected="the package jinja2", found=str(error),
            remedy="Install it with: pip install 'acie[evaluate]'.",
        ) from None  # fmt: skip
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("acie.evaluation", ""), autoescape=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters |= {
        "num": _number, "err": _error, "signed": _signed,
        "pct": partial(_percent, digits=1), "pct0": partial(_percent, digits=0),
        "percent": lambda v: _number(_times(v, 100.0)),
        "tied": lambda text: text.replace(" %", "\u00a0%"),
    }  # fmt: skip
    safe = {name: markupsafe.Markup(text) for name, text in figures.items()}
    return environment.get_template("report.html.j2").render(r=report, figures=safe)


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _number(value: float | None) -> str:
    """Three significant digits, without an exponent where people need none."""
    if value is None:
        return "–"
    if value == 0.0:
        return "0"
    return f"{value:.2e}" if not 1e-4 <= abs(value) < 1e5 else f"{value:#.3g}".rstrip(".")


def _error(value: float | None) -> str:
    return "–" if value is None else f"{value:.2g}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.4f}".replace("-", "−")


def _percent(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{100.0 * value:.{digits}f}"
