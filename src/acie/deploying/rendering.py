"""Manifests for Kubernetes, rendered by kustomize for one deployment."""

__all__ = ["as_yaml", "render_kubernetes"]

import copy
import hashlib
import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from acie.deploying.manifests import copy_manifests
from acie.deploying.programs import Kubectl
from acie.deploying.request import Deployment
from acie.errors import ManifestError


def render_kubernetes(deployment: Deployment, kubectl: Kubectl) -> list[dict[str, Any]]:
    """The objects of a deployment, in the order in which kustomize gives them.

    Arguments:
        deployment: What is asked for.
        kubectl: Renders; no cluster is needed.

    Raises:
        ConfigurationError: There is no such overlay.
        ManifestError: kustomize refuses it, or it lacks what ACIE needs.
    """
    with tempfile.TemporaryDirectory(prefix="acie-deploy-") as folder:
        overlay = copy_manifests(deployment.overlay, Path(folder) / "k8s")
        top = Path(folder) / "render"
        top.mkdir()
        (top / "kustomization.yaml").write_text(
            yaml.safe_dump(_kustomization(deployment, overlay)), "utf-8"
        )
        text = kubectl.run("kustomize", str(top))
    objects = [one for one in yaml.safe_load_all(text) if one]
    service = _service(objects)
    if deployment.image is not None:
        _check_image(service, deployment.image_parts)
    if deployment.gpus:
        _limits(service)["nvidia.com/gpu"] = str(deployment.gpus)
    if deployment.replicas is not None:
        _scale(objects, service, deployment.replicas)
    if deployment.host is not None:
        _rename_hosts(objects, deployment.host)
    for one in objects:
        if one["kind"] == "Job":
            _name_after_content(one)
    return objects


def as_yaml(objects: Iterable[Mapping[str, Any]]) -> str:
    """Objects as one YAML file."""
    return yaml.safe_dump_all(objects, sort_keys=False, default_flow_style=False, width=100)


def _kustomization(deployment: Deployment, overlay: str) -> dict[str, Any]:
    wanted: dict[str, Any] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"../k8s/overlays/{overlay}"],
    }
    if deployment.gpus:
        wanted["components"] = ["../k8s/components/gpu"]
    if deployment.namespace is not None:
        wanted["namespace"] = deployment.namespace
    if deployment.image is not None:
        wanted["images"] = [deployment.image_parts]
    return wanted


def _service(objects: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The Deployment of the service itself."""
    for one in objects:
        if one["kind"] == "Deployment" and one["metadata"]["name"] == "acie":
            return one
    raise ManifestError("--overlay", expected="a Deployment named acie", found="none")


def _check_image(service: dict[str, Any], parts: Mapping[str, str]) -> None:
    """Images are found by their name; what has another is left as it is."""
    found = service["spec"]["template"]["spec"]["containers"][0]["image"]
    mark, last = ("@", parts["digest"]) if "digest" in parts else (":", parts["newTag"])
    if found != f"{parts['newName']}{mark}{last}":
        raise ManifestError(
            "--image",
            expected="an overlay that leaves the image the name acie",
            found=f"{found}, whatever --image says",
            remedy="Take the entry of acie out of the overlay's images.",
        )


def _limits(service: dict[str, Any]) -> dict[str, Any]:
    container = service["spec"]["template"]["spec"]["containers"][0]
    return container.setdefault("resources", {}).setdefault("limits", {})


def _scale(objects: Iterable[dict[str, Any]], service: dict[str, Any], replicas: int) -> None:
    """Set the number of replicas where it is decided: in the autoscaler, if there is one."""
    for one in objects:
        if one["kind"] == "HorizontalPodAutoscaler":
            target = one["spec"]["scaleTargetRef"]
            if (target["kind"], target["name"]) == ("Deployment", service["metadata"]["name"]):
                one["spec"]["minReplicas"] = replicas
                one["spec"]["maxReplicas"] = max(replicas, one["spec"]["maxReplicas"])
                return
    service["spec"]["replicas"] = replicas


def _rename_hosts(objects: Iterable[dict[str, Any]], host: str) -> None:
    """Give Ingresses a name, and ``grpc.`` with it to those whose backend speaks gRPC."""
    for one in objects:
        if one["kind"] != "Ingress":
            continue
        ports = {
            path["backend"]["service"]["port"].get("name")
            for rule in one["spec"]["rules"]
            for path in rule["http"]["paths"]
        }
        name = f"grpc.{host}" if "grpc" in ports else host
        for rule in one["spec"]["rules"]:
            rule["host"] = name
        for entry in one["spec"].get("tls", ()):
            entry["hosts"] = [name]


def _name_after_content(job: dict[str, Any]) -> None:
    """End the name of a Job with a digest: one that has run is done, a changed one is another."""
    content = copy.deepcopy({"spec": job["spec"], "name": job["metadata"]["name"]})
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    job["metadata"]["name"] += f"-{digest[:10]}"
