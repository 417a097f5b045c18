"""What endpoints ask for; coroutines, as FastAPI sends plain functions to another thread."""

__all__ = ["ResourcesOf", "ServiceOf"]

from typing import Annotated

from fastapi import Depends, Request

from acie.serving.resources import Resources
from acie.serving.service import InferenceService


async def _resources(request: Request) -> Resources:
    return request.app.state.resources


async def _service(request: Request) -> InferenceService:
    return request.app.state.resources.service


ResourcesOf = Annotated[Resources, Depends(_resources)]
ServiceOf = Annotated[InferenceService, Depends(_service)]
