"""The manifests: valid, closed, and in agreement with the code that they run."""

import inspect
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from servers import free_port, program

import acie
from acie.serving.settings import Settings
from acie.serving.storage.journal import InferenceJournal

ROOT = Path(__file__).parents[2]
K8S = ROOT / "deploy" / "k8s"
VARIANTS = ("dev", "production", "gpu")
FILES = sorted(K8S.rglob("*.yaml"))
TEMPLATE = yaml.safe_load((K8S / "secret.template.yaml").read_text())


def one(objects, kind, name="acie"):
    found = [x for x in objects if (x["kind"], x["metadata"]["name"]) == (kind, name)]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]


def all_of(objects, kind):
    return [x for x in objects if x["kind"] == kind]


def pods(objects):
    return {
        f"{x['kind']} {x['metadata']['name']}": x["spec"]["template"]
        for x in objects
        if x["kind"] in ("Deployment", "StatefulSet", "Job")
    }


def container(objects, kind="Deployment", name="acie"):
    return one(objects, kind, name)["spec"]["template"]["spec"]["containers"][0]


def settings_of(objects):
    """The variables of the ConfigMap that the service reads."""
    (source,) = container(objects)["envFrom"]
    return one(objects, "ConfigMap", source["configMapRef"]["name"])["data"]


def environment(objects, kind="Deployment", name="acie"):
    """What the container sees, with invented secrets and the node's ``$(NAME)`` filled in."""
    found = dict(settings_of(objects)) if kind == "Deployment" else {}
    for entry in container(objects, kind, name)["env"]:
        if "value" in entry:
            value = re.sub(r"\$\((\w+)\)", lambda m: found[m[1]], entry["value"])
        elif "secretKeyRef" in entry["valueFrom"]:
            reference = entry["valueFrom"]["secretKeyRef"]
            assert reference["name"] == TEMPLATE["metadata"]["name"]
            assert reference["key"] in TEMPLATE["stringData"]
            value = f"secret-of-{reference['key']}-" + "x" * 32
        else:
            value = "2"
        found[entry["name"]] = value
    return found


# The manifests by themselves.


