"""``acie deploy``: render, check, compare, ask, apply, wait."""

__all__ = ["DeployOptions", "run"]

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from acie.cli.output import make_folder
from acie.deploying import (
    Cluster,
    ComposeProject,
    Deployment,
    Kubectl,
    Release,
    check_hosts,
    check_objects,
    render_compose,
    render_kubernetes,
    roll_out,
    settle_secret,
)
from acie.deploying.rendering import as_yaml
from acie.deploying.secrets import SECRET, stamp_secret
from acie.errors import ClusterUnreachable, ConfigurationError, ManifestError, RolloutFailed


@dataclass(frozen=True)
class DeployOptions:
    """How it is done, besides what."""

    context: str | None = None
    out: Path | None = None
    timeout_s: float = 900.0
    dry_run: bool = False
    yes: bool = False


def run(deployment: Deployment, options: DeployOptions) -> int:
    """Deploy; returns 0, or 1 when it was not done or was undone.

    Raises:
        ConfigurationError: An option, a secret or a host cannot be.
        DeploymentError: A program is missing, the manifests are refused, the cluster is away.
            Nothing has been changed then.
    """
    if options.context and deployment.platform != "k8s":
        raise ConfigurationError("--context", expected="--platform k8s", found="compose")
    deploy = _compose if deployment.platform == "compose" else _kubernetes
    try:
        return deploy(deployment, options)
    except RolloutFailed as error:
        typer.echo(f"acie: {type(error).__name__}: {error}", err=True)
        return 1


def _kubernetes(deployment: Deployment, options: DeployOptions) -> int:
    kubectl = Kubectl(options.context)
    objects = render_kubernetes(deployment, kubectl)
    places = (one["metadata"].get("namespace") for one in objects)
    namespace = next(filter(None, places), "default")
    cluster, version = _reach(Cluster(kubectl, namespace), options.dry_run)
    for note in check_objects(objects, version):
        _say(f"note: {note}")
    if deployment.gpus > 1:
        _say("note: a replica computes on one GPU; more replicas use more, more for each do not")
    _refuse_or_say(options.dry_run, lambda: check_hosts(objects))
    made, there = settle_secret(deployment.secrets, deployment.overlay, cluster)
    if there is not None:
        stamp_secret(objects, there)
    _write(options.out, "kubernetes.yaml", as_yaml(objects))
    if there is None:
        _say(f"note: nobody can tell here whether the cluster has the Secret {SECRET}")
    if made is not None:
        origin = f"of {deployment.secrets}" if deployment.secrets else "with new random values"
        _say(f"note: the Secret {SECRET} is applied too, {origin}")
    if cluster is None:
        _say(f"{len(objects)} objects are rendered and checked; nothing was changed")
        return 0
    changes = cluster.difference(objects)
    if not _agreed(changes, f"Apply {len(objects)} objects to {cluster.describe()}?", options):
        return int(not options.dry_run)
    secret = None if made is None else _secret(namespace, made)
    roll_out(cluster, Release(objects, secret), _say, options.timeout_s)
    _say(f"the service runs in {cluster.describe()}")
    return 0


def _reach(
    cluster: Cluster, dry_run: bool
) -> tuple[Cluster | None, tuple[int, int] | None]:
    """The cluster and its version; a dry run does without."""
    try:
        return cluster, cluster.version()
    except ClusterUnreachable as error:
        if not dry_run:
            raise
        _say(f"note: not compared with a cluster, as none answers: {error.found}")
        return None, None


def _refuse_or_say(dry_run: bool, check: Callable[[], None]) -> None:
    """What a dry run may do without is only said there."""
    try:
        check()
    except (ConfigurationError, ManifestError) as error:
        if not dry_run:
            raise
        _say(f"note: would be refused: {error}")


def _compose(deployment: Deployment, options: DeployOptions) -> int:
    project = ComposeProject(render_compose(deployment))
    _write(options.out, "compose.yaml", project.text)
    _refuse_or_say(options.dry_run, project.check)
    name = deployment.namespace or "acie"
    if not _agreed(project.difference(), f"Apply this to the project {name} here?", options):
        return int(not options.dry_run)
    project.roll_out(_say, options.timeout_s)
    return 0


def _secret(namespace: str, values: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET, "namespace": namespace},
        "type": "Opaque",
        "stringData": values,
    }


def _agreed(changes: str, question: str, options: DeployOptions) -> bool:
    """Show what would change, and ask."""
    for line in changes.splitlines():
        colour = {"+": typer.colors.GREEN, "-": typer.colors.RED}.get(line[:1])
        typer.secho(line, fg=colour if sys.stdout.isatty() else None)
    if options.dry_run:
        _say("nothing was changed" if changes else "no differences; nothing was changed")
        return False
    if not changes:
        _say("no differences")
    if options.yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "--yes", expected="it, as nobody can be asked", found="no terminal on standard input"
        )
    if not typer.confirm(question):
        _say("nothing was changed")
        return False
    return True


def _write(out: Path | None, name: str, text: str) -> None:
    """Write what is applied, without the Secret."""
    if out is not None:
        make_folder(out)
        (out / name).write_text(text, "utf-8")
        _say(f"wrote {out / name}")


def _say(text: str) -> None:
    typer.echo(text, err=True)
