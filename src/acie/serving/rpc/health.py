"""``grpc.health.v1.Health`` that says what the readiness of the service is."""

__all__ = ["ReadinessHealth"]

import asyncio

from grpc_health.v1 import health, health_pb2

from acie.serving.resources import Resources

#: Seconds after which those who watch learn of a change.
_INTERVAL_S = 0.2


class ReadinessHealth(health.aio.HealthServicer):
    """Serving while ``resources.ready``; a check looks at once, watchers learn within 0.2 s.

    Arguments:
        resources: Of the process.
        services: Names of the services, besides the empty name for the whole server.
    """

    def __init__(self, resources: Resources, services: tuple[str, ...]) -> None:
        super().__init__()
        self._resources, self._services, self._last = resources, ("", *services), None

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: object
    ) -> health_pb2.HealthCheckResponse:
        """The status now."""
        await self.update()
        return await super().Check(request, context)

    async def update(self) -> None:
        """Take over the readiness of the service."""
        states = health_pb2.HealthCheckResponse
        now = states.SERVING if self._resources.ready else states.NOT_SERVING
        if now != self._last:
            self._last = now
            for name in self._services:
                await self.set(name, now)

    async def follow(self) -> None:
        """Keep watchers up to date until cancelled."""
        while True:
            await self.update()
            await asyncio.sleep(_INTERVAL_S)
