"""Logs: JSON in the Elastic Common Schema for machines, lines for people, secrets for nobody.

References:
    Elastic Common Schema, https://www.elastic.co/guide/en/ecs/current.
"""

__all__ = ["Redaction", "configure_logs"]

import logging
import re
import sys
from collections.abc import Iterable, MutableMapping
from typing import Any

import ecs_logging
import structlog

from acie.serving.request import current_request
from acie.serving.settings import Settings

_HIDDEN = "[hidden]"
#: Names whose values are never shown.
_NAMES = re.compile(
    r"(?i)^(authorization|cookie|set-cookie|.*(secret|password|api[-_]?key|token))$"
)
#: Secrets by their shape: API keys, JWTs, credentials of a scheme, passwords in URLs.
_SHAPES = (
    (re.compile(r"acie_[A-Za-z0-9_-]{16,}"), _HIDDEN),
    (re.compile(r"eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), _HIDDEN),
    (re.compile(r"(?i)\b(bearer|basic)\s+[^\s\"',]+"), rf"\1 {_HIDDEN}"),
    (re.compile(r"(\w+://[^\s:/@]*):[^\s/@]+@"), rf"\1:{_HIDDEN}@"),
)


class Redaction:
    """Takes secrets out of what is logged, at any depth.

    Arguments:
        secrets: Texts that must not appear whatever their shape.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = sorted({one for one in secrets if len(one) >= 6}, key=len, reverse=True)

    def __call__(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> Any:
        """A processor of structlog."""
        return {name: self._clean(value, name) for name, value in event.items()}

    def text(self, value: str) -> str:
        """A text without secrets."""
        for secret in self._secrets:
            value = value.replace(secret, _HIDDEN)
        for shape, instead in _SHAPES:
            value = shape.sub(instead, value)
        return value

    def _clean(self, value: Any, name: str = "") -> Any:
        if name and _NAMES.match(name) and isinstance(value, str | bytes):
            return _HIDDEN
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bytes):
            return self.text(value.decode("utf-8", "replace"))
        if isinstance(value, dict):
            return {k: self._clean(v, str(k)) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self._clean(one) for one in value]
        return value


def _with_request(logger: Any, method: str, event: MutableMapping[str, Any]) -> Any:
    """Say which request it is about."""
    request = current_request()
    if request.request_id:
        event.setdefault("request_id", request.request_id)
    if request.trace_id:
        event.setdefault("trace_id", request.trace_id)
    return event


#: Our names, and what ECS calls them.
_ECS = {
    "request_id": "http.request.id",
    "trace_id": "trace.id",
    "method": "http.request.method",
    "status": "http.response.status_code",
    "path": "url.path",
    "principal": "user.name",
    "client": "client.address",
    "level": "log.level",
    "logger": "log.logger",
    "exception": "error.stack_trace",
}


def _as_ecs(logger: Any, method: str, event: MutableMapping[str, Any]) -> Any:
    """Rename to ECS; what ECS does not know goes below ``acie``."""
    kept = {"event", "timestamp", "message"}
    renamed: dict[str, Any] = {"event.dataset": "acie.serving", "service.name": "acie"}
    for name, value in event.items():
        if name == "duration_ms":
            renamed["event.duration"] = int(value * 1e6)
        elif name in kept:
            renamed[name] = value
        elif not name.startswith("_"):
            renamed[_ECS.get(name, f"acie.{name}")] = value
    return renamed


def configure_logs(settings: Settings) -> None:
    """Send the logs of this process to standard error, those of libraries among them.

    Arguments:
        settings: Their level and form, and the secrets that must not be in them.
    """
    telemetry = settings.telemetry
    form = telemetry.log_format
    if form == "auto":
        form = "console" if sys.stderr.isatty() else "json"
    first = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        _with_request,
        structlog.processors.format_exc_info,
        Redaction(secrets_of(settings)),
    ]
    if form == "json":
        last = [_as_ecs, ecs_logging.StructlogFormatter()]
    else:
        last = [
            structlog.processors.TimeStamper("%H:%M:%S", utc=False, key="timestamp"),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[],
            processors=[*first, structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(telemetry.log_level)
    # Its messages about starting and stopping say what ours say.
    logging.getLogger("uvicorn").setLevel(max(root.level, logging.WARNING))


def secrets_of(settings: Settings) -> list[str]:
    """Every secret among the settings, and the passwords of URLs."""
    found = []
    for section in type(settings).model_fields:
        for value in dict(getattr(settings, section)).values():
            if hasattr(value, "get_secret_value"):
                text = value.get_secret_value()
                found.append(text)
                found += re.findall(r"://[^:/@]*:([^@]+)@", text)
    return found
