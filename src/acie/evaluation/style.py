"""One look for all figures: on white paper, and in a page that is light or dark.

A figure is drawn once. Its PNG has the colours of :data:`PAPER`; in its SVG, which is put into the
page, each of these colours is replaced by a CSS variable, so that the figure takes the page's
theme.
"""

__all__ = ["PAPER", "Palette", "legend", "new_figure", "tidy", "write_figure"]

import io
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Palette:
    """Colours by role.

    The first three are blue, vermilion and green of Okabe & Ito 2008, which people with any of
    the usual colour deficiencies can tell apart; markers and dashes differ too.
    """

    one: str
    two: str
    three: str
    ink: str
    muted: str
    grid: str
    band: str


PAPER = Palette("#0072b2", "#d55e00", "#00855f", "#1b222b", "#56606c", "#e3e7eb", "#cfd6dd")
_SHORT = re.compile(r"(\d+\.\d{2})\d+")


def new_figure(width: float, height: float) -> Any:
    """An empty figure, inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0.0)
    return figure


def tidy(axis: Any, palette: Palette, x: str = "", y: str = "", title: str = "") -> None:
    """Quiet axes: two spines, a light grid, labels in ink."""
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axis.spines[side].set_color(palette.muted)
        axis.spines[side].set_linewidth(0.8)
    axis.set_facecolor("none")
    axis.grid(True, color=palette.grid, lw=0.6)
    axis.set_axisbelow(True)
    axis.tick_params(colors=palette.muted, labelsize=8, length=3, width=0.8, which="both")
    axis.set_xlabel(x, fontsize=9, color=palette.ink)
    axis.set_ylabel(y, fontsize=9, color=palette.ink)
    if title:
        axis.set_title(title, fontsize=9, color=palette.ink, loc="left", pad=5)


def legend(axis: Any, palette: Palette, **options: Any) -> None:
    """A legend without a box."""
    axis.legend(frameon=False, fontsize=8, labelcolor=palette.ink, **options)


def write_figure(figure: Any, path: Path, alt: str) -> str:
    """Write a figure as PNG, and return it as an SVG element for a page.

    Arguments:
        figure: Drawn with the colours of :data:`PAPER`.
        path: The PNG; its stem makes the identifiers inside the SVG differ from other figures'.
        alt: What the figure shows, for those who cannot see it.
    """
    figure.savefig(path, dpi=150, facecolor="white")
    # The panels are where they belong now: laying out a second time would take as long again.
    figure.set_layout_engine("none")
    return _inline_svg(figure, path.stem, alt)


def _inline_svg(figure: Any, name: str, alt: str) -> str:
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for role in fields(Palette):
        text = text.replace(getattr(PAPER, role.name), f"var(--{role.name})")
    # Identifiers are the figure's own: two inline figures would otherwise share clip paths.
    text = re.sub(r'id="', f'id="{name}-', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    # In paths a hundredth of a point is finer than any screen; scale factors keep their digits.
    text = re.sub(r' d="[^"]*"', lambda path: _SHORT.sub(r"\1", path[0]), text)
    return text.replace("<svg", f'<svg role="img" aria-label="{alt}"', 1)
