"""The REST application."""

__all__ = ["create_app"]

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

import acie
from acie.serving.resources import open_resources
from acie.serving.rest import (
    catalogues,
    counterfactuals,
    docs_page,
    evaluations,
    graph,
    health,
    inferences,
    metrics,
    models,
    observations,
    open_inference,
    page,
)
from acie.serving.rest.documents import write_openapi
from acie.serving.rest.edge import Edge
from acie.serving.rest.envelope import Envelope
from acie.serving.rest.failures import install_failures
from acie.serving.rest.guard import Guard
from acie.serving.rest.idempotency import IdempotencyStore
from acie.serving.rpc import serving_rpc
from acie.serving.settings import Settings

_HEADERS = (
    "Authorization", "Content-Type", "Idempotency-Key", "X-API-Key", "X-Request-ID",
    "traceparent", "tracestate",
)  # fmt: skip
_EXPOSED = (
    "X-Request-ID", "Retry-After", "Idempotency-Replayed", "Location", "traceparent",
    "RateLimit", "RateLimit-Policy",
)  # fmt: skip


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application; nothing is loaded before its lifespan begins.

    Arguments:
        settings: Those of the environment when left out.
    """
    settings = Settings() if settings is None else settings

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_resources(settings) as resources, serving_rpc(resources) as rpc:
            app.state.resources, app.state.rpc = resources, rpc
            yield

    app = FastAPI(
        title="ACIE",
        version=acie.__version__,
        summary="What would this galaxy's spectrum be, had its state been different?",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # A redirection would name the host that the client named.
        redirect_slashes=False,
    )
    app.state.idempotency = IdempotencyStore()
    install_failures(app)
    for module in (counterfactuals, observations, catalogues, models, evaluations, graph,
                   inferences, health, open_inference, docs_page, metrics, page):  # fmt: skip
        app.include_router(module.router)
    write_openapi(app)
    app.add_middleware(Guard, state=app.state)
    app.add_middleware(Envelope, max_body_bytes=settings.server.max_body_bytes)
    if settings.server.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.server.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=_HEADERS,
            expose_headers=_EXPOSED,
        )
    app.add_middleware(Edge, state=app.state, settings=settings.server)
    return app
