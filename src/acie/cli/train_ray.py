"""``acie train --ray``: the processes of a training run are started by Ray."""

__all__ = ["run"]

from pathlib import Path

import typer

from acie.cli.train import TrainOptions, with_options
from acie.errors import ConfigurationError


def run(config: Path, options: TrainOptions, address: str | None, workers: int | None) -> None:
    """Train as the file says, with the options in place of its settings."""
    from acie.cluster.train import train_on_ray
    from acie.training import TrainConfig

    for name in ("gpus", "processes", "nodes", "distributed"):
        if getattr(options, name):
            raise ConfigurationError(
                f"--{name}", expected="--workers N with --ray", found=f"--{name}",
                remedy="Ray decides on which machines its workers are.",
            )  # fmt: skip
    settings = with_options(TrainConfig.read(config), options)
    folder = options.out or Path("runs") / settings.name
    bundle = train_on_ray(
        settings, folder, address=address, workers=workers,
        progress=lambda text: typer.echo(text, err=True),
    )  # fmt: skip
    typer.echo(f"bundle: {bundle}")
