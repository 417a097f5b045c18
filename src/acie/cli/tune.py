"""``acie tune``: Ray Tune over the training configuration."""

__all__ = ["run"]

from pathlib import Path

import typer

from acie.cli.output import table


def run(
    config: Path,
    trials: int,
    out: Path | None,
    space: Path | None,
    address: str | None,
    workers: int | None,
) -> None:
    """Search, and show the best trials."""
    from acie.cluster.space import read_space
    from acie.cluster.tune import tune
    from acie.training import TrainConfig

    settings = TrainConfig.read(config)
    folder = out or Path("runs") / f"{settings.name}-tune"
    found = tune(
        settings, folder, read_space(space, settings), trials,
        address=address, workers=workers, progress=lambda text: typer.echo(text, err=True),
    )  # fmt: skip
    names = list(found.trials[0]["values"])
    rows = [
        (f"{trial['validation_loss']:.4f}", str(trial["epoch"]),
         *(f"{trial['values'][name]:.4g}" for name in names))
        for trial in found.trials[:10]
    ]  # fmt: skip
    table(f"{len(found.trials)} trials, the best first", ("loss", "epochs", *names), rows)
    typer.echo(f"best: {found.path}")
