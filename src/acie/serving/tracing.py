"""Spans of requests, sent to an OpenTelemetry collector where one is set.

A request is one span, and its stages are its children. They are made when the request has ended,
from the times that were noted on the way: requests wait for nothing, and the engine's thread knows
nothing of tracing.

References:
    W3C Trace Context; OpenTelemetry Protocol 1.x over HTTP.
"""

__all__ = ["Tracer"]

import secrets
import time

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import acie
from acie.serving.request import RequestContext, current_request


class _OwnIds(IdGenerator):
    """A new trace has the id that the logs of its request have."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()

    def generate_span_id(self) -> int:
        return self._random.generate_span_id()

    def generate_trace_id(self) -> int:
        own = current_request().trace_id
        return int(own, 16) if own else self._random.generate_trace_id()


class Tracer:
    """Sends spans; without an endpoint it does nothing.

    Arguments:
        endpoint: URL of a collector, with or without ``/v1/traces``.
    """

    def __init__(self, endpoint: str | None = None) -> None:
        self._provider: TracerProvider | None = None
        if endpoint is None:
            return
        url = endpoint.rstrip("/")
        url = url if url.endswith("/v1/traces") else f"{url}/v1/traces"
        resource = Resource({"service.name": "acie", "service.version": acie.__version__})
        # Its own provider: the process may have another one for other things.
        self._provider = TracerProvider(
            resource=resource, id_generator=_OwnIds(), shutdown_on_exit=False
        )
        exporter = OTLPSpanExporter(endpoint=url, timeout=5)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("acie.serving")

    @property
    def enabled(self) -> bool:
        """Whether spans go anywhere."""
        return self._provider is not None

    def name(self, request: RequestContext) -> None:
        """Give a request that continues no trace one of its own, for the logs too."""
        if self.enabled and not request.trace_id:
            request.trace_id = secrets.token_hex(16)

    def record(
        self, request: RequestContext, name: str, facts: dict[str, object], failed: bool
    ) -> None:
        """Make the spans of a request that has ended."""
        if self._provider is None:
            return
        # One reading of both clocks turns the times that were noted into moments.
        offset = time.time() - time.perf_counter()

        def moment(at: float) -> int:
            return int((at + offset) * 1e9)

        parent = None
        if request.traceparent:
            parent = TraceContextTextMapPropagator().extract({"traceparent": request.traceparent})
        span = self._tracer.start_span(
            name,
            context=parent,
            kind=trace.SpanKind.SERVER,
            start_time=moment(request.started),
            attributes={k: v for k, v in facts.items() if isinstance(v, str | int | float)},
        )
        if failed:
            span.set_status(trace.StatusCode.ERROR)
        inside = trace.set_span_in_context(span)
        for stage, start, end in request.stages:
            child = self._tracer.start_span(stage, context=inside, start_time=moment(start))
            child.end(moment(end))
        span.end()

    def close(self) -> None:
        """Send what waits."""
        if self._provider is not None:
            self._provider.shutdown()
