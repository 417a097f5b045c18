"""One process that serves until it is told to stop, and then leaves nobody without an answer."""

__all__ = ["DrainingServer", "serve"]

import asyncio
import contextlib
import ctypes
import logging
import os
import socket
import struct
import sys
import time
from types import FrameType

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from acie.errors import ConfigurationError
from acie.serving.app import create_app
from acie.serving.settings import ServerSettings, Settings, is_local

#: Programs that pass signals on (shells, package runners) deliver one Ctrl-C twice.
_SAME_SIGNAL_S = 0.5
#: How long an accepted connection may take to send the request it was opened for.
_ACCEPTED_S = 2.0
#: Of linux/filter.h and asm-generic/socket.h.
_BPF_RETURN, _SO_ATTACH_FILTER = 0x06, 26

log = logging.getLogger("acie.serving")


def _bounded(settings: ServerSettings) -> type[HttpToolsProtocol]:
    """HTTP whose request heads are bounded in time and size, which uvicorn leaves open."""

    class BoundedHTTP(HttpToolsProtocol):
        _head_bytes = 0
        _in_head = True
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self._expect_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._in_head:
                self._head_bytes += len(data)
                if self._timer is None:
                    self._expect_head()
            super().data_received(data)
            # The piece that ends the head may hold body too, so only an open head is judged.
            if self._in_head and self._head_bytes > settings.max_head_bytes:
                self._refuse(b"431 Request Header Fields Too Large")

        def on_headers_complete(self) -> None:
            self._stop_timer()
            self._in_head, self._head_bytes = False, 0
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._in_head = True
            super().on_message_complete()

        def _expect_head(self) -> None:
            self._timer = self.loop.call_later(
                settings.head_timeout_s, self._refuse, b"408 Request Timeout"
            )

        def _stop_timer(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _refuse(self, status: bytes) -> None:
            busy = self.cycle is not None and not self.cycle.response_complete
            if self.transport.is_closing() or busy:
                return
            if self._head_bytes:
                self.transport.write(
                    b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
                )
            self.transport.close()

    return BoundedHTTP


class DrainingServer(uvicorn.Server):
    """Stops in three steps: not ready but serving, no new connections, nothing open.

    At the first SIGTERM or SIGINT the application is not ready any more, so that load balancers
    look elsewhere, while requests are still answered for ``notice_s``. Then the socket closes and
    open requests have ``drain_s`` to end. A second signal ends the process at once.

    Arguments:
        app: The application; its ``state.leaving`` is set at the first signal.
        settings: Where it listens, and its patience.
    """

    def __init__(self, app: FastAPI, settings: ServerSettings) -> None:
        config = uvicorn.Config(
            app,
            http=_bounded(settings),
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(settings.keep_alive_s),
            timeout_graceful_shutdown=max(1, int(settings.drain_s)),
        )
        super().__init__(config)
        self._app, self._notice_s, self._drain_s = app, settings.notice_s, settings.drain_s
        self._left_at: float | None = None
        self._said = False

    @property
    def leaving(self) -> bool:
        """Whether a signal has come."""
        return self._left_at is not None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to leave, or leave."""
        now = time.monotonic()
        if self._left_at is None:
            self._left_at = now
            self._app.state.leaving = True
            resources = getattr(self._app.state, "resources", None)
            if resources is not None:
                resources.ready = False
        elif now - self._left_at > _SAME_SIGNAL_S:
            os._exit(128 + sig)

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second."""
        if self._left_at is not None:
            if not self._said:
                self._said = True
                log.info("leaving", extra={"notice_s": self._notice_s})
            self.should_exit = time.monotonic() - self._left_at >= self._notice_s
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """No new connections, then no connections."""
        for one in sockets or []:
            _hold_off(one)
        # The loop takes what the kernel has accepted, which would be reset with the socket.
        for _ in range(3):
            await asyncio.sleep(0.03)
        for server in self.servers:
            server.close()
        # What was accepted last has its request on the way; uvicorn would hang up on it.
        end = time.monotonic() + _ACCEPTED_S
        while time.monotonic() < end and self._unasked():
            await asyncio.sleep(0.02)
        rpc = getattr(self._app.state, "rpc", None)
        # Both protocols drain at the same time, so that together they take no longer than one.
        calls = asyncio.create_task(rpc.stop(self._drain_s)) if rpc is not None else None
        log.info("draining", extra={"connections": len(self.server_state.connections)})
        await super().shutdown(sockets)
        if calls is not None:
            await calls

    def _unasked(self) -> bool:
        return any(one.cycle is None for one in self.server_state.connections)


def _hold_off(listening: socket.socket) -> None:
    """Let nobody begin a connection, without hanging up on those that the kernel has accepted.

    A filter that keeps no packet: who connects now tries again after a second, and is refused.
    Only Linux has it; elsewhere the last few connections may be reset.
    """
    if not sys.platform.startswith("linux"):
        return
    keep_nothing = ctypes.create_string_buffer(struct.pack("HBBI", _BPF_RETURN, 0, 0, 0))
    program = struct.pack("HP", 1, ctypes.addressof(keep_nothing))
    with contextlib.suppress(OSError):
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet: callers are refused until the models are loaded.

    Raises:
        ConfigurationError: The address is taken or is none of this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        own = socket.socket(family, kind, protocol)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        own.bind(address)
    except (OSError, OverflowError) as error:
        raise ConfigurationError(
            "host and port",
            expected="an address of this machine that is free",
            found=f"{host}:{port} ({getattr(error, 'strerror', None) or error})",
            remedy="Choose another with --port or ACIE_SERVER__PORT; 0 takes any free one.",
        ) from None
    own.setblocking(False)
    return own


def serve(settings: Settings) -> None:
    """Serve until a signal comes.

    Raises:
        ConfigurationError: The port is taken, or a setting does not work here.
        BundleError: A model cannot be used.
    """
    app = create_app(settings)
    server = DrainingServer(app, settings.server)
    own = bind(settings.server.host, settings.server.port)
    with own, asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(_serve(app, server, own, settings))


async def _serve(
    app: FastAPI, server: DrainingServer, own: socket.socket, settings: Settings
) -> None:
    # Signals count from the beginning: the first process of a container has no default handlers.
    with server.capture_signals():
        async with app.router.lifespan_context(app):
            if server.leaving:
                return
            host, port = own.getsockname()[:2]
            rpc = getattr(app.state, "rpc", None)
            facts = {
                "url": f"http://{f'[{host}]' if ':' in host else host}:{port}",
                "grpc_port": rpc.port if rpc else None,
                "models": [m.identity for m in app.state.resources.service.registry.models],
                "authentication": settings.auth.enabled,
            }
            log.info("serving", extra=facts)
            if not settings.auth.enabled:
                reach = "only this machine" if is_local(settings.server.host) else "ANYBODY"
                log.warning("no authentication: %s can call", reach)
            await server.serve(sockets=[own])
    log.info("left")
