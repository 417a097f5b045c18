"""The command line: ``acie infer | effect | explain | active | fit | simulate | ...``."""

__all__ = ["main"]

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from acie.allocator import keep_freed_memory
from acie.cli.making_commands import making_commands
from acie.cli.model_commands import model_commands
from acie.cli.operating_commands import operating_commands
from acie.cli.options import ADDRESS, WORKERS, only_with_ray
from acie.cli.token_commands import token_commands
from acie.errors import ACIEError

app = typer.Typer(
    name="acie",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from acie import __version__

        typer.echo(f"acie {__version__}")
        raise typer.Exit


@app.callback()
def of_all_commands(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show it and exit."),
    ] = False,
) -> None:
    """What would this galaxy's spectrum be, had its state been different?"""


def _redshift(text: str) -> float:
    """A number; NaN, which stands for an unknown redshift, where it is to be estimated."""
    if text.strip().lower() == "estimate":
        return math.nan
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither a number nor 'estimate'.") from None


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
    redshift: Annotated[
        float | None,
        typer.Option(
            parser=_redshift,
            metavar="Z|estimate",
            help="Redshift, in place of the file's; estimated where there is none.",
        ),
    ] = None,
    hold: Annotated[str, typer.Option(help="Descendants that stay as they are, a,b,c.")] = "",
    samples: Annotated[int, typer.Option(min=2, help="Posterior draws per galaxy.")] = 256,
    model: Annotated[str, typer.Option(help="Name or folder of a model.")] = "galaxy-v1",
    out: Annotated[Path | None, typer.Option(help="Folder for .json, .fits and .png.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    runtime: Annotated[str, typer.Option(help="torch, or onnx: ONNX Runtime.")] = "torch",
    ray: Annotated[
        bool, typer.Option("--ray", help="FILES are a catalogue of shards, answered with Ray.")
    ] = False,
    address: Annotated[str | None, ADDRESS] = None,
    workers: Annotated[int | None, WORKERS] = None,
    spectra: Annotated[
        bool, typer.Option("--spectra", help="With --ray: keep counterfactual spectra.")
    ] = False,
) -> None:
    """Infer the state of galaxies and answer a counterfactual question about each.

    Example: acie infer spec.fits --do "stellar_mass*=1.5" --out results

    acie infer --ray catalogue/ --do "stellar_mass*=1.5" --samples 64 --out answers
    """
    from acie.cli.infer import InferOptions, run

    options = InferOptions(
        do=tuple(do or ()), redshift=redshift, samples=samples, model=model, out=out,
        json_output=json_output, seed=seed, runtime=runtime,
        hold=tuple(name.strip() for name in hold.split(",") if name.strip()),
    )  # fmt: skip
    if ray:
        from acie.cli.infer_ray import RayOptions
        from acie.cli.infer_ray import run as run_ray

        raise typer.Exit(run_ray(files, options, RayOptions(address, workers, spectra)))
    only_with_ray(address, workers, spectra)
    raise typer.Exit(run(files, options))


@app.command()
def effect(
    do: Annotated[list[str], typer.Option("--do", metavar="EXPR", help="The action.")],
    on: Annotated[
        list[str], typer.Option("--on", metavar="NAME", help="A variable, dn4000, g_r, ...")
    ],
    files: Annotated[
        list[str] | None, typer.Argument(help="Spectra; without any, the population.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="Groups along this variable.")] = None,
    control: Annotated[str, typer.Option(help="Action of the world compared with.")] = "",
    hold: Annotated[str, typer.Option(help="Descendants that stay as they are, a,b,c.")] = "",
    redshift: Annotated[
        float | None, typer.Option(help="Of the population (0.1), or if the file has none.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=32, help="Galaxies (4000), or posterior draws (256).")
    ] = None,
    level: Annotated[float, typer.Option(help="Probability of intervals of means.")] = 0.95,
    sensitivity: Annotated[bool, typer.Option(help="Also under other assumptions.")] = False,
    alternative: Annotated[
        list[str] | None, typer.Option(help="Only these assumptions; a~b:0.3, a>b:0.5 too.")
    ] = None,
    model: Annotated[str, typer.Option(help="Name or folder of a model.")] = "galaxy-v1",
    json_output: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
) -> None:
    """What is seen, and what an action does: on average, for some galaxies, for one.

    Example: acie effect --do "stellar_mass*=1.5" --on dn4000 --by quenched
    """
    from acie.cli.answers import names_of
    from acie.cli.effect import EffectOptions, run

    options = EffectOptions(
        do=tuple(do), on=tuple(on), by=by, control=control, hold=names_of(hold),
        redshift=redshift, samples=samples, level=level, sensitivity=sensitivity,
        alternative=tuple(alternative or ()), model=model, json_output=json_output, seed=seed,
    )  # fmt: skip
    raise typer.Exit(run(files or [], options))


@app.command()
def explain(
    files: Annotated[list[str] | None, typer.Argument(help="One spectrum, or two.")] = None,
    do: Annotated[
        list[str] | None, typer.Option("--do", metavar="EXPR", help="Explain this effect.")
    ] = None,
    on: Annotated[str, typer.Option(metavar="NAME", help="A variable, dn4000, g_r, ...")] = "",
    path: Annotated[
        list[str] | None, typer.Option(metavar="A>B>C", help="Only this path; may be repeated.")
    ] = None,
    through: Annotated[str, typer.Option(help="Mediators a,b: direct and indirect effect.")] = "",
    target: Annotated[str, typer.Option(help="dn4000=1.4; or dn4000, as in a second file.")] = "",
    by: Annotated[list[str] | None, typer.Option(help="Variable changed for the target.")] = None,
    hold: Annotated[str, typer.Option(help="What stays as it is on the way there, a,b.")] = "",
    identify: Annotated[str, typer.Option(metavar="CAUSE>OUTCOME", help="About the graph.")] = "",
    hidden: Annotated[str, typer.Option(help="Variables not measured, a,b.")] = "",
    falsify: Annotated[
        str, typer.Option(metavar="CSV", help="Test the graph on a catalogue.")
    ] = "",
    permutations: Annotated[
        int, typer.Option(min=0, help="Shuffled graphs to compare with.")
    ] = 0,
    confounded: Annotated[
        list[str] | None, typer.Option(metavar="A~B", help="A common cause outside the graph.")
    ] = None,
    sensitivity: Annotated[bool, typer.Option(help="Also under other assumptions.")] = False,
    alternative: Annotated[
        list[str] | None, typer.Option(help="Only these assumptions; a~b:0.3, a>b:0.5 too.")
    ] = None,
    redshift: Annotated[float | None, typer.Option(help="Redshift, if the file has none.")] = None,
    samples: Annotated[int, typer.Option(min=32, help="Posterior draws per galaxy.")] = 256,
    model: Annotated[str, typer.Option(help="Name or folder of a model.")] = "galaxy-v1",
    json_output: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
) -> None:
    """What carries an effect, what makes two galaxies differ, what would reach a target.

    acie explain A.fits --do "stellar_mass*=1.5" --on dn4000

    acie explain A.fits B.fits --on dn4000

    acie explain A.fits --target dn4000=1.4 --by age

    acie explain --identify "stellar_mass>sfr" --hidden halo_mass

    acie explain --falsify catalogue.csv --permutations 100
    """
    from acie.cli.answers import names_of
    from acie.cli.explain import ExplainOptions, run

    options = ExplainOptions(
        do=tuple(do or ()), on=on, path=tuple(path or ()), through=names_of(through),
        target=target, by=tuple(by or ()), hold=names_of(hold), identify=identify,
        hidden=names_of(hidden), falsify=falsify, permutations=permutations,
        confounded=tuple(confounded or ()), sensitivity=sensitivity,
        alternative=tuple(alternative or ()), redshift=redshift, samples=samples, model=model,
        json_output=json_output, seed=seed,
    )  # fmt: skip
    raise typer.Exit(run(files or [], options))


@app.command()
def active(
    pool: Annotated[list[str], typer.Option("--pool", help="Spectra, or catalogues.")],
    files: Annotated[list[str] | None, typer.Argument(help="More of the pool.")] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="Number of galaxies to choose.")] = 100,
    by: Annotated[
        str | None,
        typer.Option(
            help="posterior_variance, variance_reduction, information_gain, effect_variance, "
            "random."
        ),
    ] = None,
    do: Annotated[
        list[str] | None, typer.Option("--do", metavar="EXPR", help="The action of the effect.")
    ] = None,
    on: Annotated[str, typer.Option(metavar="NAME", help="A variable, dn4000, g_r, ...")] = "",
    batch: Annotated[
        str, typer.Option(help="determinantal, k_centre; highest, without diversity.")
    ] = "determinantal",
    exposure: Annotated[
        float, typer.Option(help="Exposure times this factor, for what is expected.")
    ] = 4.0,
    redshift: Annotated[
        float | None,
        typer.Option(parser=_redshift, metavar="Z|estimate", help="As for infer."),
    ] = None,
    samples: Annotated[int, typer.Option(min=32, help="Posterior draws per galaxy.")] = 256,
    model: Annotated[str, typer.Option(help="Name or folder of a model.")] = "galaxy-v1",
    out: Annotated[Path | None, typer.Option(help="Folder for ranking.json and .csv.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
) -> None:
    """Which galaxies to observe next: uncertain, informative, and not all alike.

    Example: acie active --pool spectra/*.fits --n 20 --do "stellar_mass*=1.5" --on dn4000

    With a model of acie fit: the rows of a catalogue whose missing values to measure next.
    """
    from acie.cli.active import ActiveOptions, run

    options = ActiveOptions(
        n=n, by=by, do=tuple(do or ()), on=on, batch=batch, exposure=exposure, redshift=redshift,
        samples=samples, model=model, out=out, json_output=json_output, seed=seed,
    )  # fmt: skip
    raise typer.Exit(run([*pool, *(files or [])], options))


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


app.add_typer(making_commands)
app.add_typer(model_commands)
app.add_typer(token_commands)
app.add_typer(operating_commands)


@app.command()
def serve(
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML with settings.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to bind (127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="Port of REST (8080); 0: any.")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="Port of gRPC (50051); 0: any.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Name or folder of a model; may be repeated.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let other machines in without authentication.")
    ] = False,
    print_settings: Annotated[
        bool, typer.Option("--print-settings", help="Show all settings and where they are from.")
    ] = False,
    migrate: Annotated[
        bool, typer.Option("--migrate", help="Migrate PostgreSQL first; SQLite always is.")
    ] = False,
    runtime: Annotated[
        str | None, typer.Option(help="torch, or onnx: ONNX Runtime.")
    ] = None,
) -> None:
    """Answer questions over HTTP and gRPC until told to stop.

    Everything else is a setting: of the file, or of the environment, as ACIE_CACHE__URL.

    Example: acie serve --port 8080
    """
    from acie.cli.serve import ServeOptions, run

    run(
        ServeOptions(
            config, host, port, grpc_port, tuple(model or ()), insecure, print_settings, migrate,
            runtime,
        )
    )


@app.command()
def doctor() -> None:
    """Check this installation: versions, device, model, template grids."""
    from acie.cli.doctor import run

    raise typer.Exit(run())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code and shows no traceback for user errors."""
    keep_freed_memory()
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
