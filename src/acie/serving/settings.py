"""Settings of the service: a file, the environment and flags, in rising precedence.

Variables of the environment have the prefix ``ACIE_``, and two underscores between the section and
the name: ``ACIE_CACHE__URL=redis://localhost``. A secret may lie in a file that a variable with
one more ``_FILE`` names: ``ACIE_CACHE__URL_FILE=/run/secrets/cache_url``.
"""

__all__ = [
    "AuthSettings",
    "CacheSettings",
    "DatabaseSettings",
    "InferenceSettings",
    "MlflowSettings",
    "ServerSettings",
    "Settings",
    "TelemetrySettings",
    "is_local",
]

import functools
import ipaddress
import urllib.parse
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    YamlConfigSettingsSource,
)

from acie.errors import ConfigurationError

#: What a variable is called that names a file with a secret, and not the secret.
_FILE = "_file"


def is_local(host: str | None) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(_Section):
    """Where the service listens, and its limits."""

    host: str = Field("127.0.0.1", description="Address to bind.")
    port: int = Field(8080, ge=0, le=65535, description="Port of REST.")
    grpc_port: int | None = Field(50051, ge=0, le=65535, description="Port of gRPC, or null.")
    grpc_ahead: int = Field(32, ge=1, description="Most questions of one gRPC stream in work.")
    insecure: bool = Field(False, description="Bind beyond loopback without authentication.")
    max_body_bytes: int = Field(16 * 2**20, gt=0, description="Largest request body, unpacked.")
    max_batch_items: int = Field(256, gt=0, description="Most galaxies in one batch request.")
    max_catalogue_rows: int = Field(2000, gt=0, description="Most galaxies of an uploaded file.")
    timeout_s: float = Field(30.0, gt=0.0, description="Deadline of a request without its own.")
    notice_s: float = Field(2.0, ge=0.0, description="Seconds between not ready and draining.")
    drain_s: float = Field(20.0, gt=0.0, description="Seconds in which open requests may end.")
    max_head_bytes: int = Field(32768, gt=0, description="Largest head of a request.")
    head_timeout_s: float = Field(10.0, gt=0.0, description="Patience with a request's head.")
    body_timeout_s: float = Field(20.0, gt=0.0, description="Patience with a request's body.")
    keep_alive_s: float = Field(
        75.0, ge=1.0, description="Idle connections are kept so long; longer than a proxy does."
    )
    max_in_flight: int = Field(512, ge=1, description="Most requests at a time; more get 503.")
    cors_origins: tuple[str, ...] = Field((), description="Origins of browsers that may call.")
    tls_certificate: Path | None = Field(None, description="PEM certificate chain of gRPC.")
    tls_key: Path | None = Field(None, description="PEM private key of gRPC.")
    tls_client_ca: Path | None = Field(None, description="PEM authorities of clients: mTLS.")


class InferenceSettings(_Section):
    """Models, draws and batches."""

    models: tuple[str, ...] = Field(("galaxy-v1",), description="Names or folders of models.")
    models_folder: Path | None = Field(None, description="Models that may be loaded by name.")
    samples: int = Field(64, ge=2, description="Posterior draws of a request that asks for none.")
    max_samples: int = Field(1024, ge=2, description="Most draws a request may ask for.")
    max_batch: int = Field(24, ge=1, description="Most galaxies that are computed together.")
    queue: int = Field(128, ge=1, description="Most galaxies that wait.")
    runtime: Literal["torch", "onnx"] = Field(
        "torch", description="What computes the networks: torch, or ONNX Runtime."
    )


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
    migrate: bool = Field(False, description="Migrate PostgreSQL at start; SQLite always is.")
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
    leeway_s: float = Field(5.0, ge=0.0, le=60.0, description="How wrong clocks may be.")
    required: bool = Field(False, description="Demand API keys where there are no tokens.")

    @property
    def enabled(self) -> bool:
        """Whether callers must say who they are."""
        return self.required or self.secret is not None or self.jwks_url is not None

    @property
    def family(self) -> Literal["HS256", "RS256", "ES256"]:
        """The one algorithm of tokens."""
        return self.algorithm or ("RS256" if self.jwks_url is not None else "HS256")

    @model_validator(mode="after")
    def _one_family(self) -> "AuthSettings":
        """Two kinds of keys at once are how a public key comes to be taken for a secret."""
        if self.secret is not None and self.jwks_url is not None:
            raise ValueError("give a secret or a jwks_url, not both")
        if self.secret is not None:
            secret = self.secret.get_secret_value()
            if len(secret.encode()) < 32 or "-----BEGIN" in secret:
                raise ValueError("the secret must be 32 random bytes or more, and no public key")
        if self.algorithm is not None and (self.algorithm == "HS256") == bool(self.jwks_url):
            raise ValueError("HS256 goes with a secret, RS256 and ES256 with a jwks_url")
        if self.jwks_url is not None:
            url = urllib.parse.urlsplit(self.jwks_url)
            if url.scheme != "https" and not (url.scheme == "http" and is_local(url.hostname)):
                raise ValueError("jwks_url must be https, or http on this machine")
        return self


class MlflowSettings(_Section):
    """Where registered models are, such as models:/acie@production."""

    uri: SecretStr | None = Field(
        None, description="Server or database; null: MLFLOW_TRACKING_URI, or ./acie-runs."
    )
    experiment: str | None = Field(None, description="Experiment of tracked runs; null: acie.")
    poll_s: float = Field(30.0, ge=0.2, description="Seconds between looks at followed aliases.")
    cache: Path | None = Field(None, description="Where pulled models are kept; null: ~/.cache.")
    offline: bool = Field(False, description="Start with what was pulled before, if need be.")


