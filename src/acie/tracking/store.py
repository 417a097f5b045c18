"""The door to MLflow: one client, checked when it is opened, whose errors are ACIE's.

MLflow waits for minutes and retries seven times unless told otherwise. Here a request has ten
seconds and one retry; its own variables, ``MLFLOW_HTTP_REQUEST_TIMEOUT`` and
``MLFLOW_HTTP_REQUEST_MAX_RETRIES``, win where they are set.
"""

__all__ = ["Store"]

import contextlib
import os
import socket
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from acie.errors import ACIEError, ConfigurationError, RegistryUnreachable, TrackingError
from acie.tracking.settings import TrackingSettings, shown

_PATIENCE_S = 10
#: MLflow's own settings, where the user has set none: patience, and silence.
_VARIABLES = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(_PATIENCE_S),
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
#: Codes with which a server that can be reached refuses.
_REFUSALS = {
    "BAD_REQUEST", "CUSTOMER_UNAUTHORIZED", "INVALID_PARAMETER_VALUE", "INVALID_STATE",
    "PERMISSION_DENIED", "RESOURCE_ALREADY_EXISTS", "UNAUTHENTICATED",
}  # fmt: skip
#: Codes that mean that a thing asked for by name is not there.
MISSING = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "ENDPOINT_NOT_FOUND"})


class Store:
    """Runs, artifacts and registered models.

    Arguments:
        settings: Where they are.

    Raises:
        ConfigurationError: MLflow is not installed.
        RegistryUnreachable: Nothing answers there.
        TrackingError: What answers refuses.
    """

    def __init__(self, settings: TrackingSettings) -> None:
        self.settings = settings
        self._experiment: str | None = None
        mlflow = _mlflow()
        with self.asking():
            _knock(settings.uri)
            self.client = mlflow.MlflowClient(settings.uri, settings.uri)
            # The first question: an unreachable server is found here and not hours later.
            self.client.get_experiment_by_name(settings.experiment)

    @contextlib.contextmanager
    def asking(self, missing: ACIEError | None = None) -> Iterator[None]:
        """Errors of MLflow and of what it stands on become ACIE's.

        Arguments:
            missing: Raised when what was asked for by name is not there.
        """
        try:
            yield
        except ACIEError:
            raise
        except Exception as error:  # MLflow passes on whatever its backends raise.
            code = getattr(error, "error_code", None)
            if missing is not None and code in MISSING | {"INVALID_PARAMETER_VALUE"}:
                raise missing from None
            kind = TrackingError if code in _REFUSALS | MISSING else RegistryUnreachable
            raise kind(
                "mlflow",
                expected="an MLflow server or database that answers"
                if kind is RegistryUnreachable
                else "a request that MLflow accepts",
                found=self._told(error),
                remedy="Look at ACIE_MLFLOW__URI and MLFLOW_TRACKING_URI."
                if kind is RegistryUnreachable
                else "",
            ) from None

    def _told(self, error: Exception) -> str:
        """What happened, on one line and without secrets."""
        uri = self.settings.uri
        text = " ".join(str(error).split()) or type(error).__name__
        secret = urllib.parse.urlsplit(uri).password
        text = text.replace(secret, "***") if secret else text
        # urllib3 tells the cause at the end of a long story.
        text = text.rpartition("(Caused by ")[2].rstrip(")")
        return f"{shown(uri)} ({text[:300]})"

    @property
    def experiment(self) -> str:
        """Identity of the experiment; made when it is first asked for."""
        if self._experiment is None:
            name = self.settings.experiment
            with self.asking():
                found = self.client.get_experiment_by_name(name)
                self._experiment = (
                    found.experiment_id
                    if found is not None
                    else self.client.create_experiment(name, artifact_location=self._artifacts())
                )
        return self._experiment

    def _artifacts(self) -> str | None:
        """A folder beside an SQLite file; a server has a place of its own."""
        file = _sqlite_file(self.settings.uri)
        return None if file is None else (file.parent / "artifacts").absolute().as_uri()

    def download(self, source: str, folder: Path) -> Path:
        """Fetch a folder of artifacts.

        Arguments:
            source: Its address.
            folder: Where it goes.

        Returns:
            The folder with the artifacts: ``folder`` or one in it.

        Raises:
            RegistryUnreachable: Nobody answers.
            TrackingError: The files are not there.
        """
        artifacts = _mlflow("artifacts")
        try:
            with self.asking():
                found = artifacts.download_artifacts(
                    artifact_uri=source, dst_path=str(folder), tracking_uri=self.settings.uri
                )
        except RegistryUnreachable as error:
            # Files that are gone fail like a server that is gone: see whether any are listed.
            with self.asking():
                listed = artifacts.list_artifacts(
                    artifact_uri=source, tracking_uri=self.settings.uri
                )
            if listed:
                raise
            raise TrackingError(
                "artifacts", expected="files that are still stored", found=error.found
            ) from None
        return Path(found)

    def dataset(self, name: str, digest: str, source: str) -> Any:
        """What MLflow calls the input of a run."""
        entities = _mlflow("entities")
        # MLflow keeps 36 characters of a digest.
        data = entities.Dataset(name, digest[:36], "acie", source)
        return entities.DatasetInput(data)

    def metrics(self, values: dict[str, float], step: int, time_ms: int) -> list[Any]:
        """Numbers as MLflow wants them."""
        metric = _mlflow("entities").Metric
        return [metric(name, value, time_ms, step) for name, value in values.items()]

    def parameters(self, values: dict[str, str]) -> list[Any]:
        """Settings as MLflow wants them."""
        param = _mlflow("entities").Param
        return [param(name, value) for name, value in values.items()]


def _mlflow(module: str = "") -> Any:
    """MLflow or a module of it, told to be quiet before its first import."""
    for name, value in _VARIABLES.items():
        os.environ.setdefault(name, value)
    try:
        import mlflow
        import mlflow.artifacts
        import mlflow.entities
    except ImportError as error:
        raise ConfigurationError(
            "mlflow",
            expected="the extra for tracking",
            found=f"no module {error.name}",
            remedy="pip install 'acie[track]'.",
        ) from None
    return getattr(mlflow, module) if module else mlflow


def _knock(uri: str) -> None:
    """See that a database's host is there, for which MLflow would try for two minutes.

    The folder of an SQLite file is made.
    """
    file = _sqlite_file(uri)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        return
    parts = urllib.parse.urlsplit(uri)
    port = _PORTS.get(parts.scheme.partition("+")[0])
    if port is not None and parts.hostname:
        address = (parts.hostname, parts.port or port)
        socket.create_connection(address, timeout=_PATIENCE_S).close()


def _sqlite_file(uri: str) -> Path | None:
    """The file of an SQLite address: what follows three slashes."""
    scheme, _, rest = uri.partition(":///")
    return Path(rest.partition("?")[0]) if scheme.partition("+")[0] == "sqlite" else None
