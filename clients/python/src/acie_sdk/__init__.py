"""Client of ACIE, the Astronomical Counterfactual Inference Engine.

Example::

    from acie_sdk import ACIEClient

    with ACIEClient("http://127.0.0.1:8080") as client:
        answer = client.infer({"flux": flux, "ivar": ivar, "redshift": 0.08}, "stellar_mass*=1.5")
"""

__all__ = [
    "ACIEAPIError",
    "ACIEClient",
    "APIConnectionError",
    "APIResponseError",
    "APIStatusError",
    "APITimeoutError",
    "Answer",
    "AsyncACIEClient",
    "AuthenticationError",
    "BadRequestError",
    "Edge",
    "Graph",
    "Health",
    "InvalidInputError",
    "Model",
    "NotFoundError",
    "OverloadedError",
    "PermissionError_",
    "RateLimitedError",
    "RetryPolicy",
    "ServerError",
    "State",
    "Tls",
    "Variable",
    "__version__",
]

from acie_sdk._answers import Answer, Edge, Graph, Health, Model, State, Variable
from acie_sdk._calls import __version__
from acie_sdk._client import ACIEClient, AsyncACIEClient
from acie_sdk._errors import (
    ACIEAPIError,
    APIConnectionError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    InvalidInputError,
    NotFoundError,
    OverloadedError,
    PermissionError_,
    RateLimitedError,
    ServerError,
)
from acie_sdk._retries import RetryPolicy
from acie_sdk._tls import Tls
