"""``acie evaluate``: recovery and counterfactual error, with a figure."""

__all__ = ["run"]

import json
from pathlib import Path

import typer

from acie.cli.output import make_folder, table


def run(model: str, n: int, out: Path, snr: float, do: str, samples: int, seed: int) -> None:
    """Measure, print a table, write ``evaluation.json`` and ``recovery.png``."""
    import acie
    from acie.figures import plot_recovery
    from acie.recovery import measure_recovery

    engine = acie.load(model)
    engine.act(do)
    make_folder(out)
    with typer.progressbar(length=n, label="evaluating") as bar:
        found = measure_recovery(
            engine, n, snr=snr, do=do, samples=samples, seed=seed,
            progress=lambda done: bar.update(done - bar.pos),
        )  # fmt: skip
    figures = found.figures
    rows = [
        (name, f"{figures['scatter'][name]:.4f}", f"{figures['bias'][name]:+.4f}",
         f"{figures['coverage_68'][name]:.3f}")
        for name in figures["scatter"]
    ]  # fmt: skip
    table(
        f"{n} galaxies at S/N {snr:g}", ("variable", "scatter", "bias", "coverage of 68 %"), rows
    )
    for name, value in figures.items():
        if isinstance(value, float):
            typer.echo(f"{name:>38} {value:.4f}")
    (out / "evaluation.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    plot_recovery(found.truth, found.bands, engine.scm.variables, out / "recovery.png")
    typer.echo(f"written: {out / 'evaluation.json'}, {out / 'recovery.png'}")
