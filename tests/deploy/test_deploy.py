"""``acie deploy`` with the real kubectl, against a server that speaks what kubectl asks of it."""

import base64
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from api_server import ApiServer

from acie.cli import main
from acie.deploying import (
    Deployment,
    Kubectl,
    manifests_folder,
    render_kubernetes,
    settle_secret,
)
from acie.deploying.readiness import state_of, troubles
from acie.errors import ConfigurationError, ManifestError, ProgramMissing

ROOT = Path(__file__).parents[2]
HOST, IMAGE = "acie.observatory.edu", "registry.example.org/acie:0.1.0"


@pytest.fixture
def api(tmp_path, monkeypatch, kubectl):
    server = ApiServer(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig))
    # kubectl keeps what it learnt of a server by its port, which the next test's may have.
    monkeypatch.setenv("KUBECACHEDIR", str(tmp_path / "kube"))
    yield server
    server.close()


def deploy(capsys, *arguments):
    """Exit code, standard output and standard error."""
    capsys.readouterr()
    code = main(["deploy", *map(str, arguments)])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, captured.out, captured.err


def filled(tmp_path, **changed):
    """A filled copy of the template of the Secret."""
    content = yaml.safe_load((manifests_folder() / "k8s" / "secret.template.yaml").read_text())
    content["stringData"] = {
        name: f"filled-{name}-{'x' * 32}" for name in content["stringData"]
    } | {name.replace("_", "-"): value for name, value in changed.items()}
    file = tmp_path / "secrets.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def image_of(api):
    spec = api.find("deployments", "acie")["spec"]["template"]["spec"]
    return spec["containers"][0]["image"]


