"""``acie monitor``: how a running service is, in a terminal or in a browser."""

__all__ = ["MonitorOptions", "run"]

import asyncio
import json
import os
import sys
import time
import webbrowser
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from acie.errors import ConfigurationError

if TYPE_CHECKING:
    from acie.monitoring import Snapshot, Source

#: Path of the dashboard that Grafana shows first.
_BOARD = "/d/acie-overview"


@dataclass(frozen=True)
class MonitorOptions:
    """Options of the command.

    Arguments:
        dashboard: ``terminal``, ``web`` or ``grafana``.
        url: Where the service is.
        token: API key or token, where the service asks for one.
        grafana: Where Grafana is.
        alerts: Where Alertmanager or Prometheus is, or None.
        every_s: Seconds between looks.
        once: Whether to look once and leave.
        json_output: Whether to print JSON.
    """

    dashboard: str
    url: str
    token: str | None
    grafana: str
    alerts: str | None
    every_s: float
    once: bool
    json_output: bool


def run(options: MonitorOptions) -> int:
    """Show the service; returns the exit code.

    Raises:
        ConfigurationError: An option is wrong, or the extra is missing.
        Unreachable: The service does not answer. The live page waits for it instead.
    """
    if options.dashboard not in ("terminal", "web", "grafana"):
        raise ConfigurationError(
            "--dashboard", expected="terminal, web or grafana", found=options.dashboard
        )
    monitoring = _monitoring()
    if options.dashboard != "terminal":
        return _open(options, monitoring)
    source = monitoring.Source(options.url, options.token, options.alerts)
    if options.once or options.json_output:
        return asyncio.run(_print(source, options))
    if not sys.stdout.isatty():
        raise ConfigurationError(
            "acie monitor", expected="a terminal", found="a file or a pipe",
            remedy="Print one look with --once, or lines for machines with --json.",
        )  # fmt: skip
    from acie.monitoring.terminal import MonitorApp

    MonitorApp(source, options.every_s).run()
    return 0


def _monitoring() -> Any:
    """The package, with what it needs."""
    try:
        import textual  # noqa: F401

        from acie import monitoring
    except ImportError as error:
        raise ConfigurationError(
            "monitor",
            expected="the extra of operations",
            found=f"no module {error.name}",
            remedy="pip install 'acie[deploy]'.",
        ) from None
    return monitoring


async def _print(source: "Source", options: MonitorOptions) -> int:
    """One look, or one line of JSON per look until interrupted."""
    try:
        while True:
            begun = time.monotonic()
            snapshot = await source.look()
            if options.json_output:
                typer.echo(json.dumps(snapshot.to_json()))
            else:
                _show(snapshot, source)
            if options.once:
                return 0
            await asyncio.sleep(max(options.every_s - (time.monotonic() - begun), 0.0))
    except asyncio.CancelledError:
        return 0
    finally:
        await source.close()


def _show(snapshot: "Snapshot", source: "Source") -> None:
    from acie.monitoring import sections
    from acie.monitoring.sections import duration

    up = duration(snapshot.number("uptime_s") or 0.0)
    typer.echo(f"ACIE {snapshot.body.get('version', '')} at {source.url}, up {up}")
    for section in sections(snapshot):
        mark = {"good": " ", "odd": "!", "bad": "✗"}[section.state]
        heads = [f"{mark} {section.title}", *[""] * len(section.lines)]
        for head, line in zip(heads, section.lines, strict=False):
            typer.echo(f"{head:<21}{line}")


def _open(options: MonitorOptions, monitoring: Any) -> int:
    """Open a page in a browser, once it is known to answer; say where it is in any case.

    Raises:
        Unreachable: Nobody answers there.
    """
    web = options.dashboard == "web"
    base = (options.url if web else options.grafana).rstrip("/")
    probe, page = (f"{base}/dashboard", f"{base}/dashboard") if web else (
        f"{base}/api/health", f"{base}{_BOARD}")  # fmt: skip
    monitoring.Source(base)  # says so where it is no address
    status = monitoring.answers(probe)
    if status is None or status >= 400:
        whose = "the dashboard of acie serve" if web else "Grafana"
        option = "--url" if web else "--grafana"
        raise monitoring.Unreachable(
            base, expected=f"{whose} at {probe}",
            found="nobody who listens there" if status is None else f"status {status}",
            remedy=f"Start it, or say with {option} where it is; acie monitor needs neither.",
        )  # fmt: skip
    opened = _browser_opens(page)
    if options.json_output:
        typer.echo(json.dumps({"url": page, "opened": opened}))
    else:
        typer.echo(page if opened else f"{page}\nno browser here: open it where there is one")
    return 0


def _browser_opens(page: str) -> bool:
    """Whether a browser was told to show a page."""
    screen = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
    if sys.platform.startswith("linux") and not screen:
        return False  # what webbrowser would find then takes the terminal
    try:
        return webbrowser.open(page)
    except webbrowser.Error:
        return False
