"""What remains of a call when it has ended: a line, counts, spans."""

__all__ = ["Telemetry"]

import logging
import time
from typing import Any

from acie.serving.metrics import Meters
from acie.serving.request import RequestContext
from acie.serving.tracing import Tracer

log = logging.getLogger("acie.access")


class Telemetry:
    """Tells logs, metrics and traces of the same call.

    Arguments:
        meters: Count.
        tracer: Sends spans.
    """

    def __init__(self, meters: Meters, tracer: Tracer) -> None:
        self.meters, self.tracer = meters, tracer

    def begin(self, request: RequestContext) -> None:
        """A call begins."""
        self.tracer.name(request)
        self.meters.in_flight.inc()

    def finish(
        self,
        request: RequestContext,
        name: str,
        status: str,
        facts: dict[str, Any],
        *,
        failed: bool = False,
        probe: bool = False,
    ) -> None:
        """A call has ended.

        Arguments:
            request: The call.
            name: Of its span.
            status: HTTP status or gRPC code.
            facts: What its line says besides.
            failed: Whether the service is to blame.
            probe: Whether it asked how the service is: counted apart, and unless it failed its
                line and spans are for those who look closely only.
        """
        self.meters.in_flight.dec()
        self.meters.call(request, status, probe)
        quiet = probe and not failed
        own = {
            "duration_ms": round((time.perf_counter() - request.started) * 1e3, 2),
            "principal": request.principal.name,
        }
        (log.debug if quiet else log.info)("request", extra=facts | own)
        if not quiet:
            self.tracer.record(request, name, facts | own, failed)
