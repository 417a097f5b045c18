"""What the service tells of itself: metrics, logs, traces, drift."""

import http.server
import json
import threading
import time

import httpx
import numpy as np
import pytest
import torch
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from processes import Served, question
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from scipy import stats

import acie
from acie.serving.drift import _BINS, _MEMORY, DriftMonitor
from acie.serving.history import SECONDS, History
from acie.serving.metrics import Meters

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(http.server.BaseHTTPRequestHandler):
    """An OTLP collector over real HTTP."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        assert self.path == "/v1/traces"
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            facts = {a.key: a.value.string_value for a in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.server.spans += [(facts, span) for span in scope.spans]
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A service that was asked, and all that it told: answers, collector, process."""
    collector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    collector.spans = []
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    environment = {
        "ACIE_TELEMETRY__OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "ACIE_SERVER__NOTICE_S": "0",
    }
    with Served(tmp_path_factory.mktemp("told"), **environment) as one:
        url = "/api/v2/inference/counterfactual"
        with httpx.Client(base_url=one.url, timeout=60.0) as client:
            head = {"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-ID": "first"}
            answers = [client.post(url, json=question(), headers=head)]
            answers += [client.post(url, json=question(), headers={"X-Request-ID": "again"})]
            refused = question() | {"intervention": "age=99"}
            answers += [client.post(url, json=refused)]
            texts = {
                kind: client.get("/metrics", headers={"Accept": kind})
                for kind in ("text/plain", "application/openmetrics-text; version=1.0.0")
            }
            dashboard = client.get("/api/metrics").json()
        assert one.stop() == 0
        yield answers, texts, dashboard, one.lines, collector.spans
    collector.shutdown()
    collector.server_close()


def samples_of(text: str) -> dict[tuple, float]:
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def total(samples: dict[tuple, float], name: str, **labels: str) -> float:
    wanted = set(labels.items())
    return sum(v for k, v in samples.items() if k[0] == name and wanted <= set(k[1:]))


def test_metrics_say_what_happened(told):
    answers, texts, dashboard, _, _ = told
    assert [found.status_code for found in answers] == [200, 200, 422]
    found = samples_of(texts["text/plain"].text)
    name = "acie_inference_requests_total"
    assert total(found, name, transport="rest", model="galaxy-v1", outcome="ok") == 2
    assert total(found, name) == 3
    assert total(found, "acie_inference_latency_seconds_count", transport="rest") == 3
    assert total(found, "acie_cache_requests_total", source="computed") == 1
    assert total(found, "acie_cache_requests_total", source="memory") == 1
    assert total(found, "acie_batch_size_sum") == 1
    stages = {dict(key[1:])["stage"] for key in found if key[0] == "acie_stage_seconds_count"}
    assert stages == {"decode", "queue", "abduct", "predict", "encode"}
    assert total(found, "acie_calls_total", status="422") == 1
    assert total(found, "acie_confidence_count") == 2
    assert total(found, "acie_ready") == 1
    assert total(found, "acie_build_info") == 1
    assert total(found, "acie_model_accuracy", metric="spectral_loss") != 0
    assert total(found, "process_resident_memory_bytes") > 1e8
    for family in ("acie_gpu_utilization_percent", "acie_posterior_drift"):
        assert f"# TYPE {family} gauge" in texts["text/plain"].text
    strict = texts["application/openmetrics-text; version=1.0.0"]
    families = {f.name for f in openmetrics.text_string_to_metric_families(strict.text)}
    assert {"acie_inference_requests", "acie_queue_depth"} <= families
    assert dashboard["requests"]["outcomes"]["ok"] == 2
    assert dashboard["cache"]["hit_ratio"] == 0.5
    assert dashboard["models"][0]["name"] == "galaxy-v1"
    assert 0 < dashboard["latency_ms"]["p50"] <= dashboard["latency_ms"]["p99"]