def test_kubernetes_accepts_all_of_it(rendered):
    checker = Path(sys.executable).with_name("kubernetes-validate")
    files = [*rendered["files"], K8S / "secret.template.yaml"]
    done = subprocess.run(
        [str(checker), "--strict", "--quiet", *map(str, files)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_misspelt_field_would_be_seen(rendered, tmp_path):
    broken = json.loads(json.dumps(one(rendered["production"], "Deployment")))
    broken["spec"]["template"]["spec"]["terminationGracePeriod"] = 45
    file = tmp_path / "broken.yaml"
    file.write_text(yaml.safe_dump(broken))
    checker = Path(sys.executable).with_name("kubernetes-validate")
    done = subprocess.run([str(checker), "--strict", str(file)], capture_output=True, text=True)
    assert done.returncode != 0
    assert "terminationGracePeriod" in done.stdout + done.stderr


@pytest.mark.parametrize("variant", VARIANTS)
def test_pods_are_restricted(rendered, variant):
    """What the level "restricted" of the Pod Security Standards asks, and read-only roots."""
    objects = rendered[variant]
    labels = all_of(objects, "Namespace")[0]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert len(pods(objects)) == 4
    for name, template in pods(objects).items():
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        # Variables such as ACIE_PORT, made for a service named acie, would be taken for settings.
        assert spec["enableServiceLinks"] is False, name
        assert one(objects, "ServiceAccount", spec["serviceAccountName"])
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), name
        allowed = {"configMap", "emptyDir", "persistentVolumeClaim"}
        assert all(set(volume) - {"name"} <= allowed for volume in spec.get("volumes", ())), name
        for part in spec["containers"]:
            own = part["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, name
            assert own["readOnlyRootFilesystem"] is True, name
            assert own["capabilities"] == {"drop": ["ALL"]}, name
            assert set(part["resources"]["limits"]) >= {"cpu", "memory"}, name
            assert set(part["resources"]["requests"]) >= {"cpu", "memory"}, name
    assert all(x["automountServiceAccountToken"] is False
               for x in all_of(objects, "ServiceAccount"))  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_selectors_find_their_pods(rendered, variant):
    objects = rendered[variant]
    labels = {name: template["metadata"]["labels"] for name, template in pods(objects).items()}

    def chosen(selector):
        return [name for name, own in labels.items() if selector.items() <= own.items()]

    for x in all_of(objects, "Service"):
        (name,) = chosen(x["spec"]["selector"])
        template = pods(objects)[name]
        named = {port["name"] for part in template["spec"]["containers"] for port in part["ports"]}
        assert {port["targetPort"] for port in x["spec"]["ports"]} <= named
    for x in all_of(objects, "PodDisruptionBudget"):
        assert chosen(x["spec"]["selector"]["matchLabels"]) == ["Deployment acie"]
    for x in one(objects, "Deployment")["spec"]["template"]["spec"]["topologySpreadConstraints"]:
        assert chosen(x["labelSelector"]["matchLabels"]) == ["Deployment acie"]
    for x in all_of(objects, "NetworkPolicy"):
        assert chosen(x["spec"]["podSelector"].get("matchLabels", {}))


def reach(objects, direction, peer, name):
    """Ports on which a policy lets pods of ``name`` talk to, or be talked to by, ``peer``."""
    side, key = ("to", "egress") if direction == "egress" else ("from", "ingress")
    found = set()
    for x in all_of(objects, "NetworkPolicy"):
        selector = x["spec"]["podSelector"].get("matchLabels", {})
        if selector not in ({}, {"app.kubernetes.io/name": name}):
            continue
        for rule in x["spec"].get(key, ()):
            if peer in rule[side]:
                found |= {port["port"] for port in rule["ports"]}
    return found


def app(name):
    return {"podSelector": {"matchLabels": {"app.kubernetes.io/name": name}}}


def space(name):
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_network_is_closed_but_for_what_is_program(rendered, variant):
    objects = rendered[variant]
    closed = one(objects, "NetworkPolicy", "deny-all")["spec"]
    assert closed == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for name in ("acie", "acie-migrate"):
        assert reach(objects, "egress", app("acie-postgres"), name) == {5432}
        assert reach(objects, "ingress", app(name), "acie-postgres") == {"postgres"}
    assert reach(objects, "egress", app("acie-redis"), "acie") == {6379}
    assert reach(objects, "ingress", app("acie"), "acie-redis") == {"redis"}
    assert reach(objects, "ingress", app("acie-migrate"), "acie-redis") == set()
    assert reach(objects, "ingress", space("ingress-nginx"), "acie") == {"http", "grpc"}
    assert reach(objects, "ingress", space("monitoring"), "acie") == {"http"}
    assert reach(objects, "egress", space("monitoring"), "acie") == {4318}
    dns = space("kube-system") | {"podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}
    for name in ("acie", "acie-migrate", "acie-postgres", "acie-redis"):
        assert reach(objects, "egress", dns, name) == {53}
        for policy in all_of(objects, "NetworkPolicy"):
            for rule in (*policy["spec"].get("ingress", ()), *policy["spec"].get("egress", ())):
                assert rule.get("ports"), policy["metadata"]["name"]
                assert rule.get("from") or rule.get("to"), policy["metadata"]["name"]


def test_no_secret_is_in_the_manifests(rendered):
    for variant in VARIANTS:
        assert all_of(rendered[variant], "Secret") == []
    assert set(TEMPLATE["stringData"].values()) == {"CHANGE-ME"}
    for name, template in pods(rendered["production"]).items():
        for part in template["spec"]["containers"]:
            for entry in part.get("env", ()):
                secret = re.search("PASSWORD|SECRET", entry["name"])
                assert not (secret and "value" in entry), name


def test_overlays_differ_where_they_should(rendered):
    dev, production, gpu = (rendered[variant] for variant in VARIANTS)
    assert all_of(dev, "Namespace")[0]["metadata"]["name"] == "acie-dev"
    assert all_of(dev, "HorizontalPodAutoscaler") == all_of(dev, "PodDisruptionBudget") == []
    assert one(dev, "Deployment")["spec"]["replicas"] == 1
    assert all_of(production, "Namespace")[0]["metadata"]["name"] == "acie"
    assert "replicas" not in one(production, "Deployment")["spec"]
    assert one(production, "HorizontalPodAutoscaler")["spec"]["minReplicas"] == 3
    claim = one(production, "PersistentVolumeClaim", "acie-models")["spec"]
    assert claim["accessModes"] == ["ReadWriteMany"]
    assert all("tls" in x["spec"] for x in all_of(production, "Ingress"))
    assert container(gpu)["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in container(production)["resources"]["limits"]
    for objects in (dev, production, gpu):
        spaces = {x["metadata"].get("namespace") for x in objects if x["kind"] != "Namespace"}
        assert spaces == {all_of(objects, "Namespace")[0]["metadata"]["name"]}


# The manifests and the code.


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_settings_are_ones_that_the_service_has(rendered, variant, monkeypatch):
    given = environment(rendered[variant])
    for name in [name for name in os.environ if name.startswith("ACIE_")]:
        monkeypatch.delenv(name)
    known = {
        f"ACIE_{section}__{name}".upper()
        for section, field in Settings.model_fields.items()
        for name in field.annotation.model_fields
    }
    assert {name for name in given if name.startswith("ACIE_")} <= known
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = Settings.read()
    assert settings.server.host == "0.0.0.0"
    assert settings.auth.enabled
    assert not settings.server.insecure
    assert not settings.database.migrate
    services = {x["metadata"]["name"] for x in all_of(rendered[variant], "Service")}
    for secret, port in ((settings.database.url, 5432), (settings.cache.url, 6379)):
        url = re.fullmatch(r"\w+://(\w*):([\w-]+)@([\w-]+):(\d+)/\w+", secret.get_secret_value())
        assert url[3] in services
        assert int(url[4]) == port
        assert url[2].startswith("secret-of-")
    mounts = {mount["mountPath"] for mount in container(rendered[variant])["volumeMounts"]}
    assert str(settings.inference.models_folder) in mounts
    assert mounts >= {"/tmp", "/var/lib/acie"}


def test_a_service_with_the_placeholder_does_not_start(rendered, monkeypatch):
    from acie.errors import ConfigurationError

    for name, value in environment(rendered["production"]).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ACIE_AUTH__SECRET", TEMPLATE["stringData"]["auth-secret"])
    with pytest.raises(ConfigurationError, match="32 random bytes"):
        Settings.read()


def test_the_migration_asks_the_database_of_the_service(rendered):
    objects = rendered["production"]
    job = environment(objects, "Job", "acie-migrate")
    assert job["ACIE_DATABASE__URL"] == environment(objects)["ACIE_DATABASE__URL"]
    assert container(objects, "Job", "acie-migrate")["image"] == container(objects)["image"]
    assert container(objects, "Job", "acie-migrate")["args"][0] == "migrate"


@pytest.mark.parametrize("variant", VARIANTS)
def test_ports_are_those_of_the_service(rendered, variant):
    objects = rendered[variant]
    settings = settings_of(objects)
    ports = {port["name"]: port["containerPort"] for port in container(objects)["ports"]}
    assert ports == {"http": 8080, "grpc": 50051}
    assert int(settings["ACIE_SERVER__PORT"]) == ports["http"]
    assert int(settings["ACIE_SERVER__GRPC_PORT"]) == ports["grpc"]
    marks = one(objects, "Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert marks == {
        "prometheus.io/scrape": "true", "prometheus.io/port": "8080",
        "prometheus.io/path": "/metrics",
    }  # fmt: skip


def routes():
    return set(json.loads((ROOT / "contracts" / "openapi.json").read_text())["paths"])


def test_probes_ask_for_what_the_service_has(rendered):
    part = container(rendered["production"])
    asked = {name: part[name]["httpGet"] for name in
             ("startupProbe", "livenessProbe", "readinessProbe")}  # fmt: skip
    assert {probe["path"] for probe in asked.values()} <= routes()
    assert {probe["port"] for probe in asked.values()} == {"http"}
    # A replica that is about to stop, or waits for its models, is not to be killed.
    assert asked["readinessProbe"]["path"] == "/health/ready"
    assert asked["livenessProbe"]["path"] == asked["startupProbe"]["path"] == "/health/live"


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_grace_period_covers_the_drain(rendered, variant):
    objects = rendered[variant]
    settings = settings_of(objects)
    spec = one(objects, "Deployment")["spec"]["template"]["spec"]
    writes = inspect.signature(InferenceJournal.close).parameters["patience_s"].default
    notice = float(settings["ACIE_SERVER__NOTICE_S"])
    needs = notice + float(settings["ACIE_SERVER__DRAIN_S"]) + writes
    assert needs <= spec["terminationGracePeriodSeconds"] <= needs + 30
    # Two failed looks at /health/ready fit into the notice, and the server needs no preStop hook.
    probe = spec["containers"][0]["readinessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] < notice
    assert "lifecycle" not in spec["containers"][0]


def test_the_ingress_lets_in_all_but_the_metrics(rendered):
    rest = one(rendered["production"], "Ingress", "acie-rest")["spec"]["rules"][0]["http"]["paths"]
    prefixes = [x["path"] for x in rest if x["pathType"] == "Prefix"]
    exact = [x["path"] for x in rest if x["pathType"] == "Exact"]

    def inside(route):
        return route in exact or any(f"{route}/".startswith(f"{p}/") for p in prefixes)

    assert {route for route in routes() if not inside(route)} == {"/metrics"}
    assert all(inside(route) for route in ("/docs", "/openapi.json", "/dashboard"))


def test_the_ingress_knows_the_services_of_grpc(rendered):
    from grpc_health.v1 import health
    from grpc_reflection.v1alpha import reflection

    from acie.serving.rpc._generated import acie_pb2

    own = acie_pb2.DESCRIPTOR.services_by_name["ACIEInference"].full_name
    ingress = one(rendered["production"], "Ingress", "acie-grpc")
    paths = {x["path"] for x in ingress["spec"]["rules"][0]["http"]["paths"]}
    assert paths == {f"/{own}", f"/{health.SERVICE_NAME}", f"/{reflection.SERVICE_NAME}"}
    notes = ingress["metadata"]["annotations"]
    assert notes["nginx.ingress.kubernetes.io/backend-protocol"] == "GRPC"


def test_limits_of_the_ingress_are_those_of_the_service(rendered):
    notes = one(rendered["production"], "Ingress", "acie-rest")["metadata"]["annotations"]
    settings = Settings()
    size = notes["nginx.ingress.kubernetes.io/proxy-body-size"]
    assert int(size.removesuffix("m")) * 2**20 == settings.server.max_body_bytes
    patience = float(notes["nginx.ingress.kubernetes.io/proxy-read-timeout"])
    assert patience > settings.server.timeout_s


def test_autoscaling_asks_for_a_metric_that_is_counted(rendered, tmp_path):
    scaler = one(rendered["production"], "HorizontalPodAutoscaler")["spec"]
    kinds = {metric["type"]: metric for metric in scaler["metrics"]}
    assert kinds["Resource"]["resource"]["name"] == "cpu"
    name = kinds["Pods"]["pods"]["metric"]["name"]
    source = (ROOT / "src" / "acie" / "serving" / "resources.py").read_text()
    gauges = {f"acie_{found}" for found in re.findall(r"meters\.watch\(\s*\"(\w+)\"", source)}
    assert name in gauges
    target = float(kinds["Pods"]["pods"]["target"]["averageValue"])
    assert 0 < target < Settings().inference.queue

    (rule,) = yaml.safe_load((K8S / "prometheus-adapter" / "rules.yaml").read_text())["rules"]
    assert rule["name"]["as"] == name
    assert rule["seriesQuery"].startswith(f"{name}{{")
    labels = {"Series": name, "GroupBy": "pod", "LabelMatchers": 'namespace="acie",pod=~"acie-1"'}
    query = re.sub(r"<<\.(\w+)>>", lambda m: labels[m[1]], rule["metricsQuery"])
    file = tmp_path / "rules.yaml"
    named = [{"record": "acie:queue", "expr": query}, {"record": "acie:series",
                                                      "expr": rule["seriesQuery"]}]  # fmt: skip
    file.write_text(yaml.safe_dump({"groups": [{"name": "adapter", "rules": named}]}))
    done = subprocess.run(
        [program("promtool"), "check", "rules", str(file)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_images_have_versions_and_are_those_of_compose(rendered):
    images = {
        part["image"].rpartition(":")[0].rpartition("/")[2]: part["image"]
        for template in pods(rendered["production"]).values()
        for part in template["spec"]["containers"]
    }
    assert images["acie"] == f"acie:{acie.__version__}"
    assert container(rendered["gpu"])["image"] == f"acie:{acie.__version__}-cuda"
    compose = ROOT / "deploy" / "compose" / "docker-compose.production.yml"
    text = compose.read_text()
    assert images["postgres"] in text
    assert images["redis"] in text
    assert set(images) == {"acie", "postgres", "redis"}


def test_redis_starts_by_the_command_of_the_manifest(rendered, tmp_path):
    """The real server, with the real file and command; only port and folder are the test's."""
    program("redis-server")
    objects = rendered["production"]
    part = container(objects, "Deployment", "acie-redis")
    volumes = one(objects, "Deployment", "acie-redis")["spec"]["template"]["spec"]["volumes"]
    (name,) = [v["configMap"]["name"] for v in volumes if "configMap" in v]
    text = one(objects, "ConfigMap", name)["data"]["redis.conf"]
    port = free_port()
    file = tmp_path / "redis.conf"
    changed = text.replace("port 6379", f"port {port}").replace("dir /data", f"dir {tmp_path}")
    file.write_text(changed)
    command = [word.replace("/etc/acie-redis/redis.conf", str(file)) for word in part["command"]]
    password = "for-this-test-only"
    process = subprocess.Popen(
        command, env={"PATH": "/usr/bin:/bin", "CACHE_PASSWORD": password},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip

    def ask(*words, secret=password):
        return subprocess.run(
            ["redis-cli", "-p", str(port), *words], capture_output=True, text=True,
            env={"PATH": "/usr/bin:/bin", "REDISCLI_AUTH": secret},
        ).stdout  # fmt: skip

    try:
        end = time.monotonic() + 20
        while "PONG" not in ask("ping") and time.monotonic() < end:
            time.sleep(0.1)
        assert "NOAUTH" in ask("get", "x", secret="")
        assert "allkeys-lru" in ask("config", "get", "maxmemory-policy")
        assert str(2**30) in ask("config", "get", "maxmemory")
        # The server is the first process of its container, so that it gets the signal to stop.
        assert f"process_id:{process.pid}" in ask("info", "server")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_every_manifest_is_used(rendered):
    listed = set()
    for file in K8S.rglob("kustomization.yaml"):
        listed |= {(file.parent / name).resolve() for name in
                   yaml.safe_load(file.read_text()).get("resources", ())}  # fmt: skip
    plain = {file for file in FILES if file.name != "kustomization.yaml"}
    apart = {K8S / "secret.template.yaml", K8S / "prometheus-adapter" / "rules.yaml"}
    assert plain - apart <= listed
