"""The command ``acie monitor``."""

__all__ = ["monitor_command"]

from typing import Annotated

import typer

monitor_command = typer.Typer()


@monitor_command.command("monitor")
def monitor(
    dashboard: Annotated[
        str, typer.Option(metavar="terminal|web|grafana", help="Where to look.")
    ] = "terminal",
    url: Annotated[
        str, typer.Option(envvar="ACIE_API_URL", help="Where the service is.")
    ] = "http://localhost:8080",
    token: Annotated[
        str | None,
        typer.Option(
            envvar="ACIE_API_KEY", help="API key or token; better in the environment.",
            show_envvar=True,
        ),
    ] = None,
    grafana: Annotated[
        str, typer.Option(envvar="ACIE_GRAFANA_URL", help="Where Grafana is.")
    ] = "http://localhost:3000",
    alerts: Annotated[
        str | None,
        typer.Option(
            envvar="ACIE_ALERTS_URL", metavar="URL", help="Alertmanager or Prometheus.",
        ),
    ] = None,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look once and leave.")] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="JSON: one object per look.")
    ] = False,
) -> None:
    """Watch a running service: latency, throughput, queue, confidence, cache, models, alerts.

    Example: acie monitor --url http://localhost:8080 --alerts http://localhost:9093

    acie monitor --once --json
    """
    from acie.cli.monitor import MonitorOptions, run

    raise typer.Exit(
        run(MonitorOptions(dashboard, url, token, grafana, alerts, every, once, json_output))
    )
