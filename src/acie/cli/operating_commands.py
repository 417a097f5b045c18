"""``acie deploy | migrate | monitor``: the service where it runs."""

__all__ = ["operating_commands"]

from pathlib import Path
from typing import Annotated

import typer

operating_commands = typer.Typer()


@operating_commands.command()
def deploy(
    platform: Annotated[str, typer.Option(metavar="k8s|compose", help="Where to.")] = "k8s",
    replicas: Annotated[
        int | None, typer.Option(help="Replicas; with autoscaling the least.")
    ] = None,
    gpu_per_pod: Annotated[int, typer.Option(help="GPUs of each replica.")] = 0,
    overlay: Annotated[
        str, typer.Option(metavar="NAME|DIR", help="dev, production, or your own folder.")
    ] = "production",
    image: Annotated[
        str | None, typer.Option(help="Image with tag or digest, registry/acie:0.1.0.")
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Name that clients use; gRPC: grpc. before it.")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option(help="Namespace, or name of the compose project.")
    ] = None,
    secrets: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Filled copy of secret.template.yaml.")
    ] = None,
    context: Annotated[
        str | None, typer.Option(help="Cluster of the kubeconfig; else the current one.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write what is applied there.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=1.0, help="Seconds for each step to come up.")
    ] = 900.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Render, check and compare; change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Bring the service to Kubernetes or docker compose; go back when it does not come up.

    Renders the manifests, checks them, shows what would change, asks, applies, waits.

    Example: acie deploy --platform k8s --replicas 3 --gpu-per-pod 1 --dry-run
    """
    from acie.cli.deploy import DeployOptions, run
    from acie.deploying import Deployment

    deployment = Deployment(
        platform, overlay, namespace, replicas, gpu_per_pod, image, host, secrets
    )
    raise typer.Exit(run(deployment, DeployOptions(context, out, timeout, dry_run, yes)))


@operating_commands.command()
def migrate(
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML with settings.")
    ] = None,
    wait: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="Wait so long for the database.")
    ] = 0.0,
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether it is needed: exit code 1.")
    ] = False,
) -> None:
    """Bring the database of the service to the tables of this version.

    Example: ACIE_DATABASE__URL=postgresql://acie:password@db/acie acie migrate --wait 60
    """
    from acie.cli.migrate import run

    raise typer.Exit(run(config, wait, check))


@operating_commands.command()
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
