"""Objects of Kubernetes: their names, and what is wrong with them before a cluster says so."""

__all__ = ["check_hosts", "check_objects", "label_of"]

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from acie.errors import ConfigurationError, ManifestError

#: Of documentation (RFC 2606): nobody's.
_NOBODYS = ("example.org", "example.com", "example.net")


def label_of(one: Mapping[str, Any]) -> str:
    """As kubectl names an object: ``deployment/acie``."""
    return f"{one['kind'].lower()}/{one['metadata']['name']}"


def check_objects(
    objects: Sequence[Mapping[str, Any]], version: tuple[int, int] | None = None
) -> list[str]:
    """Refuse what a cluster would refuse, or would wait for in vain.

    Arguments:
        objects: All objects of the deployment but the Secret.
        version: Version of the cluster; the newest known when left out.

    Returns:
        What is not wrong, but may surprise.

    Raises:
        ConfigurationError: The extra ``deploy`` is missing.
        ManifestError: An object is not of the schema of its kind, or names one that is missing.
    """
    _check_schemas(objects, version)
    _check_references(objects)
    return [
        f"{label_of(one)}: no registry in {container['image']}, so every node must have it"
        for one in objects
        if one["kind"] == "Deployment"
        for container in one["spec"]["template"]["spec"]["containers"]
        if "/" not in container["image"]
    ]


def check_hosts(objects: Sequence[Mapping[str, Any]]) -> None:
    """Refuse names of documentation, under which nobody would reach the service.

    Raises:
        ConfigurationError: One is left.
    """
    hosts = {
        rule["host"]
        for one in objects
        if one["kind"] == "Ingress"
        for rule in one["spec"]["rules"]
        if rule.get("host", "").endswith(_NOBODYS)
    }
    if hosts:
        raise ConfigurationError(
            "--host",
            expected="the name under which the service is to be reached",
            found=f"{', '.join(sorted(hosts))} of the example",
            remedy="Name it with --host, or in an overlay of your own.",
        )


def _check_schemas(
    objects: Sequence[Mapping[str, Any]], version: tuple[int, int] | None
) -> None:
    try:
        import kubernetes_validate
    except ImportError:
        raise ConfigurationError(
            "deploy", expected="the extra of deployments", found="no module kubernetes_validate",
            remedy="pip install 'acie[deploy]'.",
        ) from None  # fmt: skip
    newest = tuple(map(int, kubernetes_validate.latest_version().split(".")[:2]))
    against = ".".join(map(str, min(version, newest) if version else newest))
    for one in objects:
        try:
            kubernetes_validate.validate(dict(one), against, strict=True)
        except kubernetes_validate.ValidationError as error:
            raise ManifestError(
                label_of(one),
                expected=f"the schema of Kubernetes {against}",
                found=f"{error.message} at {'.'.join(map(str, error.path)) or 'the top'}"[:400],
            ) from None
        except kubernetes_validate.SchemaNotFoundError:
            raise ManifestError(
                label_of(one),
                expected=f"a kind that Kubernetes {against} has",
                found=f"{one['apiVersion']} {one['kind']}",
            ) from None


def _check_references(objects: Sequence[Mapping[str, Any]]) -> None:
    """Pods wait for ever for a ConfigMap, a claim or an account that nobody made."""
    there = {(one["kind"], one["metadata"]["name"]) for one in objects}
    for one in objects:
        template = one.get("spec", {}).get("template", {})
        for kind, name in _needs(template.get("spec", {})):
            if (kind, name) not in there:
                raise ManifestError(
                    label_of(one), expected=f"a {kind} {name} among the manifests", found="none"
                )


def _needs(pod: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "serviceAccountName" in pod:
        yield "ServiceAccount", pod["serviceAccountName"]
    for volume in pod.get("volumes", ()):
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
    for container in (*pod.get("initContainers", ()), *pod.get("containers", ())):
        for source in container.get("envFrom", ()):
            if "configMapRef" in source:
                yield "ConfigMap", source["configMapRef"]["name"]
