"""Callers who are refused; each kind has a row in ``problems.py``.

References:
    RFC 6750, The OAuth 2.0 Authorization Framework: Bearer Token Usage, section 3.
"""

__all__ = [
    "Forbidden",
    "IdentityUnavailable",
    "RateLimited",
    "Unauthenticated",
    "forbidden",
    "unauthenticated",
]

from acie.errors import ACIEError


class Unauthenticated(ACIEError):
    """Nobody knows who asks."""


class Forbidden(ACIEError):
    """Who asks is known and may not do this."""


class RateLimited(ACIEError):
    """The caller has asked for too much; ``retry_after_s`` says when there is more."""

    retry_after_s: float = 1.0


class IdentityUnavailable(ACIEError):
    """Who asks cannot be found out now: the identity provider or the database does not answer."""

    retry_after_s: float = 5.0


def unauthenticated(found: str) -> Unauthenticated:
    """The refusal of credentials; ``found`` says what is wrong and holds nothing of them."""
    error = Unauthenticated(
        "credentials",
        expected="a valid token or API key",
        found=found,
        remedy="Send Authorization: Bearer TOKEN, or X-API-Key: KEY made with acie token create.",
    )
    challenge = 'Bearer realm="acie"'
    if found != "none":
        challenge += f', error="invalid_token", error_description="{found}"'
    error.headers = {"WWW-Authenticate": challenge}
    return error


def forbidden(scope: str) -> Forbidden:
    """The refusal of a caller without a scope."""
    error = Forbidden(
        "credentials",
        expected=f"the scope {scope}",
        found="credentials without it",
        remedy="Ask for a token or key of that scope.",
    )
    error.headers = {
        "WWW-Authenticate": f'Bearer realm="acie", error="insufficient_scope", scope="{scope}"'
    }
    return error