def test_logs_and_spans_tell_of_the_same_request(told):
    _, _, _, lines, spans = told
    asked = {
        line["http"]["request"]["id"]: line
        for line in lines
        if line["message"] == "request" and line["url"]["path"].startswith("/api/v2/inference")
    }
    assert asked["first"]["trace"]["id"] == TRACE
    assert all(facts["service.name"] == "acie" for facts, _ in spans)
    roots = {span.trace_id.hex(): span for _, span in spans if span.kind == Span.SPAN_KIND_SERVER}
    first = roots[TRACE]
    assert first.parent_span_id.hex() == PARENT
    assert first.name == "POST /api/v2/inference/counterfactual"
    again = roots[asked["again"]["trace"]["id"]]
    assert again.parent_span_id == b""
    children = [span for _, span in spans if span.parent_span_id == first.span_id]
    assert [one.name for one in sorted(children, key=lambda s: s.start_time_unix_nano)] == [
        "decode", "queue", "abduct", "predict", "encode",
    ]  # fmt: skip
    for child in children:
        assert child.trace_id == first.trace_id
        assert first.start_time_unix_nano <= child.start_time_unix_nano
        assert child.end_time_unix_nano <= first.end_time_unix_nano
    # What the caller did wrong is no error of the service.
    assert not any(span.status.code == Status.STATUS_CODE_ERROR for _, span in spans)
    assert abs(first.end_time_unix_nano / 1e9 - time.time()) < 600
    assert json.dumps(lines)


def test_a_collector_that_is_gone_is_no_trouble(tmp_path):
    from acie.serving.request import RequestContext
    from acie.serving.tracing import Tracer

    tracer = Tracer("http://127.0.0.1:9")
    tracer.record(RequestContext("rest"), "x", {}, False)
    start = time.monotonic()
    tracer.close()
    assert time.monotonic() - start < 15.0


@pytest.fixture(scope="module")
def population():
    """3000 galaxies of the training population, one draw each: what posteriors average to."""
    scm = acie.load("galaxy-v1").scm
    generator = torch.Generator().manual_seed(1)
    redshift = 0.005 + 0.595 * torch.rand(3000, generator=generator, dtype=torch.float64)
    values, _ = scm.sample((3000,), given={"redshift": redshift}, generator=generator)
    return scm, redshift, values


def drift_of(scm, redshift, values) -> dict[str, float]:
    monitor = DriftMonitor(scm, (0.005, 0.6))
    monitor.add({name: value[None] for name, value in values.items()}, redshift)
    return monitor.index()


def test_the_training_population_does_not_drift(population):
    scm, redshift, values = population
    found = drift_of(scm, redshift, values)
    # With one draw per galaxy the index times the effective number of galaxies is nearly
    # chi-squared with bins - 1 degrees of freedom; cells of redshift add a little.
    weights = (1 - 1 / _MEMORY) ** np.arange(3000)
    effective = weights.sum() ** 2 / (weights**2).sum()
    limit = stats.chi2.ppf(1 - 1e-4 / len(found), _BINS - 1) / effective
    assert limit < 0.05
    assert max(found.values()) < limit, found


def test_other_galaxies_drift_and_other_redshifts_do_not(population):
    scm, redshift, values = population
    heavier = values | {"stellar_mass": values["stellar_mass"] * 3.0}
    found = drift_of(scm, redshift, heavier)
    assert found["stellar_mass"] > 0.25
    assert max(v for name, v in found.items() if name != "stellar_mass") < 0.1
    near = redshift < 0.1
    assert max(drift_of(scm, redshift[near], {k: v[near] for k, v in values.items()}).values()) < (
        0.2)  # fmt: skip


def test_few_galaxies_say_nothing(population):
    scm, redshift, values = population
    assert drift_of(scm, redshift[:20], {k: v[:20] for k, v in values.items()}) == {}


def test_recent_quantiles_are_those_of_the_bucket():
    now = 1000.0
    recent = History(lambda: now)
    rng = np.random.default_rng(0)
    seconds = rng.lognormal(-3.0, 1.0, 4000)
    for one in seconds:
        recent.add(one)
    edges = np.array([0.0, *SECONDS])
    for level, found in zip((0.5, 0.9, 0.99), recent.quantiles(0.5, 0.9, 0.99), strict=True):
        true = np.quantile(seconds, level)
        place = np.searchsorted(edges, true)
        assert edges[place - 1] <= found <= edges[place]
    now += 30.0
    assert recent.rate() == pytest.approx(4000 / 30.0)
    now += 400.0
    assert recent.rate() == 0.0
    assert recent.quantiles(0.5) == [None]


def test_two_services_do_not_share_metrics():
    first, second = Meters(), Meters()
    first.batch(4, 0.1)
    assert (first.value("acie_batch_size_sum"), second.value("acie_batch_size_sum")) == (4.0, 0.0)
