"""What the files of deployment say of ACIE, all of them together, is what the code says."""

import json
import re
from pathlib import Path

import pytest

import acie
from acie.serving.metrics import Meters
from acie.serving.settings import Settings

ROOT = Path(__file__).parents[2]
FOLDERS = ("deploy", ".github")


def texts():
    """Every file of deployment by its name."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file():
                yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")


def settings():
    """Names of all environment variables of the service."""
    return {
        f"ACIE_{section}__{name}".upper(): field
        for section, model in Settings.model_fields.items()
        for name, field in model.annotation.model_fields.items()
    }


def test_variables_of_the_service_are_settings_that_it_has():
    known, seen = settings(), set()
    for name, text in texts():
        for variable in re.findall(r"\bACIE_[A-Z0-9]+__[A-Z0-9_]+", text):
            assert variable.removesuffix("_FILE") in known, f"{name}: {variable}"
            seen.add(variable)
    assert len(seen) > 10


def test_other_variables_are_read_by_somebody():
    """By the code, its build, compose, which fills in ``${ACIE_IMAGE}``, or a workflow."""
    sources = [ROOT / "setup.py", *(ROOT / "src").rglob("*.py")]
    code = "\n".join(path.read_text("utf-8") for path in sources)
    for name, text in texts():
        for variable in set(re.findall(r"\bACIE_(?!\w*__)[A-Z0-9_]+\b", text)):
            read = f"${{{variable}" in text or f'"{variable}"' in code
            read = read or f"vars.{variable}" in text
            # Kubernetes makes it for every service of that name; the manifest says why not here.
            assert read or variable == "ACIE_PORT", f"{name}: {variable}"


@pytest.fixture(scope="module")
def families():
    """Names under which a service counts, as Prometheus stores them."""
    found = set()
    for family in Meters().registry.collect():
        found |= {family.name, *(sample.name for sample in family.samples)}
        if family.type == "counter":
            found.add(f"{family.name}_total")
        if family.type == "histogram":
            found |= {f"{family.name}_{end}" for end in ("bucket", "count", "sum")}
    return found


def test_metrics_are_counted_by_the_service(families):
    # Gauges that resources add once they are open, and those of parts that may be missing.
    source = "\n".join(
        path.read_text("utf-8") for path in (ROOT / "src/acie/serving").rglob("*.py")
    )
    seen = set()
    for name, text in texts():
        if not name.startswith(("deploy/monitoring", "deploy/k8s")):
            continue
        for metric in set(re.findall(r"\bacie_[a-z_]+[a-z]\b(?=[{\[ )\"]|$)", text)):
            base = re.sub(r"_(total|bucket|count|sum)$", "", metric)
            named = f'"{base}"' in source or f'"{base.removeprefix("acie_")}"' in source
            assert metric in families or named, f"{name}: {metric}"
            seen.add(metric)
    assert len(seen) > 15


def test_ports_paths_and_the_image_are_the_same_everywhere():
    server = Settings().server
    files = dict(texts())
    docker = files["deploy/docker/Dockerfile.production"]
    assert re.search(rf"^EXPOSE {server.port} {server.grpc_port}$", docker, re.M)
    says = {
        "deploy/compose/docker-compose.production.yml": (server.port, server.grpc_port),
        "deploy/compose/nginx/replicas.conf": (server.port, server.grpc_port),
        "deploy/k8s/base/deployment.yaml": (server.port, server.grpc_port),
        "deploy/k8s/base/service.yaml": (server.port, server.grpc_port),
        "deploy/monitoring/prometheus/prometheus.yml": (server.port,),
    }
    for name, ports in says.items():
        for port in ports:
            assert re.search(rf"\b{port}\b", files[name]), f"{name}: {port}"
    paths = set(json.loads((ROOT / "contracts/openapi.json").read_text("utf-8"))["paths"])
    for name, text in files.items():
        for path in re.findall(r"/health(?:/\w+)?\b|/metrics\b", text):
            # Grafana's and MLflow's own are theirs; Prometheus and others have /metrics too.
            if path == "/health" and "mlflow" in text:
                continue
            assert path in paths, f"{name}: {path}"
    tag = f"acie:{acie.__version__}"
    for name in ("deploy/compose/docker-compose.production.yml",
                 "deploy/k8s/base/kustomization.yaml"):  # fmt: skip
        text = files[name].replace("newTag: ", "acie:").replace('"', "")
        assert tag in text, name
    assert f"VERSION={acie.__version__}" in docker
