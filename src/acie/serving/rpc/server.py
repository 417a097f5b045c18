"""The gRPC server, in the process and on the event loop of REST."""

__all__ = ["MAX_MESSAGE_BYTES", "RpcServer", "serving_rpc", "start_rpc"]

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from acie.errors import ConfigurationError
from acie.serving.resources import Resources
from acie.serving.rpc._generated import acie_pb2, acie_pb2_grpc
from acie.serving.rpc.access import AccessInterceptor
from acie.serving.rpc.credentials import server_credentials
from acie.serving.rpc.health import ReadinessHealth
from acie.serving.rpc.servicer import InferenceServicer
from acie.serving.settings import ServerSettings

_log = logging.getLogger(__name__)

#: The default of gRPC, 4 MiB, is too small for long batches of spectra.
MAX_MESSAGE_BYTES = 32 * 2**20
_SERVICE = acie_pb2.DESCRIPTOR.services_by_name["ACIEInference"].full_name
_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # Two processes on one port would each get some of the calls without knowing of the other.
    ("grpc.so_reuseport", 0),
    ("grpc.max_metadata_size", 16 * 2**10),
)


class RpcServer:
    """A running server.

    Arguments:
        server: The server.
        port: Where it listens.
        health: Its health service.
    """

    def __init__(self, server: grpc.aio.Server, port: int, health: ReadinessHealth) -> None:
        self.port = port
        self._server, self._health = server, health
        self._following = asyncio.create_task(health.follow())

    async def stop(self, grace_s: float) -> None:
        """Say that it is not serving, refuse new calls, and let open ones end.

        Arguments:
            grace_s: Seconds after which calls that are still open are cancelled.
        """
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_s)
        self._following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._following


async def start_rpc(resources: Resources) -> RpcServer:
    """Start listening on ``settings.server.grpc_port``; port 0 takes a free one.

    Raises:
        ConfigurationError: The port is taken, or the certificates cannot be used.
    """
    settings = resources.settings.server
    server = grpc.aio.server(options=_OPTIONS, interceptors=(AccessInterceptor(resources),))
    servicer = InferenceServicer(resources, settings.grpc_ahead)
    acie_pb2_grpc.add_ACIEInferenceServicer_to_server(servicer, server)
    readiness = ReadinessHealth(resources, (_SERVICE,))
    health_pb2_grpc.add_HealthServicer_to_server(readiness, server)
    names = (_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    port = _bind(server, settings)
    await readiness.update()
    await server.start()
    _log.info("gRPC listens on %s port %d", settings.host, port)
    return RpcServer(server, port, readiness)


@contextlib.asynccontextmanager
async def serving_rpc(resources: Resources) -> AsyncIterator[RpcServer | None]:
    """A server for as long as the context lasts; none where ``grpc_port`` is null."""
    if resources.settings.server.grpc_port is None:
        yield None
        return
    server = await start_rpc(resources)
    try:
        yield server
    finally:
        await server.stop(resources.settings.server.drain_s)


def _bind(server: grpc.aio.Server, settings: ServerSettings) -> int:
    credentials = server_credentials(settings)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"{host}:{settings.grpc_port}"
    try:
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        port, reason = 0, str(error).split(";")[0]
    else:
        reason = "refused"
    if port == 0:
        raise ConfigurationError(
            "server.grpc_port",
            expected="a free port of this machine",
            found=f"{address}: {reason}",
            remedy="Choose another port; 0 takes a free one, null serves REST alone.",
        )
    return port
