"""``acie serve``: the inference service."""

__all__ = ["ServeOptions", "read_settings", "run", "settings_text"]

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from acie.errors import ConfigurationError


@dataclass(frozen=True)
class ServeOptions:
    """Options of the command; those that are ``None`` are left to the file and environment."""

    config: Path | None = None
    host: str | None = None
    port: int | None = None
    grpc_port: int | None = None
    model: tuple[str, ...] = ()
    insecure: bool = False
    print_settings: bool = False
    migrate: bool = False
    runtime: str | None = None

    @property
    def flags(self) -> dict[str, Any]:
        """The options as sections of the settings."""
        server = {"host": self.host, "port": self.port, "grpc_port": self.grpc_port}
        sections = {
            "server": {k: v for k, v in server.items() if v is not None}
            | ({"insecure": True} if self.insecure else {}),
            "inference": ({"models": list(self.model)} if self.model else {})
            | ({"runtime": self.runtime} if self.runtime else {}),
            "database": {"migrate": True} if self.migrate else {},
        }
        return {name: section for name, section in sections.items() if section}


def run(options: ServeOptions) -> None:
    """Serve, or show the settings.

    Raises:
        ConfigurationError: A setting is wrong, the port is taken, or the extra is missing.
        UnknownModel: There is no such model.
    """
    settings = read_settings(options.config, **options.flags)
    if options.print_settings:
        sources = type(settings).sources(options.config, **options.flags)
        typer.echo(settings_text(settings, sources))
        return
    from acie.manifest import find_bundle, is_registered
    from acie.serving.logs import configure_logs
    from acie.serving.server import serve

    for model in settings.inference.models:
        # A registry is asked once, by the service, which may have an address of its own for it.
        if not is_registered(model):
            find_bundle(model)
    configure_logs(settings)
    serve(settings)


def read_settings(config: Path | None, **flags: Any) -> Any:
    """The settings of the service.

    Raises:
        ConfigurationError: One is wrong, or the extra is missing.
    """
    try:
        from acie.serving.settings import Settings
    except ImportError as error:
        raise ConfigurationError(
            "serve",
            expected="the extra of the service",
            found=f"no module {error.name}",
            remedy="pip install 'acie[serve]'.",
        ) from None
    return Settings.read(config, **flags)


def settings_text(settings: Any, sources: list[tuple[str, dict[str, Any]]]) -> str:
    """All settings as a YAML file that ``--config`` reads, with where each comes from.

    Secrets are left out: their lines are comments.

    Arguments:
        settings: What is in force.
        sources: Names and contents of where they may come from, the strongest first.
    """
    lines = ["# Settings of acie serve, as a file for --config. Secrets are not shown."]
    for section, field in type(settings).model_fields.items():
        values = getattr(settings, section)
        lines += ["", f"{section}:  # {(field.annotation.__doc__ or '').strip()}"]
        for name, own in type(values).model_fields.items():
            source = _source(section, name, sources)
            value = getattr(values, name)
            secret = hasattr(value, "get_secret_value")
            lines.append(f"  # {own.description}" if own.description else "  #")
            shown = "(set)" if secret else _yaml(value)
            text = f"  {'# ' if secret else ''}{name}: {shown}"
            lines.append(text if source == "default" else f"{text}  # from {source}")
    return "\n".join(lines)


def _source(section: str, name: str, sources: list[tuple[str, dict[str, Any]]]) -> str:
    for source, content in sources:
        if name in (content.get(section) or {}):
            if source in ("environment", "secret file"):
                suffix = "_FILE" if source == "secret file" else ""
                return f"ACIE_{section}__{name}{suffix}".upper()
            return f"--{name.replace('_', '-')}" if source == "flag" else source
    return "default"


def _yaml(value: object) -> str:
    """A value in YAML's flow style, which JSON is part of."""
    plain = str(value) if isinstance(value, Path) else value
    return json.dumps(list(plain) if isinstance(plain, tuple) else plain)
