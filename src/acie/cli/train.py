"""``acie train``: a bundle from settings, tracked where that is wanted."""

__all__ = ["run"]

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from acie.training import TrainConfig


def run(config: "TrainConfig", out: Path, device: str, track: bool | None = None) -> None:
    """Train, and print where the bundle is.

    Raises:
        RegistryUnreachable: Tracking is wanted and MLflow does not answer; nothing has begun.
    """
    from acie.device import pick_device
    from acie.tracking import note_training, tracked
    from acie.training.run import train

    with tracked(
        "train",
        config.name,
        config.to_json(),
        wanted=track,
        device=pick_device(device),
        memory=out / "mlflow-run.json",
    ) as noted:
        bundle = train(
            config,
            out,
            device=device,
            progress=lambda text: typer.echo(text, err=True),
            curve=noted.curve if noted.active else None,
        )
        note_training(noted, out, bundle)
    typer.echo(f"bundle: {bundle}")
