"""The command line: ``acie infer | fit | simulate | train | evaluate | models | doctor``."""

__all__ = ["main"]

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from acie.errors import ACIEError

app = typer.Typer(
    name="acie",
    help="What would this galaxy's spectrum be, had its state been different?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def infer(
    files: Annotated[
        list[str],
        typer.Argument(help="Spectra (SDSS, BOSS, DESI, FITS, tables), or catalogues."),
    ],
    do: Annotated[
        list[str] | None,
        typer.Option("--do", metavar="EXPR", help="stellar_mass*=1.5, dust_av=0, age-=1, ..."),
    ] = None,
    redshift: Annotated[float | None, typer.Option(help="Redshift, if the file has none.")] = None,
    hold: Annotated[str, typer.Option(help="Descendants that stay as they are, a,b,c.")] = "",
    samples: Annotated[int, typer.Option(min=2, help="Posterior draws per galaxy.")] = 256,
    model: Annotated[str, typer.Option(help="Name or folder of a model.")] = "galaxy-v1",
    out: Annotated[Path | None, typer.Option(help="Folder for .json, .fits and .png.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
) -> None:
    """Infer the state of galaxies and answer a counterfactual question about each.

    Example: acie infer spec.fits --do "stellar_mass*=1.5" --out results
    """
    from acie.cli.infer import InferOptions, run

    options = InferOptions(
        do=tuple(do or ()), redshift=redshift, samples=samples, model=model, out=out,
        json_output=json_output, seed=seed,
        hold=tuple(name.strip() for name in hold.split(",") if name.strip()),
    )  # fmt: skip
    raise typer.Exit(run(files, options))


@app.command()
def fit(
    graph: Annotated[Path, typer.Option(help="YAML file: variables, their causes and kinds.")],
    data: Annotated[Path, typer.Option(help="Catalogue: CSV, ECSV, FITS or Parquet.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle.")],
    name: Annotated[str, typer.Option(help="Name of the model; else that of the graph.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    json_output: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Learn a causal model of a catalogue from your own graph.

    Example: acie fit --graph graph.yaml --data catalogue.parquet --out my-model,
    then acie infer catalogue.parquet --model my-model --do "mass*=1.5"
    """
    from acie.cli.fit import run

    raise typer.Exit(run(graph, data, out, name, seed, json_output))


@app.command()
def simulate(
    out: Annotated[Path, typer.Option(help="Folder of the shards.")],
    n: Annotated[int, typer.Option("--n", min=1, help="Number of galaxies.")] = 1000,
    model: Annotated[str, typer.Option(help="Model whose templates are used.")] = "galaxy-v1",
    do: Annotated[list[str] | None, typer.Option("--do", help="Also the true answer.")] = None,
    shard: Annotated[int, typer.Option(min=1, help="Galaxies per file.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
) -> None:
    """Simulate galaxies with their noise, so that true counterfactuals are known."""
    from acie.cli.simulate import run

    run(out, n, model, list(do or ()), shard, seed)


@app.command()
def train(
    config: Annotated[Path, typer.Option(help="YAML settings, such as configs/galaxy.yaml.")],
    out: Annotated[
        Path | None, typer.Option(help="Working folder, runs/NAME if left out.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda.")] = "auto",
) -> None:
    """Train a model and write its bundle; a killed run goes on where it stopped."""
    from acie.training import TrainConfig
    from acie.training.run import train as run

    settings = TrainConfig.read(config)
    folder = out or Path("runs") / settings.name
    bundle = run(settings, folder, device=device, progress=lambda text: typer.echo(text, err=True))
    typer.echo(f"bundle: {bundle}")


@app.command()
def evaluate(
    model: Annotated[str, typer.Option(help="Name or folder of a model.")] = "galaxy-v1",
    n: Annotated[int, typer.Option("--n", min=10, help="Fresh simulations.")] = 200,
    out: Annotated[Path, typer.Option(help="Folder of the figure and the JSON.")] = Path(
        "results"
    ),
    snr: Annotated[float, typer.Option(help="Median signal-to-noise ratio per pixel.")] = 20.0,
    do: Annotated[str, typer.Option("--do", help="The question asked.")] = "stellar_mass*=1.5",
    samples: Annotated[int, typer.Option(help="Posterior draws per galaxy.")] = 256,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 1,
) -> None:
    """Parameter recovery and counterfactual error on fresh simulations."""
    from acie.cli.evaluate import run

    run(model, n, out, snr, do, samples, seed)


@app.command()
def models(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Also these bundles, such as those of acie fit.")
    ] = None,
) -> None:
    """List the models that ship with this installation."""
    from acie.cli.models import run

    run(folders or [])


@app.command()
def doctor() -> None:
    """Check this installation: versions, device, model, template grids."""
    from acie.cli.doctor import run

    raise typer.Exit(run())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code and shows no traceback for user errors."""
    try:
        app(args=None if argv is None else list(argv), prog_name="acie")
    except ACIEError as error:
        typer.echo(f"acie: {type(error).__name__}: {error}", err=True)
        return 2
    except SystemExit as leave:
        # typer ends every command so, with 0 or with 2 for wrong usage.
        return leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