def test_a_release_its_successor_and_one_that_fails(api, capsys, tmp_path):
    """The life of a production: refused, made, compared, failed and back, failed half-way."""
    base = ("--host", HOST, "--timeout", "30", "--yes")
    code, _, err = deploy(capsys, *base, "--image", IMAGE)
    assert code == 2
    assert "--secrets" in err
    assert not api.writes

    secrets = filled(tmp_path)
    code, out, err = deploy(
        capsys, *base, "--image", IMAGE, "--secrets", secrets, "--replicas", 4,
        "--gpu-per-pod", 1, "--out", tmp_path / "render",
    )  # fmt: skip
    assert code == 0, err
    assert "+ deployment/acie" in out
    assert "deployment/acie: 4 of 4 replicas ready" in err
    order = [plural for plural, _, name in api.writes]
    assert order[0] == "namespaces"
    migrated = order.index("jobs")
    service = [key[2] for key in api.writes].index("acie", migrated)
    assert order.index("statefulsets") < migrated < service
    assert ("deployments", "acie", "acie") in api.writes[migrated:]
    assert api.find("horizontalpodautoscalers", "acie")["spec"]["minReplicas"] == 4
    spec = api.find("deployments", "acie")["spec"]["template"]
    limits = spec["spec"]["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "1"
    assert api.find("ingresses", "acie-grpc")["spec"]["rules"][0]["host"] == f"grpc.{HOST}"
    kept = api.find("secrets", "acie-secrets")["data"]["auth-secret"]
    value = base64.b64decode(kept).decode()
    assert value.startswith("filled-auth-secret")
    written = (tmp_path / "render" / "kubernetes.yaml").read_text()
    assert "filled-" not in written + out + err
    assert spec["metadata"]["annotations"]["acie/secrets"]

    # The same again: nothing differs, and a dry run changes nothing.
    before = len(api.writes)
    same = ("--image", IMAGE, "--replicas", 4, "--gpu-per-pod", 1)
    code, out, err = deploy(capsys, "--host", HOST, *same, "--dry-run")
    assert (code, out) == (0, "")
    assert "no differences" in err
    newer = IMAGE.replace("0.1.0", "0.2.0")
    code, out, _ = deploy(capsys, "--host", HOST, *same[2:], "--image", newer, "--dry-run")
    assert code == 0
    assert f"-        image: {IMAGE}" in out
    assert f"+        image: {newer}" in out
    assert len(api.writes) == before

    # A release whose pods do not come up is taken back.
    api.broken = {"acie:0.2.0"}
    api.objects.pop(("poddisruptionbudgets", "acie", "acie"))
    bad = tmp_path / "own"
    bad.mkdir()
    (bad / "kustomization.yaml").write_text(yaml.safe_dump({
        "resources": ["../production"],
        # The migration succeeds, so that the service itself is what fails.
        "patches": [{"target": {"kind": "Job"}, "patch": yaml.safe_dump([
            {"op": "replace", "path": "/spec/template/spec/containers/0/image",
             "value": "registry.example.org/migration:1"}])}],
    }))  # fmt: skip
    code, _, err = deploy(capsys, *base, *same[2:], "--image", newer, "--overlay", bad)
    assert code == 1
    assert "RolloutFailed: deployment/acie" in err
    assert "ImagePullBackOff" in err
    assert "The release before runs again" in err
    assert image_of(api) == IMAGE
    # What only the failed release had made is gone.
    assert api.find("poddisruptionbudgets", "acie") is None

    # A migration that fails: the service was not touched at all.
    touched = len([key for key in api.writes if key == ("deployments", "acie", "acie")])
    code, _, err = deploy(capsys, *base, *same[2:], "--image", newer)
    assert code == 1
    assert "job/acie-migrate" in err
    assert "BackoffLimitExceeded" in err
    assert image_of(api) == IMAGE
    now = len([key for key in api.writes if key == ("deployments", "acie", "acie")])
    assert now == touched


def test_development_makes_its_secrets_once(api, capsys):
    run = ("--overlay", "dev", "--yes", "--timeout", "30")
    code, _, err = deploy(capsys, *run)
    assert code == 0, err
    made = api.find("secrets", "acie-secrets", "acie-dev")["data"]
    values = {base64.b64decode(value).decode() for value in made.values()}
    assert len(values) == len(made) == 3
    assert all(len(value) == 64 for value in values)
    assert not any(value in err for value in values)
    # The second time they are kept; a cluster that refuses an object changes nothing before.
    api.refused = {"acie"}
    writes = len(api.writes)
    code, _, err = deploy(capsys, *run, "--replicas", 2)
    assert code == 2
    assert "exceeded quota" in err
    assert len(api.writes) == writes
    assert api.find("secrets", "acie-secrets", "acie-dev")["data"] == made
    # A Secret that somebody made of the template as it is.
    api.refused = set()
    placeholder = base64.b64encode(b"CHANGE-ME").decode()
    api.find("secrets", "acie-secrets", "acie-dev")["data"]["cache-password"] = placeholder
    code, _, err = deploy(capsys, *run)
    assert code == 2
    assert "cache-password is the placeholder" in err


def test_a_first_release_that_fails_says_what_stays(api, capsys):
    api.broken = {"acie:0.1.0"}
    code, _, err = deploy(capsys, "--overlay", "dev", "--yes", "--timeout", "30")
    assert code == 1
    assert "first release" in err
    assert "kubectl delete namespace acie-dev" in err
    assert api.find("persistentvolumeclaims", "acie-models") is not None
    assert api.find("deployments", "acie") is None


def test_secrets_that_cannot_be(tmp_path):
    template = manifests_folder() / "k8s" / "secret.template.yaml"
    other = tmp_path / "other.yaml"
    other.write_text("kind: ConfigMap\n")
    broken = tmp_path / "broken.yaml"
    broken.write_text("kind: Secret\nstringData: {auth-secret: p@ss")
    for make, words in (
        (lambda: template, "auth-secret is the placeholder"),
        (lambda: filled(tmp_path, auth_secret="p@ss"), "auth-secret has fewer than 32 bytes"),
        (lambda: filled(tmp_path, database_password="p@ss/word:123456"), "letters, digits"),
        (lambda: filled(tmp_path, cache_password=""), "cache-password is missing"),
        (lambda: tmp_path / "none.yaml", "No such file"),
        (lambda: other, "something else"),
        (lambda: broken, "something else"),
    ):
        with pytest.raises(ConfigurationError) as error:
            settle_secret(make(), "production", None)
        assert words in str(error.value)
        assert "p@ss" not in str(error.value)
    made, there = settle_secret(filled(tmp_path), "production", None)
    assert made == there
    assert len(made) == 3


def test_no_cluster(capsys, tmp_path, monkeypatch, kubectl):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    code, _, err = deploy(capsys, "--overlay", "dev", "--yes")
    assert code == 2
    assert "ClusterUnreachable" in err
    assert "kubectl config get-contexts" in err
    # A dry run does what can be done without.
    code, _, err = deploy(capsys, "--dry-run", "--replicas", "3", "--gpu-per-pod", "1")
    assert code == 0
    assert "not compared with a cluster" in err
    assert "would be refused: --host" in err
    assert "rendered and checked" in err


def test_no_kubectl_or_an_old_one(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = deploy(capsys, "--dry-run")
    assert code == 2
    assert "ProgramMissing: kubectl" in err
    old = tmp_path / "kubectl"
    old.write_text("#!/bin/sh\necho '{\"clientVersion\": {\"gitVersion\": \"v1.20.2\"}}'\n")
    old.chmod(0o755)
    with pytest.raises(ProgramMissing, match=r"1\.27 or newer.*found 1\.20"):
        Kubectl()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--platform", "swarm"), "k8s or compose"),
        (("--image", "acie"), "with a tag or a digest"),
        (("--image", "acie:latest"), "always means the same"),
        (("--replicas", "0"), "1 to 1000"),
        (("--gpu-per-pod", "-1"), "0 to 16"),
        (("--namespace", "Not_One"), "a-z, 0-9"),
        (("--host", "localhost"), "a domain name"),
        (("--platform", "compose", "--host", "a.example"), "--platform k8s"),
        (("--platform", "compose", "--context", "x"), "--platform k8s"),
    ],
)
def test_options_that_cannot_be(arguments, words, capsys):
    code, _, err = deploy(capsys, *arguments)
    assert code == 2
    assert words in err


