"""``acie export``: a model for other runtimes."""

__all__ = ["ExportOptions", "require_export", "run"]

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from acie.cli.output import complain, table
from acie.errors import ACIEError, ConfigurationError


@dataclass(frozen=True)
class ExportOptions:
    """The options of the command; see its help."""

    model: str
    out: Path
    format: str = "onnx"
    quantize: str | None = None
    network_only: bool = False
    json_output: bool = False


def require_export() -> None:
    """Refuse where the extra is missing.

    Raises:
        ConfigurationError: ONNX or ONNX Runtime is not installed.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ConfigurationError(
            "onnx",
            expected="the extra of exports",
            found=f"no module {error.name}",
            remedy="pip install 'acie[export]'.",
        ) from None
    del onnx, onnxruntime


def run(files: Sequence[str], options: ExportOptions) -> None:
    """Export a model and print what was measured."""
    _check(options)
    require_export()
    if options.format == "torchserve":
        from acie.export import export_torchserve

        typer.echo(f"archive: {export_torchserve(options.model, options.out)}")
        return
    import acie
    from acie.export import export_model, model_card

    engine = acie.load(options.model)
    manifest = export_model(
        engine,
        options.out,
        quantize=options.quantize,
        real=_real(files, engine, options),
        network_only=options.network_only,
        card=model_card(options.model),
        progress=lambda text: typer.echo(text, err=True),
    )
    if options.json_output:
        typer.echo(json.dumps(manifest))
    else:
        _show(manifest, options.out)


def _check(options: ExportOptions) -> None:
    from acie.manifest import bundle_kind

    if options.format not in ("onnx", "torchserve"):
        raise ConfigurationError("--format", expected="onnx or torchserve", found=options.format)
    if options.quantize not in ((None, "int8") if options.format == "onnx" else (None,)):
        raise ConfigurationError("--quantize", expected="int8", found=str(options.quantize))
    if options.network_only and options.format != "onnx":
        raise ConfigurationError(
            "--network-only", expected="--format onnx", found=f"--format {options.format}"
        )
    if bundle_kind(options.model) == "tabular":
        raise ConfigurationError(
            "--model",
            expected="a model of spectra",
            found=f"{options.model}, a model of a catalogue",
            remedy="Models of acie fit have no network to export.",
        )


def _real(files: Sequence[str], engine: Any, options: ExportOptions) -> Any:
    """The spectra of the files, with a redshift that the model covers."""
    import acie.io
    from acie.cli.infer import expand
    from acie.observation import Observation

    found = []
    for file in expand(files):
        try:
            observation = acie.io.read(file).batched()
            engine.check_redshift(observation.redshift)
            found.append(observation)
        except ACIEError as error:
            complain(file, error, options.json_output)
    return Observation.stack(found) if found else None


def _show(manifest: dict[str, Any], out: Path) -> None:
    rows = [
        (name, f"{facts['bytes'] / 1e6:.2f} MB", f"{facts.get('nodes', '')}",
         ", ".join(i["name"] for i in facts.get("inputs", ())),
         ", ".join(o["name"] for o in facts.get("outputs", ())))
        for name, facts in manifest["files"].items()
    ]  # fmt: skip
    source = manifest["source"]
    title = f"{source['name']} {source['version']} ({source['digest'][:12]}) -> {out}"
    table(title, ("name", "size", "nodes", "inputs", "outputs"), rows)
    for part, figures in manifest["parity"].items():
        limits = figures["tolerance"]
        rows = [(name, f"{figures[name]:.2g}", f"{limit:g}") for name, limit in limits.items()]
        counts = ", ".join(f"{count} {what}" for what, count in figures["galaxies"].items())
        table(f"\n{part} against the model: {counts}", ("name", "largest", "allowed"), rows)
    if "quantized" in manifest:
        _show_layers(manifest["quantized"])


def _show_layers(quantised: dict[str, Any]) -> None:
    rows = [
        (name, str(row["bits"]), str(row["weights"]), f"{row['weight_error']:.1e}",
         f"{row['output_error']:.1e}", f"{row['median_at_8_bits']:.4f}")
        for name, row in quantised["layers"].items()
    ]  # fmt: skip
    kernels = quantised.get("faster_than_kernels")
    beside = f" ({kernels:.2f} times as fast as compiled kernels)" if kernels else ""
    title = (
        f"\n8 bits: {quantised['smaller']:.2f} times smaller, {quantised['faster']:.2f} times "
        f"faster than torch for one galaxy{beside}\nerrors are relative; shift of medians in"
        " sigma, by this layer alone, for 95 % of galaxies"
    )
    columns = ("name", "bits", "weights", "weight error", "output error", "shift at 8 bits")
    table(title, columns, rows)
