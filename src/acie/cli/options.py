"""Options that several commands have."""

__all__ = ["ADDRESS", "TRACK", "WORKERS", "only_with_ray"]

import typer

#: Help of ``--track``.
TRACK = "Log the run to MLflow; left out: if ACIE_MLFLOW__URI or MLFLOW_TRACKING_URI is set."
ADDRESS = typer.Option(
    metavar="ADDRESS", help="Of a Ray cluster: auto, host:port, ray://...; else a local Ray."
)
WORKERS = typer.Option(min=1, help="With --ray: processes; one per processor if left out.")


def only_with_ray(*values: object) -> None:
    """Refuse options of Ray where Ray is not asked for.

    Raises:
        BadParameter: One is given.
    """
    if any(values):
        raise typer.BadParameter("--address, --workers and --spectra go with --ray.")
