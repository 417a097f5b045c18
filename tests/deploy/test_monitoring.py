"""Monitoring as it is deployed: files are valid, queries have answers, alerts fire and resolve.

A real Prometheus and Alertmanager watch a real ``acie serve``. They run a copy of the committed
configuration in which seconds stand for minutes and hours (``SHORT``) and receivers are a local
web server; everything else, every expression among it, is what is deployed.
"""

import functools
import importlib.util
import itertools
import json
import re
import signal
import subprocess
import threading
from pathlib import Path

import grpc
import httpx
import pytest
import yaml
from observers import Alertmanager, Prometheus, Receiver, read_yaml, until
from processes import Served, question
from servers import program, redis_server, running  # noqa: F401

from acie.serving.rpc._generated import acie_pb2, acie_pb2_grpc

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "monitoring"
RULES = sorted((FOLDER / "prometheus" / "rules").glob("*.yml"))
BOARDS = sorted((FOLDER / "grafana" / "dashboards").glob("*.json"))
#: What the windows of the rules are in the test's copy.
SHORT = {
    "5m": "10s", "10m": "10s", "15m": "12s", "30m": "12s", "1h": "15s", "6h": "15s", "1d": "20s",
}  # fmt: skip
#: Queries that have no answer on a machine without GPU and DCGM.
GPU = ("DCGM_", "acie_gpu_")
#: Has an answer only when it fires, which test_an_instance_that_hangs makes it do.
ABSENT = "AcieAllInstancesDown"


