"""The inference service: one use case, several transports.

``rest`` and ``rpc`` only decode, call :class:`~acie.serving.service.InferenceService`, and encode.
"""

__all__ = ["InferenceService", "Query", "Settings", "create_app"]

from acie.serving.app import create_app
from acie.serving.query import Query
from acie.serving.service import InferenceService
from acie.serving.settings import Settings
