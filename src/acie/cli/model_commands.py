"""``acie models``: shipped bundles, and the registry with its candidates and its production."""

__all__ = ["model_commands"]

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup


class _ListByDefault(TyperGroup):
    """Without the name of a command it is ``list``: ``acie models`` and ``acie models FOLDER``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["list", *args]
        return super().parse_args(ctx, args)


model_commands = typer.Typer(
    name="models",
    cls=_ListByDefault,
    help="List models; register, promote, compare and pull them. Alone it lists what is shipped.",
)
_NAME = typer.Option(help="Name of the registered model.")
_JSON = typer.Option("--json", help="JSON on standard output.")
_EVALUATION = typer.Option(metavar="FILE", help="The evaluation.json of acie evaluate.")
_WHICH = "A version (3), an alias (production), or models:/NAME/3."


@model_commands.command("list")
def list_models(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Also these bundles, such as those of acie fit.")
    ] = None,
) -> None:
    """List the models that ship with this installation."""
    from acie.cli.models import run

    run(folders or [])


@model_commands.command()
def register(
    folder: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    name: Annotated[str, _NAME] = "acie",
    evaluation: Annotated[Path | None, _EVALUATION] = None,
    json_output: Annotated[bool, _JSON] = False,
) -> None:
    """Register a bundle and make it the candidate.

    Example: acie models register runs/galaxy/bundle --evaluation results/evaluation.json
    """
    from acie.cli.registry import register

    register(folder, name, evaluation, json_output)


@model_commands.command()
def versions(
    name: Annotated[str, _NAME] = "acie", json_output: Annotated[bool, _JSON] = False
) -> None:
    """List the registered versions and what they are at present."""
    from acie.cli.registry import versions

    versions(name, json_output)


@model_commands.command()
def promote(
    version: Annotated[str, typer.Argument(help=_WHICH)],
    to: Annotated[str, typer.Option(help="staging or production.")],
    name: Annotated[str, _NAME] = "acie",
    evaluation: Annotated[Path | None, _EVALUATION] = None,
    json_output: Annotated[bool, _JSON] = False,
) -> None:
    """Let staging or production be a version; production only what passes the gate.

    Example: acie models promote 3 --to production
    """
    from acie.cli.registry import promote

    promote(name, version, to, evaluation, json_output)


@model_commands.command()
def rollback(
    name: Annotated[str, _NAME] = "acie", json_output: Annotated[bool, _JSON] = False
) -> None:
    """Let production be what it was before."""
    from acie.cli.registry import rollback

    rollback(name, json_output)


@model_commands.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help=_WHICH)],
    second: Annotated[str, typer.Argument(metavar="B", help="The same.")],
    name: Annotated[str, _NAME] = "acie",
    json_output: Annotated[bool, _JSON] = False,
) -> None:
    """Compare the evaluations of two versions.

    Example: acie models compare production candidate
    """
    from acie.cli.registry import compare

    compare(name, first, second, json_output)


@model_commands.command()
def pull(
    model: Annotated[str, typer.Argument(help="Such as models:/acie@production.")],
    out: Annotated[Path, typer.Option(help="A new folder.")],
    json_output: Annotated[bool, _JSON] = False,
) -> None:
    """Write a registered bundle to a folder, verified.

    Example: acie models pull models:/acie@production --out acie-production
    """
    from acie.cli.registry import pull

    pull(model, out, json_output)
