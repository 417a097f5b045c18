"""Certificates of one's own."""

__all__ = ["Tls"]

import ssl
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Tls:
    """Certificates where those of the system do not do.

    Arguments:
        authority: PEM certificates of the authorities to trust, in place of the system's.
        certificate: PEM certificate chain to show to the service (mutual TLS).
        key: PEM private key of ``certificate``.
    """

    authority: str | Path | None = None
    certificate: str | Path | None = None
    key: str | Path | None = None

    def context(self) -> ssl.SSLContext:
        """For HTTPS."""
        context = ssl.create_default_context(
            cafile=None if self.authority is None else str(self.authority)
        )
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key)
        return context

    def pem(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Authority, key and certificate, for gRPC."""
        paths = (self.authority, self.key, self.certificate)
        authority, key, certificate = (None if p is None else Path(p).read_bytes() for p in paths)
        return authority, key, certificate
