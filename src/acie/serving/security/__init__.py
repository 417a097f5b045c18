"""Who asks, what they may do, and how much: tokens, API keys, scopes, rates."""

__all__ = [
    "Access",
    "Forbidden",
    "IdentityUnavailable",
    "KeyStore",
    "RateLimited",
    "Unauthenticated",
    "hash_of",
    "make_key",
]

from acie.serving.security.access import Access
from acie.serving.security.keys import KeyStore, hash_of, make_key
from acie.serving.security.refusals import (
    Forbidden,
    IdentityUnavailable,
    RateLimited,
    Unauthenticated,
)
