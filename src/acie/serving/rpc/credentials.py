"""TLS and mutual TLS from PEM files."""

__all__ = ["server_credentials"]

import ssl
from pathlib import Path

import grpc

from acie.errors import ConfigurationError
from acie.serving.settings import ServerSettings


def server_credentials(settings: ServerSettings) -> grpc.ServerCredentials | None:
    """Credentials of the server, None without a certificate.

    Arguments:
        settings: ``tls_certificate`` and ``tls_key``; with ``tls_client_ca`` callers must show a
            certificate of one of these authorities.

    Raises:
        ConfigurationError: A file is missing, unreadable, or does not fit the others.
    """
    given = {
        name: getattr(settings, name) for name in ("tls_certificate", "tls_key", "tls_client_ca")
    }
    if not any(given.values()):
        return None
    for name in ("tls_certificate", "tls_key"):
        if given[name] is None:
            raise ConfigurationError(
                f"server.{name}", expected="a PEM file", found="none",
                remedy="TLS needs tls_certificate and tls_key.",
            )  # fmt: skip
    pem = {name: _read(path, name) for name, path in given.items() if path is not None}
    _check(settings)
    authorities = pem.get("tls_client_ca")
    return grpc.ssl_server_credentials(
        [(pem["tls_key"], pem["tls_certificate"])], authorities, authorities is not None
    )


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"server.{name}", expected="a readable PEM file", found=f"{path}: {error.strerror}"
        ) from error


def _check(settings: ServerSettings) -> None:
    """Refuse now what gRPC would only log when the first caller is turned away."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigurationError(
            "server.tls_certificate",
            expected="a PEM certificate chain and its unencrypted key",
            found=f"{settings.tls_certificate} with {settings.tls_key}: {error}",
        ) from error
    if settings.tls_client_ca is not None:
        try:
            context.load_verify_locations(settings.tls_client_ca)
        except ssl.SSLError as error:
            raise ConfigurationError(
                "server.tls_client_ca",
                expected="PEM certificates of authorities",
                found=f"{settings.tls_client_ca}: {error}",
            ) from error


def _no_password() -> str:
    raise ValueError("the key has a password")
