"""``acie token``: API keys of the service."""

__all__ = ["token_commands"]

from pathlib import Path
from typing import Annotated

import typer

token_commands = typer.Typer(name="token", help="Make, list and revoke API keys of the service.",
                    no_args_is_help=True)  # fmt: skip
_CONFIG = typer.Option(metavar="FILE", help="YAML with settings; their database holds the keys.")
_JSON = typer.Option("--json", help="JSON on standard output.")


@token_commands.command("create")
def token_create(
    name: Annotated[str, typer.Argument(help="Who or what the key is for.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="infer, read or admin; may be repeated.")
    ] = None,
    config: Annotated[Path | None, _CONFIG] = None,
    json_output: Annotated[bool, _JSON] = False,
) -> None:
    """Make a key and show it: it is shown once and stored nowhere.

    Example: acie token create dashboard --scope read
    """
    from acie.cli.token import create

    create(name, tuple(scope or ("infer", "read")), config, json_output)


@token_commands.command("list")
def token_list(
    config: Annotated[Path | None, _CONFIG] = None, json_output: Annotated[bool, _JSON] = False
) -> None:
    """List the keys, without what would open a door."""
    from acie.cli.token import show

    show(config, json_output)


@token_commands.command("revoke")
def token_revoke(
    id: Annotated[str, typer.Argument(help="As acie token list shows it; its beginning will do.")],
    config: Annotated[Path | None, _CONFIG] = None,
) -> None:
    """Revoke a key; running services refuse it within 5 seconds."""
    from acie.cli.token import revoke

    revoke(id, config)