class TelemetrySettings(_Section):
    """Logs and traces."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="JSON in ECS form, or for people; auto looks for a terminal."
    )
    otlp_endpoint: str | None = Field(None, description="Where OpenTelemetry traces go.")
    check_s: float = Field(5.0, gt=0.0, description="Seconds between looks at cache, database.")


def _merged(weak: dict[str, Any], strong: dict[str, Any]) -> dict[str, Any]:
    """Both, section by section; ``strong`` wins."""
    merged = dict(weak)
    for name, value in strong.items():
        old = weak.get(name)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[name] = _merged(old, value) if both else value
    return merged


def _yaml(cls: type[BaseSettings], file: Path) -> dict[str, Any]:
    """Content of a YAML file.

    Raises:
        ConfigurationError: It cannot be read.
    """
    try:
        if not file.is_file():
            raise FileNotFoundError("no such file")
        return YamlConfigSettingsSource(cls, yaml_file=file)()
    except Exception as error:  # The parser's own kinds of errors are not to be known here.
        found = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigurationError(
            "--config",
            expected="a YAML file with one mapping per section",
            found=f"{file} ({found})",
            remedy="acie serve --print-settings prints one.",
        ) from None


def _is_secret(section: type[BaseModel], name: str) -> bool:
    field = section.model_fields.get(name)
    return field is not None and SecretStr in (field.annotation, *get_args(field.annotation))


class _Environment(EnvSettingsSource):
    """Variables, and files with secrets that variables name."""

    def read(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What variables say, and what the files hold.

        Raises:
            ConfigurationError: A file cannot be read, or both a secret and its file are given.
        """
        plain, files = super().__call__(), {}
        for section, field in self.settings_cls.model_fields.items():
            content = plain.get(section)
            if not isinstance(content, dict):
                continue
            for key in [key for key in content if key.endswith(_FILE)]:
                name = key.removesuffix(_FILE)
                if _is_secret(field.annotation, name):
                    variable = f"ACIE_{section}__{key}".upper()
                    if content.get(name) is not None:
                        raise ConfigurationError(
                            variable,
                            expected="a secret or a file that holds it",
                            found="both",
                            remedy=f"Unset {variable.removesuffix('_FILE')}.",
                        )
                    files.setdefault(section, {})[name] = _secret(variable, content.pop(key))
        return plain, files

    def __call__(self) -> dict[str, Any]:
        """Both as one."""
        return _merged(*self.read())


def _secret(variable: str, file: str) -> str:
    """Content of a file, without the line's end that editors leave.

    Raises:
        ConfigurationError: It cannot be read, or is empty.
    """
    try:
        found = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
        problem = "" if found else "nothing in it"
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or type(error).__name__
    if problem:
        raise ConfigurationError(
            variable,
            expected="a readable file that holds one secret",
            found=f"{file} ({problem})",
            remedy="The user of the service must be able to read it.",
        )
    return found


def _unusable(error: ValidationError | SettingsError) -> ConfigurationError:
    """Which settings are wrong, by name and without their values, which may be secrets."""
    if isinstance(error, SettingsError):
        places = str(error)
    else:
        wrong = [(".".join(map(str, one["loc"])), one["msg"]) for one in error.errors()]
        places = "; ".join(f"{place}: {message}" if place else message for place, message in wrong)
        places = places.replace("Value error, ", "")
    return ConfigurationError(
        "settings",
        expected="known names with values that fit",
        found=places,
        remedy="acie serve --print-settings lists them all.",
    )


class Settings(BaseSettings):
    """All settings of ``acie serve``."""

    model_config = SettingsConfigDict(
        env_prefix="ACIE_",
        env_nested_delimiter="__",
        env_parse_none_str="null",
        extra="forbid",
        frozen=True,
    )

    server: ServerSettings = ServerSettings()
    inference: InferenceSettings = InferenceSettings()
    cache: CacheSettings = CacheSettings()
    database: DatabaseSettings = DatabaseSettings()
    auth: AuthSettings = AuthSettings()
    mlflow: MlflowSettings = MlflowSettings()
    telemetry: TelemetrySettings = TelemetrySettings()

    @model_validator(mode="after")
    def _closed_to_strangers(self) -> "Settings":
        """Who could reach the service without being known must be let in on purpose."""
        if not (self.auth.enabled or self.server.insecure or is_local(self.server.host)):
            raise ValueError(
                f"server.host {self.server.host} is open to other machines without "
                "authentication: set ACIE_AUTH__SECRET or ACIE_AUTH__JWKS_URL, or --insecure"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment with the files that it names; pydantic's other sources are not used."""
        return init_settings, _Environment(settings_cls)

    @classmethod
    def read(cls, file: Path | None = None, **flags: Any) -> "Settings":
        """Settings of a YAML file, of the environment, and of flags.

        Arguments:
            file: YAML with one mapping per section.
            flags: Sections as mappings, which win over everything else.

        Raises:
            ConfigurationError: A setting is unknown or has a value that it cannot have.
        """
        try:
            given = [content for _, content in cls.sources(file, **flags)]
            return cls(**functools.reduce(_merged, reversed(given), {}))
        except (ValidationError, SettingsError) as error:
            raise _unusable(error) from None

    @classmethod
    def sources(cls, file: Path | None = None, **flags: Any) -> list[tuple[str, dict[str, Any]]]:
        """Names and contents of where settings come from, the strongest first."""
        variables, files = _Environment(cls).read()
        found = [("flag", flags), ("environment", variables), ("secret file", files)]
        if file is not None:
            found.append((file.name, _yaml(cls, file)))
        return found
