"""The REST application."""

__all__ = ["create_app"]

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

import acie
from acie.serving.resources import open_resources
from acie.serving.rest import counterfactuals, health, models
from acie.serving.rest.edge import Edge
from acie.serving.rest.failures import install_failures
from acie.serving.settings import Settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application; nothing is loaded before its lifespan begins.

    Arguments:
        settings: Those of the environment when left out.
    """
    settings = Settings() if settings is None else settings

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_resources(settings) as resources:
            app.state.resources = resources
            yield

    app = FastAPI(
        title="ACIE",
        version=acie.__version__,
        summary="What would this galaxy's spectrum be, had its state been different?",
        lifespan=lifespan,
    )
    install_failures(app)
    app.add_middleware(Edge, state=app.state, settings=settings.server)
    for module in (counterfactuals, models, health):
        app.include_router(module.router)
    return app
