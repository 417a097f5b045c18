"""JSON Web Tokens of one algorithm.

References:
    RFC 7519 (JWT); RFC 8725 (best current practices): the algorithm is the service's choice.
"""

__all__ = ["TokenVerifier"]

from typing import Any

import jwt

from acie.serving.request import ALL_SCOPES, Principal
from acie.serving.security.keyset import KeySet
from acie.serving.security.refusals import unauthenticated
from acie.serving.settings import AuthSettings

_MAX_LENGTH = 8192

#: What is wrong, in words for whoever holds the token; the first match wins.
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (jwt.ExpiredSignatureError, "an expired token"),
    (jwt.ImmatureSignatureError, "a token that is not valid yet"),
    (jwt.InvalidAudienceError, "a token for another audience"),
    (jwt.InvalidIssuerError, "a token of another issuer"),
    (jwt.MissingRequiredClaimError, "a token without exp, aud and sub"),
    (jwt.InvalidAlgorithmError, "a token of another algorithm"),
    (jwt.InvalidSignatureError, "a token with a wrong signature"),
)


class TokenVerifier:
    """Checks tokens of exactly one kind of key: a secret, or the keys of a provider.

    Arguments:
        settings: Which, for whom, of whom.
    """

    def __init__(self, settings: AuthSettings) -> None:
        self._settings, self._family = settings, settings.family
        self._secret = settings.secret and settings.secret.get_secret_value().encode()
        self._keys = KeySet(settings.jwks_url, self._family) if settings.jwks_url else None

    async def verify(self, token: str) -> Principal:
        """Whose token it is.

        Raises:
            Unauthenticated: It proves nothing.
            IdentityUnavailable: The provider's keys cannot be had.
        """
        if len(token) > _MAX_LENGTH:
            raise unauthenticated("a token that is too long")
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") != self._family:
                raise jwt.InvalidAlgorithmError
            claims = jwt.decode(
                token,
                await self._key(header),
                algorithms=[self._family],
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                leeway=self._settings.leeway_s,
                options={"require": ["exp", "aud", "sub"]},
            )
        except (jwt.PyJWTError, UnicodeError, ValueError, TypeError) as error:
            reason = next((r for kind, r in _REASONS if isinstance(error, kind)), None)
            raise unauthenticated(reason or "a malformed token") from None
        return Principal(_subject(claims), _scopes(claims))

    async def _key(self, header: dict[str, Any]) -> Any:
        if self._keys is None:
            if not self._secret:
                raise unauthenticated("a token, where only API keys are known")
            return self._secret
        return await self._keys.find(header.get("kid"))


def _subject(claims: dict[str, Any]) -> str:
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= 200 or not subject.isprintable():
        raise unauthenticated("a token without a usable sub")
    return subject


def _scopes(claims: dict[str, Any]) -> frozenset[str]:
    """``scope`` as a text (RFC 8693), or ``scp`` as text or list; unknown names are nothing."""
    given = claims.get("scope", claims.get("scp", ""))
    names = given.split() if isinstance(given, str) else given if isinstance(given, list) else ()
    return frozenset(name for name in ALL_SCOPES if name in names)
