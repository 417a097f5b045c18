"""``acie models register | versions | promote | rollback | compare | pull``."""

__all__ = ["compare", "promote", "pull", "register", "rollback", "versions"]

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from acie.cli.output import table

if TYPE_CHECKING:
    from acie.tracking import ModelVersion, Registry


def _registry() -> "Registry":
    from acie.tracking import Registry, TrackingSettings
    from acie.tracking.store import Store

    return Registry(Store(TrackingSettings.read()))


def register(folder: Path, name: str, evaluation: Path | None, json_output: bool) -> None:
    """Register a bundle and say what it has become."""
    _say(_registry().register(folder, name, evaluation), json_output)


def promote(
    name: str, version: str, to: str, evaluation: Path | None, json_output: bool
) -> None:
    """Promote a version, or say why not."""
    from acie.tracking import promote

    _say(promote(_registry(), name, version, to, evaluation), json_output)


def rollback(name: str, json_output: bool) -> None:
    """Undo the last promotion to production."""
    from acie.tracking import rollback

    gone, back = rollback(_registry(), name)
    if json_output:
        typer.echo(json.dumps({"from": gone.to_json(), "to": back.to_json()}))
    else:
        typer.echo(f"{name}: production was version {gone.version}, is version {back.version}")


def pull(model: str, out: Path, json_output: bool) -> None:
    """Write a registered bundle to a folder."""
    from acie.tracking import pull

    version = pull(model, out)
    if json_output:
        typer.echo(json.dumps(version.to_json() | {"folder": str(out)}))
    else:
        typer.echo(f"bundle: {out}   {version.uri}   digest {version.digest[:12]}")


def versions(name: str, json_output: bool) -> None:
    """List the versions of a model, the newest first."""
    found = _registry().versions(name)
    if json_output:
        typer.echo(json.dumps([one.to_json() for one in found]))
        return
    rows = [
        (str(one.version), ", ".join(one.aliases) or "-", str(facts["bundle"]), one.digest[:12],
         "yes" if facts["evaluated"] else "no", f"{one.created:%Y-%m-%d}")
        for one, facts in ((one, one.to_json()) for one in found)
    ]  # fmt: skip
    columns = ("version", "alias", "bundle", "digest", "evaluated", "registered")
    table(name if rows else f"{name}: no version is registered", columns, rows)


def compare(name: str, first: str, second: str, json_output: bool) -> None:
    """Compare the evaluations of two versions."""
    from acie.tracking import ModelName
    from acie.tracking.comparison import compare

    registry = _registry()
    pair = [registry.find(ModelName.of(name, which)) for which in (first, second)]
    found = compare(*(registry.evaluation(version) for version in pair))
    if json_output:
        versions = [version.to_json() for version in pair]
        typer.echo(json.dumps({"a": versions[0], "b": versions[1], "rows": found}))
        return
    rows = [(row["name"], _shown(row["a"]), _shown(row["b"]), _change(row)) for row in found]
    labels = tuple(f"version {version.version}" for version in pair)
    table(f"{pair[0].uri} and {pair[1].uri}", ("name", *labels, "change"), rows)


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.3g}"


def _change(row: dict[str, Any]) -> str:
    a, b = row["a"], row["b"]
    if isinstance(a, str) or isinstance(b, str) or a is None or b is None:
        return "" if a == b else "differs"
    if a == b:
        return "0"
    return f"{b - a:+.3g}" if a == 0 else f"{b - a:+.3g} ({100.0 * (b / a - 1.0):+.1f} %)"


def _say(version: "ModelVersion", json_output: bool) -> None:
    if json_output:
        typer.echo(json.dumps(version.to_json()))
    else:
        aliases = ", ".join(version.aliases)
        typer.echo(f"{version.uri}   {aliases}   digest {version.digest[:12]}")