def tool(name: str, *arguments: object) -> str:
    """What a tool prints; it must succeed."""
    done = subprocess.run(
        [program(name), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def panel_queries() -> list[tuple[str, str]]:
    """Every panel's name and query."""
    return [
        (f"{path.stem}: {panel['title']}", target["expr"])
        for path in BOARDS
        for panel in json.loads(path.read_text("utf-8"))["panels"]
        for target in panel.get("targets", ())
    ]


@functools.cache
def alert_rules() -> list[dict]:
    return [
        rule
        for path in RULES
        for group in read_yaml(path)["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]


def filled(query: str) -> str:
    """A panel's query with Grafana's variables filled in."""
    return query.replace("$__rate_interval", "10s").replace("$instance", ".+")


def shortened(text: str) -> str:
    """Rules in which seconds stand for minutes and hours."""
    text = re.sub(r"\[(\w+)\]", lambda found: f"[{SHORT[found[1]]}]", text)
    text = text.replace("offset 1h", "offset 2s")
    return re.sub(r"for: \w+", "for: 1s", text)


def without_threshold(expression: str) -> str:
    """An alert's expression that answers 0 or 1 instead of nothing or something."""
    parts = re.split(r"(\{[^}]*\})", expression)
    for place in range(0, len(parts), 2):
        parts[place] = re.sub(r"(==|!=|>=|<=|>|<)", r"\1 bool", parts[place])
    return "".join(parts)


def test_prometheus_takes_its_files():
    tool("promtool", "check", "config", FOLDER / "prometheus" / "prometheus.yml")
    tool("promtool", "test", "rules", FOLDER / "prometheus" / "tests" / "alerts.yml")
    tested = {
        one["alertname"]
        for test in read_yaml(FOLDER / "prometheus" / "tests" / "alerts.yml")["tests"]
        for one in test["alert_rule_test"]
        if one["exp_alerts"]
    }
    parts = {rule["labels"]["part"] for rule in alert_rules() if rule["alert"] in tested}
    assert parts == {rule["labels"]["part"] for rule in alert_rules()}


def test_pods_are_found_by_their_annotations(tmp_path):
    """Debian's Prometheus has no discovery of Kubernetes: a file says what it would have found."""
    text = (FOLDER / "prometheus" / "prometheus-kubernetes.yml").read_text("utf-8")
    text = text.replace("kubernetes_sd_configs", "file_sd_configs")
    (tmp_path / "p.yml").write_text(text.replace("- role: pod", "- files: [pods.json]"))
    meta = "__meta_kubernetes_"
    pod = {
        f"{meta}pod_phase": "Running", f"{meta}namespace": "here", f"{meta}pod_name": "acie-1",
        f"{meta}pod_label_app_kubernetes_io_name": "acie", f"{meta}pod_node_name": "n1",
    }  # fmt: skip
    note = f"{meta}pod_annotation_prometheus_io_"
    told = {f"{note}scrape": "true", f"{note}port": "8080"}
    found = [
        {"targets": ["10.1.2.3:50051"], "labels": pod | told},
        {"targets": ["10.1.2.3:8080"], "labels": pod | told},
        {"targets": ["10.1.2.4:8080"], "labels": pod},
        {"targets": ["10.1.2.5:8080"], "labels": pod | told | {f"{meta}pod_phase": "Failed"}},
        {"targets": ["10.1.2.6"], "labels": pod | told | {f"{note}path": "/other"}},
    ]
    (tmp_path / "pods.json").write_text(json.dumps(found))
    (tmp_path / "rules").symlink_to(FOLDER / "prometheus" / "rules")
    tool("promtool", "check", "config", tmp_path / "p.yml")
    text = tool(
        "promtool", "check", "service-discovery", "--timeout=1s", tmp_path / "p.yml", "pods"
    )
    kept = {
        (one["labels"]["__address__"], one["labels"]["__metrics_path__"], one["labels"]["job"])
        for one in json.loads(text)
        if one.get("labels")
    }
    assert kept == {("10.1.2.3:8080", "/metrics", "acie"), ("10.1.2.6:8080", "/other", "acie")}


def test_alertmanager_tells_the_right_people():
    config = FOLDER / "alertmanager" / "alertmanager.yml"
    tool("amtool", "check-config", config)
    routes = functools.partial(tool, "amtool", "config", "routes", "test", "--config.file", config)
    assert routes("severity=critical").split() == ["page,channel"]
    assert routes("severity=warning").split() == ["channel"]
    # Secrets come from files: nothing in the file is one.
    text = config.read_text("utf-8")
    assert not re.search(r"(?m)^\s*(routing_key|api_url|slack_api_url|password|token):", text)
    assert text.count("_file: /run/secrets/") == 2


def test_every_query_is_valid(tmp_path):
    queries = {filled(query) for _, query in panel_queries()}
    rules = [{"record": f"panel:{i}", "expr": query} for i, query in enumerate(sorted(queries))]
    (tmp_path / "panels.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]})
    )
    assert f"{len(rules)} rules found" in tool(
        "promtool", "check", "rules", *RULES, tmp_path / "panels.yml"
    )


def test_dashboards_are_those_of_the_code():
    pytest.importorskip("grafana_foundation_sdk", reason="makes the dashboards")
    script = FOLDER / "grafana" / "make_dashboards.py"
    spec = importlib.util.spec_from_file_location("make_dashboards", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    committed = {path.name: path.read_text("utf-8") for path in BOARDS}
    assert committed == module.dashboards(), f"run: python {script.relative_to(ROOT)}, and commit"


def test_dashboards_are_whole():
    uids = []
    sources = read_yaml(FOLDER / "grafana" / "provisioning" / "datasources" / "prometheus.yml")
    assert {one["type"] for one in sources["datasources"]} == {"prometheus", "alertmanager"}
    for path in BOARDS:
        board = json.loads(path.read_text("utf-8"))
        uids.append(board["uid"])
        ids = [panel["id"] for panel in board["panels"]]
        assert len(ids) == len(set(ids))
        places = [panel["gridPos"] for panel in board["panels"]]
        for a, b in itertools.combinations(places, 2):
            apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
            assert apart or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert all(place["x"] + place["w"] <= 24 for place in places)
    assert len(set(uids)) == len(BOARDS) == 4


def test_every_alert_has_a_runbook():
    page = (ROOT / "docs" / "runbooks.md").read_text("utf-8")
    sections = re.findall(r"(?m)^### (Acie\w+)$", page)
    assert sorted(sections) == sorted(rule["alert"] for rule in alert_rules())
    for rule in alert_rules():
        link = rule["annotations"]["runbook_url"]
        assert link == f"{{{{ $externalLabels.docs }}}}/runbooks.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("critical", "warning")
    for section in page.split("\n### ")[1:]:
        for part in ("**Means.**", "**Look.**", "**Mend.**"):
            assert part in section, f"{section.splitlines()[0]} lacks {part}"


class Watched:
    """The service, those who watch it, and somebody who asks all the time."""

    def __init__(self, one, prometheus, alertmanager, receiver, redis):
        self.served, self.prometheus, self.alertmanager = one, prometheus, alertmanager
        self.receiver, self.redis = receiver, redis
        self._stop, self._turn = threading.Event(), itertools.count()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self.rest()

    def rest(self):
        """Ask no more."""
        self._stop.set()
        self._thread.join(60)

    def _ask(self):
        """Requests of every kind: new, repeated, refused, unknown, in lists, over gRPC."""
        path = "/api/v2/inference/counterfactual"
        unknown = question(samples=2)["observation"] | {"redshift": None}
        with (
            httpx.Client(base_url=self.served.url, timeout=60.0) as client,
            grpc.insecure_channel(f"127.0.0.1:{self.served.grpc_port}") as channel,
        ):
            stub = acie_pb2_grpc.ACIEInferenceStub(channel)
            while not self._stop.wait(0.2):
                turn = next(self._turn)
                try:
                    if turn < 4:  # enough galaxies for the drift
                        many = [question(samples=2) | {"intervention": f"age*=1.{turn}{i:02}"}
                                for i in range(16)]  # fmt: skip
                        client.post("/api/v2/inference/batch", json={"requests": many})
                    client.post(path, json=question(seed=turn, samples=2))
                    client.post(path, json=question(samples=2))
                    client.post(path, json=question() | {"intervention": "age=99"})
                    client.post(path, json=question() | {"model_version": "nobody"})
                    flagged = {"observation": unknown, "intervention": f"age*=1.{turn + 1}"}
                    client.post(path, json=question(samples=2) | flagged)
                    stub.ListModels(acie_pb2.ListModelsRequest(), timeout=10.0)
                except (httpx.HTTPError, grpc.RpcError):
                    continue  # while it hangs on purpose


def receivers_of(config: dict, url: str) -> dict:
    """The committed configuration of Alertmanager that tells a web server, and at once."""
    names = [one["name"] for one in config["receivers"]]
    del config["global"]["slack_api_url_file"]
    text = json.dumps(config["route"])
    for long in ("30s", "10s", "5m"):
        text = text.replace(f'"{long}"', '"1s"')
    hooks = [
        {"name": name, "webhook_configs": [{"url": f"{url}/{name}", "send_resolved": True}]}
        for name in names
    ]
    return config | {"route": json.loads(text), "receivers": hooks}


@pytest.fixture(scope="module")
def watched(tmp_path_factory, redis_server):  # noqa: F811
    for name in ("prometheus", "prometheus-alertmanager"):
        program(name)
    environment = {"ACIE_CACHE__URL": redis_server.url, "ACIE_TELEMETRY__CHECK_S": "0.3"}
    receiver = Receiver()
    manager = receivers_of(read_yaml(FOLDER / "alertmanager" / "alertmanager.yml"), receiver.url)
    with (
        Served(tmp_path_factory.mktemp("watched"), **environment) as one,
        running(Alertmanager(manager)) as alertmanager,
    ):
        config = read_yaml(FOLDER / "prometheus" / "prometheus.yml")
        config["global"] |= {
            "scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s",
        }  # fmt: skip
        config["alerting"]["alertmanagers"] = [
            {"static_configs": [{"targets": [f"127.0.0.1:{alertmanager.port}"]}]}
        ]
        config["scrape_configs"] = [
            {"job_name": "acie", "static_configs": [{"targets": [f"127.0.0.1:{one.port}"]}]}
        ]
        rules = {path.name: shortened(path.read_text("utf-8")) for path in RULES}
        with (
            running(Prometheus(config, rules)) as prometheus,
            Watched(one, prometheus, alertmanager, receiver, redis_server) as found,
        ):
            yield found
    receiver.close()


def test_every_panel_and_alert_has_data(watched):
    queries = {f"{name}: {query}": filled(query) for name, query in panel_queries()}
    queries |= {
        rule["alert"]: without_threshold(shortened(rule["expr"]))
        for rule in alert_rules()
        if rule["alert"] != ABSENT
    }
    queries = {k: v for k, v in queries.items() if not any(name in v for name in GPU)}
    assert len(queries) > 60

    def empty() -> list[str]:
        nonlocal queries
        # What had an answer once need not be asked again.
        queries = {k: v for k, v in queries.items() if not watched.prometheus.query(v)}
        return sorted(queries)

    try:
        until(lambda: not empty(), "answers to all queries", 240.0)
    except AssertionError:
        pytest.fail(f"no data: {json.dumps(queries, indent=1)}")
    unwell = [rule["name"] for rule in watched.prometheus.rules() if rule["health"] != "ok"]
    assert unwell == []
    for query in (filled(query) for _, query in panel_queries()):
        watched.prometheus.query(query)  # also those of GPUs are answered, with nothing
    watched.rest()


def test_a_cache_that_is_down_is_told_and_its_return_too(watched):
    assert "AcieCacheDown" not in watched.alertmanager.alerts()
    watched.redis.kill()
    try:
        until(lambda: watched.receiver.got("AcieCacheDown", "firing"), "the alert is told")
        assert watched.alertmanager.alerts()["AcieCacheDown"] == "active"
        message = watched.receiver.got("AcieCacheDown", "firing")[0]
        assert message["path"] == "/channel"
        note = message["alerts"][0]["annotations"]
        assert note["runbook_url"] == "docs/runbooks.md#aciecachedown"
        answer = httpx.get(f"{watched.served.url}/health/ready")
        assert answer.status_code == 200  # it goes on without
    finally:
        watched.redis.start()
    until(lambda: watched.receiver.got("AcieCacheDown", "resolved"), "its end is told")
    until(lambda: "AcieCacheDown" not in watched.alertmanager.alerts(), "the alert is gone")


def test_an_instance_that_hangs_is_told_and_hides_lesser_news(watched):
    process = watched.served.process
    process.send_signal(signal.SIGSTOP)
    try:
        until(lambda: watched.receiver.got(ABSENT, "firing"), "the alert is told")
        until(
            lambda: watched.alertmanager.alerts().get("AcieInstanceDown") == "suppressed",
            "that one instance is down is no news then",
        )
        assert {message["path"] for message in watched.receiver.got(ABSENT, "firing")} == {
            "/page", "/channel",
        }  # fmt: skip
    finally:
        process.send_signal(signal.SIGCONT)
    until(lambda: watched.receiver.got(ABSENT, "resolved"), "its end is told")
    until(lambda: "AcieInstanceDown" not in watched.alertmanager.alerts(), "it is up again")
