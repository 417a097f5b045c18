"""What the service counts, for Prometheus and for the dashboard.

Every application has its own registry, so that two of them in one process do not mix.
"""

__all__ = ["Meters", "dashboard"]

import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
    exposition,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from torch import Tensor

import acie
from acie.errors import ACIEError
from acie.serving.drift import DriftMonitor
from acie.serving.history import SECONDS, History
from acie.serving.problems import problem_of
from acie.serving.query import Answer
from acie.serving.registry import LoadedModel, ModelRegistry
from acie.serving.request import RequestContext

_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_TENTHS = tuple(round(0.1 * i, 1) for i in range(1, 11))


class Meters:
    """The metrics of one service."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.started = time.time()
        self.history = History()
        self._drift: dict[str, DriftMonitor] = {}

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"acie_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, edges: Iterable[float], *labels: str) -> Histogram:
            return Histogram(f"acie_{name}", text, labels, buckets=tuple(edges), registry=registry)

        self._requests = counter(
            "inference_requests", "Questions by how they ended.", "transport", "model", "outcome"
        )
        self._latency = histogram(
            "inference_latency_seconds", "From question to answer.", SECONDS, "transport"
        )
        self._calls = counter(
            "calls", "Calls by status; probes ask how it is.", "transport", "status", "kind"
        )
        self._stages = histogram("stage_seconds", "Parts of an answer.", SECONDS, "stage")
        self._batches = histogram("batch_size", "Galaxies computed together.", _SIZES)
        self._busy = histogram("batch_seconds", "Time the engine took for a batch.", SECONDS)
        self._confidence = histogram("confidence", "Importance efficiency.", _TENTHS, "model")
        self._flags = counter("quality_flags", "Answers that carry a flag.", "model", "flag")
        self.in_flight = Gauge("acie_in_flight", "Calls being answered.", registry=registry)
        build = Gauge("acie_build_info", "Versions.", ("version", "python", "torch"),
                      registry=registry)  # fmt: skip
        build.labels(acie.__version__, platform.python_version(), torch.__version__).set(1)
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        registry.register(_Gpus())
        registry.register(_Drift(self._drift))

    def question(
        self,
        request: RequestContext,
        model: str,
        seconds: float,
        answer: Answer | None,
        error: BaseException | None,
    ) -> None:
        """Count a question that was answered or not."""
        outcome = "ok" if error is None else "cancelled"
        if isinstance(error, Exception):
            known = isinstance(error, ACIEError)
            outcome = problem_of(error).kind if known else "internal-error"
        self._requests.labels(request.transport, model or "unknown", outcome).inc()
        self._latency.labels(request.transport).observe(seconds)
        self.history.add(
            seconds,
            outcome,
            confidence=None if answer is None else answer.confidence,
            flagged=answer is not None and bool(answer.quality),
            reused=answer is not None and answer.cached,
        )
        if answer is not None:
            self._confidence.labels(model).observe(answer.confidence)
            for flag in answer.quality:
                self._flags.labels(model, flag).inc()

    def call(self, request: RequestContext, status: str, probe: bool = False) -> None:
        """Count a call that has ended, and how long its parts took."""
        kind = "probe" if probe else "call"
        self._calls.labels(request.transport, status, kind).inc()
        for name, start, end in request.stages:
            self._stages.labels(name).observe(end - start)

    def batch(self, size: int, seconds: float) -> None:
        """Count a batch of the engine."""
        self._batches.observe(size)
        self._busy.observe(seconds)

    def look(self, queue: int) -> None:
        """Note for the history how much waits now, and the drift."""
        drift = [index for one in self.drift().values() for index in one.values()]
        calls = next(iter(self.in_flight.collect())).samples[0].value
        self.history.look(queue, calls, max(drift, default=None))

    def posterior(self, model: LoadedModel, values: dict[str, Tensor], redshift: Tensor) -> None:
        """Compare posterior draws, each ``(sample, batch)``, with the training population."""
        monitor = self._drift.get(model.digest)
        if monitor is not None:
            monitor.add(values, redshift)

    def follow_models(self, models: ModelRegistry) -> None:
        """Report what is known of the accuracy of loaded models."""
        self.registry.register(_Models(models))

    def follow_drift(self, model: LoadedModel) -> None:
        """Begin to compare answers of a model with the population it was trained on."""
        survey = model.engine.bundle.training.get("survey", {})
        low, high = survey.get("redshift", (0.005, 0.6))
        monitor = DriftMonitor(model.engine.scm, (float(low), float(high)))
        self._drift[model.digest] = monitor

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """A gauge ``acie_<name>`` that is read when asked for."""
        Gauge(f"acie_{name}", text, registry=self.registry).set_function(value)

    def watch_counts(
        self, name: str, text: str, label: str, values: Callable[[], Mapping[str, float]]
    ) -> None:
        """A counter ``acie_<name>_total`` with one label, read when asked for."""
        self.registry.register(_Kept(CounterMetricFamily, name, text, label, values))

    def watch_values(
        self, name: str, text: str, label: str, values: Callable[[], Mapping[str, float]]
    ) -> None:
        """Gauges ``acie_<name>`` with one label, read when asked for."""
        self.registry.register(_Kept(GaugeMetricFamily, name, text, label, values))

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """All metrics in the format of Prometheus or of OpenMetrics, and its name."""
        encode, kind = exposition.choose_encoder(accept)
        return encode(self.registry), kind

    def value(self, name: str, **labels: str) -> float | None:
        """The sum of a metric over all labels but those given; None where there is none."""
        found = [
            sample.value
            for metric in self.registry.collect()
            for sample in metric.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return sum(found) if found else None

    def by(self, name: str, label: str) -> dict[str, float]:
        """A metric summed over all labels but one."""
        found: dict[str, float] = {}
        for metric in self.registry.collect():
            for sample in metric.samples:
                if sample.name == name and label in sample.labels:
                    key = sample.labels[label]
                    found[key] = found.get(key, 0.0) + sample.value
        return found

    def drift(self) -> dict[str, dict[str, float]]:
        """The drift of every model by its digest."""
        return {digest: monitor.index() for digest, monitor in self._drift.items()}


class _Kept(Collector):
    """Counters or gauges that somebody else keeps."""

    def __init__(
        self,
        family: type[CounterMetricFamily] | type[GaugeMetricFamily],
        name: str,
        text: str,
        label: str,
        values: Callable[[], Mapping[str, float]],
    ) -> None:
        self._family, self._values = family, values
        self._facts = (f"acie_{name}", text, label)

    def collect(self) -> Iterator[Metric]:
        name, text, label = self._facts
        family = self._family(name, text, labels=[label])
        for key, value in self._values().items():
            family.add_metric([key], value)
        yield family


class _Models(Collector):
    """What the manifests of loaded models say was measured of them."""

    def __init__(self, models: ModelRegistry) -> None:
        self._models = models

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "acie_model_accuracy",
            "What was measured of a model when it was made, from its manifest.",
            labels=["model", "version", "metric"],
        )
        for model in self._models.models:
            for name, value in model.engine.bundle.metrics.items():
                if isinstance(value, float):
                    family.add_metric([model.name, model.version, name], float(value))
        yield family


class _Drift(Collector):
    """Drift by model and variable."""

    def __init__(self, monitors: Mapping[str, DriftMonitor]) -> None:
        self._monitors = monitors

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "acie_posterior_drift",
            "Population stability index of the posterior against the training population.",
            labels=["digest", "variable"],
        )
        for digest, monitor in list(self._monitors.items()):
            for name, value in monitor.index().items():
                family.add_metric([digest[:12], name], value)
        yield family


class _Gpus(Collector):
    """How busy the GPUs are; without one there is the name but no value.

    A NaN would spoil sums over replicas of which only some have a GPU.
    """

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "acie_gpu_utilization_percent", "Time that a GPU was busy.", labels=["device"]
        )
        for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
            try:
                family.add_metric([str(index)], float(torch.cuda.utilization(index)))
            except (RuntimeError, ImportError, AssertionError):
                continue  # the driver's library that knows is not installed
        yield family


def dashboard(
    meters: Meters,
    service: Any,
    cache: Any,
    log: Any,
    up: Mapping[str, bool],
    aliases: Callable[[LoadedModel], list[str]] = lambda model: [],
) -> dict[str, Any]:
    """The state of the service as plain data, for ``/api/metrics``."""
    p50, p90, p99 = meters.history.quantiles(0.5, 0.9, 0.99)
    outcomes = meters.by("acie_inference_requests_total", "outcome")
    counts = dict(cache.counts)
    reused = sum(n for where, n in counts.items() if where != "computed")
    asked = sum(counts.values())
    batches = meters.value("acie_batch_size_count") or 0.0
    galaxies = meters.value("acie_batch_size_sum") or 0.0
    flags = meters.by("acie_quality_flags_total", "flag")
    gpus = meters.by("acie_gpu_utilization_percent", "device")

    def ms(seconds: float | None) -> float | None:
        return None if seconds is None else round(seconds * 1e3, 3)

    drift = meters.drift()
    return {
        "version": acie.__version__,
        "uptime_s": round(time.time() - meters.started, 1),
        "requests": {
            "total": int(sum(outcomes.values())),
            "per_second": round(meters.history.rate(), 3),
            "outcomes": {name: int(value) for name, value in outcomes.items()},
            "in_flight": int(meters.value("acie_in_flight") or 0),
        },
        "latency_ms": {"p50": ms(p50), "p90": ms(p90), "p99": ms(p99), "window_s": 300},
        "stages_ms": _means(meters),
        "queue": {"depth": service.queue_depth, "capacity": service.queue_capacity},
        "batches": {"total": int(batches), "mean_size": galaxies / batches if batches else None},
        "cache": counts | {"hit_ratio": reused / asked if asked else None},
        "database": {"waiting": log.journal.depth, "written": log.journal.written,
                     "dropped": log.journal.dropped, "healthy": log.journal.healthy},
        "dependencies": dict(up),
        "answers": _confidence(meters),
        "confidence": meters.history.confidences(),
        "quality_flags": {name: int(value) for name, value in flags.items()},
        "gpu_utilization_percent": gpus or None,
        "models": [
            model.identity
            | {
                "metrics": model.engine.bundle.metrics,
                "drift": drift.get(model.digest, {}),
                "aliases": aliases(model),
            }
            for model in service.registry.models
        ],
    }  # fmt: skip


def _confidence(meters: Meters) -> dict[str, float | None]:
    """Of all answers since the start: their number, mean confidence, and share of at most 0.1."""
    answers = meters.value("acie_confidence_count") or 0.0
    low = meters.value("acie_confidence_bucket", le="0.1") or 0.0
    total = meters.value("acie_confidence_sum") or 0.0
    return {
        "total": int(answers),
        "confidence_mean": total / answers if answers else None,
        "confidence_low_share": low / answers if answers else None,
    }


def _means(meters: Meters) -> dict[str, float]:
    sums = meters.by("acie_stage_seconds_sum", "stage")
    counts = meters.by("acie_stage_seconds_count", "stage")
    return {name: round(sums[name] / counts[name] * 1e3, 3) for name in sums if counts[name]}
