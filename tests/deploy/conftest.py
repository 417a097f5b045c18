"""Manifests as kustomize renders them."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from servers import missing, program

K8S = Path(__file__).parents[2] / "deploy" / "k8s"


@pytest.fixture(scope="session")
def kubectl() -> str:
    from acie.deploying import Kubectl
    from acie.errors import ProgramMissing

    path = program("kubectl")
    try:
        Kubectl()
    except ProgramMissing as error:
        missing(str(error))
    return path


@pytest.fixture(scope="session")
def rendered(kubectl, tmp_path_factory):
    """Objects of a variant: dev, production, or gpu, which is production with GPUs."""
    top = tmp_path_factory.mktemp("k8s")
    shutil.copytree(K8S, top / "k8s")
    gpu = top / "k8s" / "overlays" / "gpu"
    gpu.mkdir()
    (gpu / "kustomization.yaml").write_text(yaml.safe_dump({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
        "resources": ["../production"], "components": ["../../components/gpu"],
    }))  # fmt: skip
    found = {}
    for name in ("dev", "production", "gpu"):
        text = subprocess.run(
            [kubectl, "kustomize", str(top / "k8s" / "overlays" / name)],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        (top / f"{name}.yaml").write_text(text)
        found[name] = [one for one in yaml.safe_load_all(text) if one]
    found["files"] = [top / f"{name}.yaml" for name in ("dev", "production", "gpu")]
    return found
