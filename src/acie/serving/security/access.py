"""One door for all transports: who is it, may they, and how much."""

__all__ = ["Access"]

from collections.abc import Iterable

from acie.serving.request import LOCAL, Principal, current_request
from acie.serving.security.keys import KeyStore, KeyVerifier
from acie.serving.security.rates import Rates
from acie.serving.security.refusals import forbidden, unauthenticated
from acie.serving.security.tokens import TokenVerifier
from acie.serving.settings import AuthSettings


class Access:
    """Authentication, scopes and rates.

    Where the settings ask for none, everybody is the local principal, which may do everything and
    has no rate: then only this machine can call, or the operator has said ``--insecure``.

    Arguments:
        settings: The settings.
        keys: Where API keys are stored; without it only tokens are known.
    """

    def __init__(self, settings: AuthSettings, keys: KeyStore | None = None) -> None:
        self.enabled = settings.enabled
        self._tokens = TokenVerifier(settings)
        self._keys = None if keys is None else KeyVerifier(keys)
        self._rates = Rates(settings.rate_per_s, settings.burst)

    async def authenticate(self, headers: Iterable[tuple[str, str]]) -> Principal:
        """Who sends these headers, or this metadata of gRPC.

        Arguments:
            headers: Names and values; ``authorization`` and ``x-api-key`` count.

        Raises:
            Unauthenticated: No credentials, several, or such as prove nothing.
            IdentityUnavailable: It cannot be found out now.
        """
        if not self.enabled:
            return LOCAL
        credentials = [
            (name.lower(), value)
            for name, value in headers
            if name.lower() in ("authorization", "x-api-key")
        ]
        if not credentials:
            raise unauthenticated("none")
        if len(credentials) > 1:
            raise unauthenticated("several credentials")
        name, value = credentials[0]
        if name == "authorization":
            scheme, _, value = value.partition(" ")
            if scheme.lower() != "bearer":
                raise unauthenticated("credentials of another scheme than Bearer")
        value = value.strip()
        if not value.startswith("acie_"):
            return await self._tokens.verify(value)
        if self._keys is None:
            raise unauthenticated("an API key, where only tokens are known")
        return await self._keys.verify(value)

    def require(self, principal: Principal, scope: str) -> None:
        """Let only those through who have a scope.

        Raises:
            Forbidden: The principal does not have it.
        """
        if scope not in principal.scopes:
            raise forbidden(scope)

    def charge(self, galaxies: int) -> None:
        """Charge the principal of the current request.

        Raises:
            RateLimited: Too much was asked for.
        """
        request = current_request()
        if request.principal.kind != "local":
            name = f"{request.principal.kind}:{request.principal.name}"
            request.allowance = self._rates.charge(name, galaxies)

    async def close(self) -> None:
        """Write what is not yet written."""
        if self._keys is not None:
            await self._keys.close()
