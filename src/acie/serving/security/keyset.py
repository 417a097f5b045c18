"""The public keys of an identity provider: fetched seldom, in bounded time and size.

References:
    RFC 7517, JSON Web Key.
"""

__all__ = ["KeySet"]

import asyncio
import http.client
import json
import logging
import time
import urllib.request
from typing import Any

import jwt

from acie.serving.security.refusals import IdentityUnavailable, unauthenticated

log = logging.getLogger("acie.security")

#: Seconds for which keys are used without asking for them again.
_FRESH_S = 300.0
#: Seconds between two fetches, whatever tokens come: a forged key id must not cause traffic.
_PAUSE_S = 30.0
#: Seconds for which known keys outlive a provider that does not answer.
_STALE_S = 86400.0
_TIMEOUT_S, _MAX_BYTES, _MAX_KEYS = 3.0, 2**20, 100
#: Shorter RSA keys are not accepted (NIST SP 800-131A).
_RSA_BITS = 2048


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any) -> None:
        """The provider is where the settings say, and nowhere else."""


class KeySet:
    """Keys by their id.

    Arguments:
        url: Where the set is.
        family: ``RS256`` or ``ES256``; keys of another kind are not taken.
        pause_s: Seconds between two fetches.
    """

    def __init__(self, url: str, family: str, pause_s: float = _PAUSE_S) -> None:
        self._url, self._family, self._pause_s = url, family, pause_s
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = self._tried = float("-inf")
        self._lock = asyncio.Lock()

    async def find(self, key_id: str | None) -> jwt.PyJWK:
        """The key of an id; the only key there is where a token names none.

        Raises:
            Unauthenticated: There is no such key.
            IdentityUnavailable: The provider has never answered, or not for a day.
        """
        now = time.monotonic()
        if now - self._fetched > _FRESH_S or self._of(key_id) is None:
            await self._refresh(now)
        if time.monotonic() - self._fetched > _STALE_S:
            raise IdentityUnavailable(
                "auth.jwks_url", expected="keys", found="no answer", remedy="Try again later."
            )
        key = self._of(key_id)
        if key is None:
            raise unauthenticated("a token of an unknown key")
        return key

    def _of(self, key_id: str | None) -> jwt.PyJWK | None:
        if key_id is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(key_id)

    async def _refresh(self, asked: float) -> None:
        """Fetch, unless somebody has just tried; failure leaves what is known."""
        async with self._lock:
            if self._tried >= asked or time.monotonic() - self._tried < self._pause_s:
                return
            try:
                document = await asyncio.to_thread(_fetch, self._url)
                self._keys = _usable(document, self._family)
                self._fetched = time.monotonic()
            except (OSError, ValueError, http.client.HTTPException) as error:
                log.warning("keys not fetched: %s", str(error) or type(error).__name__)
            finally:
                self._tried = time.monotonic()


def _fetch(url: str) -> Any:
    """A JSON document of bounded size, within bounded time."""
    end = time.monotonic() + _TIMEOUT_S
    opener = urllib.request.build_opener(_NoRedirects())
    body = b""
    with opener.open(url, timeout=_TIMEOUT_S) as response:
        while piece := response.read1(65536):
            body += piece
            if len(body) > _MAX_BYTES:
                raise ValueError("the key set is too large")
            if time.monotonic() > end:
                raise TimeoutError("the key set came too slowly")
    return json.loads(body)


def _usable(document: Any, family: str) -> dict[str, jwt.PyJWK]:
    """Keys for signatures of the family; shared secrets and other kinds are left out."""
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise ValueError("no key set")
    found = {}
    for index, content in enumerate(document["keys"][:_MAX_KEYS]):
        try:
            fits = content.get("alg", family) == family and content.get("use", "sig") == "sig"
            key = jwt.PyJWK(content, algorithm=family) if fits else None
        except (jwt.PyJWTError, AttributeError, TypeError, ValueError):
            continue
        if key is not None and getattr(key.key, "key_size", 0) >= _least_bits(family):
            found[str(content.get("kid", f"#{index}"))] = key
    if not found:
        raise ValueError(f"the key set holds no key for {family}")
    return found


def _least_bits(family: str) -> int:
    return _RSA_BITS if family == "RS256" else 256
