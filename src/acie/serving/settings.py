"""Settings of the service: a file, the environment and flags, in rising precedence.

Variables of the environment have the prefix ``ACIE_``, and two underscores between the section and
the name: ``ACIE_CACHE__URL=redis://localhost``.
"""

__all__ = [
    "AuthSettings",
    "CacheSettings",
    "DatabaseSettings",
    "InferenceSettings",
    "ServerSettings",
    "Settings",
    "TelemetrySettings",
]

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(_Section):
    """Where the service listens, and its limits."""

    host: str = Field("127.0.0.1", description="Address to bind.")
    port: int = Field(8080, ge=0, le=65535, description="Port of REST.")
    grpc_port: int | None = Field(50051, ge=0, le=65535, description="Port of gRPC, or null.")
    insecure: bool = Field(False, description="Bind beyond loopback without authentication.")
    max_body_bytes: int = Field(16 * 2**20, gt=0, description="Largest request body, unpacked.")
    max_batch_items: int = Field(256, gt=0, description="Most galaxies in one batch request.")
    timeout_s: float = Field(30.0, gt=0.0, description="Deadline of a request without its own.")
    notice_s: float = Field(2.0, ge=0.0, description="Seconds between not ready and draining.")
    drain_s: float = Field(20.0, gt=0.0, description="Seconds in which open requests may end.")
    cors_origins: tuple[str, ...] = Field((), description="Origins of browsers that may call.")
    tls_certificate: Path | None = Field(None, description="PEM certificate chain of gRPC.")
    tls_key: Path | None = Field(None, description="PEM private key of gRPC.")
    tls_client_ca: Path | None = Field(None, description="PEM authorities of clients: mTLS.")


class InferenceSettings(_Section):
    """Models, draws and batches."""

    models: tuple[str, ...] = Field(("galaxy-v1",), description="Names or folders of models.")
    samples: int = Field(64, ge=2, description="Posterior draws of a request that asks for none.")
    max_samples: int = Field(1024, ge=2, description="Most draws a request may ask for.")
    max_batch: int = Field(16, ge=1, description="Most galaxies that are computed together.")
    queue: int = Field(128, ge=1, description="Most galaxies that wait.")


class CacheSettings(_Section):
    """Answers that are kept."""

    url: SecretStr | None = Field(None, description="redis:// URL; null keeps them in process.")
    entries: int = Field(512, ge=0, description="Answers kept in process; 0 keeps none.")
    ttl_s: float = Field(3600.0, gt=0.0, description="Seconds that an answer is kept.")
    timeout_s: float = Field(0.05, gt=0.0, description="Patience with Redis, per operation.")
    rest_s: float = Field(5.0, gt=0.0, description="Seconds a failing Redis is left alone.")


class DatabaseSettings(_Section):
    """Where inferences are logged."""

    url: SecretStr = Field(
        SecretStr("sqlite+aiosqlite:///acie.db"), description="SQLAlchemy URL; async driver."
    )
    buffer: int = Field(2000, ge=1, description="Records that may wait to be written.")
    flush_s: float = Field(0.5, gt=0.0, description="Seconds between writes.")
    retention_days: float = Field(90.0, gt=0.0, description="Age at which records are deleted.")
    keep_observations: bool = Field(False, description="Whether observations are stored too.")


class AuthSettings(_Section):
    """Who may do what."""

    secret: SecretStr | None = Field(None, description="Secret of HS256 tokens, 32 bytes or more.")
    jwks_url: str | None = Field(None, description="Keys of RS256 or ES256 tokens.")
    algorithm: Literal["HS256", "RS256", "ES256"] | None = Field(
        None, description="The only accepted algorithm; HS256 with a secret, else RS256."
    )
    audience: str = Field("acie", description="Audience that tokens must name.")
    issuer: str | None = Field(None, description="Issuer that tokens must name.")
    rate_per_s: float = Field(50.0, gt=0.0, description="Galaxies per second and principal.")
    burst: int = Field(200, ge=1, description="Galaxies at once per principal.")

    @property
    def enabled(self) -> bool:
        """Whether callers must say who they are."""
        return self.secret is not None or self.jwks_url is not None


class TelemetrySettings(_Section):
    """Logs and traces."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="JSON in ECS form, or for people; auto looks for a terminal."
    )
    otlp_endpoint: str | None = Field(None, description="Where OpenTelemetry traces go.")


class Settings(BaseSettings):
    """All settings of ``acie serve``."""

    model_config = SettingsConfigDict(
        env_prefix="ACIE_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    server: ServerSettings = ServerSettings()
    inference: InferenceSettings = InferenceSettings()
    cache: CacheSettings = CacheSettings()
    database: DatabaseSettings = DatabaseSettings()
    auth: AuthSettings = AuthSettings()
    telemetry: TelemetrySettings = TelemetrySettings()

    @classmethod
    def read(cls, file: Path | None = None, **flags: Any) -> "Settings":
        """Settings of a YAML file, of the environment, and of flags.

        Arguments:
            file: YAML with one mapping per section.
            flags: Sections as mappings, which win over everything else.
        """

        class Sourced(cls):
            model_config = SettingsConfigDict(yaml_file=file)

            @classmethod
            def settings_customise_sources(
                cls, settings_cls: type[BaseSettings], **sources: PydanticBaseSettingsSource
            ) -> tuple[PydanticBaseSettingsSource, ...]:
                own = (sources["init_settings"], sources["env_settings"])
                return (*own, YamlConfigSettingsSource(settings_cls)) if file else own

        return cls.model_validate(Sourced(**flags).model_dump())
