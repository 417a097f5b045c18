"""The model card of an export: its figures, and the card of the model that it is made from."""

__all__ = ["export_card"]

from collections.abc import Mapping, Sequence
from typing import Any

_MEANINGS = {
    "draw": "draws, in sigma of the posterior",
    "log_q": "log density of draws",
    "flux": "pixels, in errors of the data, 999 of 1000",
    "line": "any pixel, in peaks of its spectrum",
    "state": "variables of both worlds, in sigma, 999 of 1000 draws",
    "flips": "share of draws on another side",
    "median": "medians, in sigma, 95 of 100 galaxies",
    "coverage": "coverage of intervals",
    "rank": "ranks of the truth",
}


def export_card(manifest: Mapping[str, Any], model_card: str | None = None) -> str:
    """Markdown.

    Arguments:
        manifest: As in ``export.json``.
        model_card: That of the model; it follows after the export's own.
    """
    source = manifest["source"]
    form = "ONNX, weights of 8 bits" if "quantized" in manifest else "ONNX"
    parts = [
        f"# Model card: {source['name']} as {form}",
        f"Made by ACIE {manifest['acie_version']} from `{source['name']}` version "
        f"{source['version']}, digest `{source['digest']}`, ONNX opset {manifest['opset']}. "
        "All figures are in `export.json` too.",
    ]
    for name, figures in manifest["parity"].items():
        parts.append(_parity(name, figures))
    if "quantized" in manifest:
        parts.append(_quantised(manifest["quantized"]))
    if model_card:
        title, _, text = model_card.strip().partition("\n")
        parts.append(f"## {title.removeprefix('# ').removeprefix('Model card: ')}\n{text}")
    return "\n\n".join(parts) + "\n"


def _parity(name: str, figures: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{count} {what}" for what, count in figures["galaxies"].items() if count)
    rows = [
        (_MEANINGS.get(key, key.replace("_", " ")), f"{figures[key]:.2g}", f"{limit:g}")
        for key, limit in figures["tolerance"].items()
    ]
    title = f"## The {name.replace('_', ' ')} against the model\n\nLargest differences: {counts}."
    return f"{title}\n\n{_table(('difference of', 'largest', 'allowed'), rows)}"


def _quantised(facts: Mapping[str, Any]) -> str:
    rows = [
        (f"`{name}`", str(row["bits"]), str(row["weights"]), f"{row['weight_error']:.1e}",
         f"{row['output_error']:.1e}", f"{row['median_at_8_bits']:.4f}")
        for name, row in facts["layers"].items()
    ]  # fmt: skip
    columns = ("layer", "bits", "weights", "weight error", "output error", "shift at 8 bits")
    return (
        f"## Layers\n\n{facts['smaller']:.2f} times smaller than in single precision and "
        f"{facts['faster']:.2f} times faster than torch for one galaxy, where it was made"
        f"{_beside_kernels(facts)}. Errors "
        "are relative. The shift is of medians, in sigma, for 95 of 100 galaxies, if only this "
        f"layer had 8 bits; those that do not bear it have 16.\n\n{_table(columns, rows)}"
    )


def _beside_kernels(facts: Mapping[str, Any]) -> str:
    if "faster_than_kernels" not in facts:
        return ""
    return f" ({facts['faster_than_kernels']:.2f} times as fast as ACIE's compiled kernels)"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|---|" + "--:|" * (len(columns) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