@pytest.mark.parametrize(
    ("image", "rendered"),
    [
        ("acie:1.0", "acie:1.0"),
        ("localhost:5000/a/acie:1.0-cuda", "localhost:5000/a/acie:1.0-cuda"),
        (f"ghcr.io/x/acie@sha256:{'0' * 64}", f"ghcr.io/x/acie@sha256:{'0' * 64}"),
        (f"ghcr.io/x/acie:1@sha256:{'a' * 64}", f"ghcr.io/x/acie@sha256:{'a' * 64}"),
    ],
)
def test_images_are_rendered_as_named(image, rendered, kubectl):
    objects = render_kubernetes(Deployment(image=image, overlay="dev"), Kubectl())
    used = {
        part["image"]
        for one in objects
        if one["metadata"]["name"].partition("-7")[0].startswith("acie")
        for part in one.get("spec", {}).get("template", {}).get("spec", {}).get("containers", ())
        if part["name"] in ("acie", "migrate")
    }
    assert used == {rendered}


def test_an_overlay_of_ones_own(tmp_path, kubectl):
    own = tmp_path / "observatory"
    own.mkdir()
    (own / "kustomization.yaml").write_text(yaml.safe_dump({
        "resources": ["../production"],
        "images": [{"name": "acie", "newName": "registry.example.org/other", "newTag": "3"}],
    }))  # fmt: skip
    chosen = Deployment(overlay=str(own), namespace="galaxies", replicas=20)
    objects = render_kubernetes(chosen, Kubectl())
    spaces = {one["metadata"].get("namespace") for one in objects} - {None}
    assert spaces == {"galaxies"}
    (scaler,) = [one for one in objects if one["kind"] == "HorizontalPodAutoscaler"]
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (20, 20)
    with pytest.raises(ManifestError, match="whatever --image says"):
        render_kubernetes(Deployment(overlay=str(own), image=IMAGE), Kubectl())
    (own / "kustomization.yaml").write_text("resources: [nothing.yaml]\n")
    with pytest.raises(ManifestError, match=r"nothing\.yaml"):
        render_kubernetes(Deployment(overlay=str(own)), Kubectl())
    with pytest.raises(ConfigurationError, match="dev, production"):
        render_kubernetes(Deployment(overlay=str(tmp_path / "none")), Kubectl())


def test_states_as_a_cluster_reports_them():
    live = {
        "kind": "Deployment", "metadata": {"generation": 2}, "spec": {"replicas": 3},
        "status": {"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3,
                   "availableReplicas": 3},
    }  # fmt: skip
    assert not state_of(live).done  # the state is that of the release before
    live["status"]["observedGeneration"] = 2
    assert state_of(live).done
    assert not state_of(live, least=5).done
    live["status"] |= {"replicas": 4}
    assert state_of(live).text == "3 of 3 replicas ready, 1 of the release before"
    assert not state_of(live).done
    assert not state_of(None).done
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                 "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."}  # fmt: skip
    crashed = {"state": {"waiting": {"reason": "CrashLoopBackOff"}},
               "lastState": {"terminated": {"exitCode": 2}}}  # fmt: skip
    pods = [{"status": {"conditions": [scheduled]}}, {"status": {"containerStatuses": [crashed]}}]
    text = troubles([*pods, *pods])
    assert text.count("Insufficient nvidia.com/gpu") == 1
    assert "CrashLoopBackOff:  (exit code 2)" in text


def test_a_wheel_brings_the_manifests(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "deploy"):
        path = ROOT / name
        (shutil.copytree if path.is_dir() else shutil.copy2)(path, source / name)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns(
        "*.safetensors", "*.egg-info", "__pycache__", "*.fits"))  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation",
         "--no-index", "-w", str(tmp_path), str(source)],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = tmp_path.glob("acie-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
        recorded = [name for name in archive.namelist() if name.endswith("RECORD")]
        record = archive.read(recorded[0]).decode()
    carried = tmp_path / "installed" / "acie" / "deploying" / "manifests"
    for path in (ROOT / "deploy" / "k8s").rglob("*"):
        if path.is_file():
            copy = carried / path.relative_to(ROOT / "deploy")
            assert copy.read_bytes() == path.read_bytes()
            assert str(copy.relative_to(tmp_path / "installed")) in record
    assert (carried / "compose" / "docker-compose.production.yml").is_file()
    assert not list(carried.rglob("secrets"))
    found = subprocess.run(
        [sys.executable, "-c", "import acie.deploying as d; print(d.manifests_folder())"],
        capture_output=True, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
    )  # fmt: skip
    assert found.stdout.strip() == str(carried), found.stderr
