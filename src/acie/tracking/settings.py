"""Where runs and models are kept: the environment's say, or a local file."""

__all__ = ["EMBEDDED", "TrackingSettings", "shown"]

import os
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from acie.errors import ConfigurationError
from acie.folders import cache_folder

#: Without any address: a file in the folder where the command runs, with the artifacts beside it.
EMBEDDED = "sqlite:///acie-runs/mlflow.db"
_PREFIX = "ACIE_MLFLOW__"
_SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


def _cache() -> Path:
    return cache_folder() / "models"


@dataclass(frozen=True)
class TrackingSettings:
    """Where runs and models are kept.

    Arguments:
        uri: Address of an MLflow server, or of a database.
        experiment: Experiment that runs are logged to.
        cache: Folder of the models that were pulled.
        offline: Whether a model that was pulled before may stand in while the registry cannot be
            reached.

    Raises:
        ConfigurationError: The address is none that MLflow keeps models at.
    """

    uri: str = EMBEDDED
    experiment: str = "acie"
    cache: Path = field(default_factory=_cache)
    offline: bool = False

    def __post_init__(self) -> None:
        # SQLAlchemy's schemes may name a driver, as in postgresql+psycopg.
        scheme = self.uri.partition(":")[0].partition("+")[0]
        if scheme not in _SCHEMES or ":/" not in self.uri:
            raise ConfigurationError(
                "ACIE_MLFLOW__URI",
                expected=f"an address that begins with one of {', '.join(_SCHEMES)}",
                found=shown(self.uri),
                remedy=f"A local file is {EMBEDDED}.",
            )

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None) -> "TrackingSettings":
        """Settings of the environment.

        ``ACIE_MLFLOW__URI`` wins over ``MLFLOW_TRACKING_URI``; ``ACIE_MLFLOW__EXPERIMENT``,
        ``ACIE_MLFLOW__CACHE`` and ``ACIE_MLFLOW__OFFLINE`` are the other ones.

        Arguments:
            environment: That of the process when left out.

        Raises:
            ConfigurationError: One has a value that it cannot have.
        """
        given = os.environ if environment is None else environment
        own = {name: given.get(f"{_PREFIX}{name}", "") for name in ("EXPERIMENT", "CACHE")}
        return cls(
            uri=address(given) or EMBEDDED,
            experiment=own["EXPERIMENT"] or cls.experiment,
            cache=Path(own["CACHE"]) if own["CACHE"] else _cache(),
            offline=_truth(f"{_PREFIX}OFFLINE", given.get(f"{_PREFIX}OFFLINE", "")),
        )


def address(environment: Mapping[str, str] | None = None) -> str:
    """The address that the environment gives; empty when it gives none."""
    given = os.environ if environment is None else environment
    found = given.get(f"{_PREFIX}URI") or given.get("MLFLOW_TRACKING_URI") or ""
    return "" if found == "null" else found


def shown(uri: str) -> str:
    """An address without the password in it."""
    try:
        parts = urllib.parse.urlsplit(uri)
        secret = parts.password
    except ValueError:
        return uri.partition(":")[0]
    return uri if not secret else uri.replace(f":{secret}@", ":***@", 1)


def _truth(name: str, text: str) -> bool:
    if text.strip().lower() in (*_YES, *_NO):
        return text.strip().lower() in _YES
    raise ConfigurationError(name, expected="true or false", found=repr(text[:40]))
