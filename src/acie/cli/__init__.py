"""The command line: ``acie infer | effect | explain | active | fit | simulate | ...``."""

__all__ = ["main"]

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from acie.allocator import keep_freed_memory
from acie.cli.model_commands import model_commands
from acie.errors import ACIEError

app = typer.Typer(
    name="acie",
    help="What would this galaxy's spectrum be, had its state been different?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


_TRACK = "Log the run to MLflow; left out: if ACIE_MLFLOW__URI or MLFLOW_TRACKING_URI is set."
_ADDRESS = typer.Option(
    metavar="ADDRESS", help="Of a Ray cluster: auto, host:port, ray://...; else a local Ray."
)
_WORKERS = typer.Option(min=1, help="With --ray: processes; one per processor if left out.")


def _only_with_ray(*values: object) -> None:
    if any(values):
        raise typer.BadParameter("--address, --workers and --spectra go with --ray.")


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
    address: Annotated[str | None, _ADDRESS] = None,
    workers: Annotated[int | None, _WORKERS] = None,
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
    _only_with_ray(address, workers, spectra)
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


@app.command()
def simulate(
    out: Annotated[Path, typer.Option(help="Folder of the shards.")],
    n: Annotated[int, typer.Option("--n", min=1, help="Number of galaxies.")] = 1000,
    model: Annotated[str, typer.Option(help="Model whose templates are used.")] = "galaxy-v1",
    do: Annotated[list[str] | None, typer.Option("--do", help="Also the true answer.")] = None,
    shard: Annotated[int, typer.Option(min=1, help="Galaxies per file.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    format: Annotated[
        str, typer.Option(help="safetensors; parquet, fits, h5 as acie infer --ray reads them.")
    ] = "safetensors",
) -> None:
    """Simulate galaxies with their noise, so that true counterfactuals are known."""
    from acie.cli.simulate import run

    run(out, n, model, list(do or ()), shard, seed, format)


@app.command()
def train(
    config: Annotated[Path, typer.Option(help="YAML settings, such as configs/galaxy.yaml.")],
    out: Annotated[
        Path | None, typer.Option(help="Working folder, runs/NAME if left out.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, mps, cuda.")] = None,
    gpus: Annotated[int | None, typer.Option(min=1, help="GPUs per machine.")] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Processes per machine, on the CPU.")
    ] = None,
    nodes: Annotated[int | None, typer.Option(min=1, help="Machines.")] = None,
    distributed: Annotated[
        bool, typer.Option("--distributed", help="All GPUs, or what torchrun or SLURM started.")
    ] = False,
    precision: Annotated[
        str | None, typer.Option(help="32-true, bf16-mixed, 16-mixed.")
    ] = None,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="The same digits in every run.")
    ] = False,
    track: Annotated[bool | None, typer.Option("--track/--no-track", help=_TRACK)] = None,
    ray: Annotated[bool, typer.Option("--ray", help="On the workers of a Ray cluster.")] = False,
    address: Annotated[str | None, _ADDRESS] = None,
    workers: Annotated[int | None, _WORKERS] = None,
) -> None:
    """Train a model and write its bundle; a killed run goes on where it stopped.

    Example: acie train --config configs/gpu_config.yaml --gpus 4 --distributed
    """
    from acie.cli.train import TrainOptions, run

    options = TrainOptions(
        out, device, gpus, processes, nodes, distributed, precision, deterministic
    )
    if ray:
        from acie.cli.train_ray import run as run_ray

        return run_ray(config, options, address, workers)
    _only_with_ray(address, workers)
    run(config, options, track)


@app.command()
def tune(
    config: Annotated[Path, typer.Option(help="YAML settings from which the trials differ.")],
    trials: Annotated[int, typer.Option(min=1, help="Configurations to try.")] = 20,
    out: Annotated[
        Path | None, typer.Option(help="Working folder, runs/NAME-tune if left out.")
    ] = None,
    space: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML: what to search, and where.")
    ] = None,
    address: Annotated[str | None, _ADDRESS] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Trials at a time.")] = None,
) -> None:
    """Search for a better training configuration with Ray Tune; a stopped search goes on.

    Example: acie tune --config configs/galaxy.yaml --trials 30, then
    acie train --config runs/galaxy-v1-tune/best.yaml
    """
    from acie.cli.tune import run

    run(config, trials, out, space, address, workers)


@app.command()
def evaluate(
    model: Annotated[str, typer.Option(help="Name or folder of a model.")] = "galaxy-v1",
    n: Annotated[int, typer.Option("--n", min=4, help="Fresh simulations.")] = 200,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("results"),
    snr: Annotated[
        float | None,
        typer.Option(help="One median S/N per pixel; the survey's range if left out."),
    ] = None,
    do: Annotated[
        list[str] | None, typer.Option("--do", metavar="EXPR", help="A further question.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Posterior draws per galaxy.")] = 256,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 1,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer draws, one size of intervention.")
    ] = False,
    track: Annotated[bool | None, typer.Option("--track/--no-track", help=_TRACK)] = None,
    json_output: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Calibration, fit, counterfactual error and causal laws, as a report.

    Writes report.html, evaluation.json and figures; a stopped run goes on when started again.

    Example: acie evaluate --n 2000 --out results
    """
    from acie.cli.evaluate import run
    from acie.evaluation import EvaluationConfig

    config = EvaluationConfig(
        count=n, seed=seed, snr=snr, samples=samples, questions=tuple(do or ())
    )
    run(model, out, config.quick() if quick else config, json_output, track)


app.add_typer(model_commands)


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="Folder of the export.")],
    files: Annotated[
        list[str] | None, typer.Argument(help="Real spectra to check with, and simulated ones.")
    ] = None,
    model: Annotated[str, typer.Option(help="Name or folder of a model.")] = "galaxy-v1",
    format: Annotated[str, typer.Option(help="onnx or torchserve.")] = "onnx",
    quantize: Annotated[str | None, typer.Option(help="int8: weights of 8 bits.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Write a model as ONNX files that run without torch, or as an archive for TorchServe.

    ONNX files are checked against the model, and refused where they answer otherwise.

    Example: acie export --model galaxy-v1 --out exported spectra/*.fits
    """
    from acie.cli.export import ExportOptions, run

    run(files or [], ExportOptions(model, out, format, quantize, json_output))


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


token = typer.Typer(name="token", help="Make, list and revoke API keys of the service.",
                    no_args_is_help=True)  # fmt: skip
app.add_typer(token)
_CONFIG = typer.Option(metavar="FILE", help="YAML with settings; their database holds the keys.")
_JSON = typer.Option("--json", help="JSON on standard output.")


@token.command("create")
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


@token.command("list")
def token_list(
    config: Annotated[Path | None, _CONFIG] = None, json_output: Annotated[bool, _JSON] = False
) -> None:
    """List the keys, without what would open a door."""
    from acie.cli.token import show

    show(config, json_output)


@token.command("revoke")
def token_revoke(
    id: Annotated[str, typer.Argument(help="As acie token list shows it; its beginning will do.")],
    config: Annotated[Path | None, _CONFIG] = None,
) -> None:
    """Revoke a key; running services refuse it within 5 seconds."""
    from acie.cli.token import revoke

    revoke(id, config)


@app.command()
def benchmark(
    model: Annotated[str, typer.Option(help="Name or folder of a model.")] = "latest",
    dataset: Annotated[str, typer.Option(metavar="10k|20k|N", help="Galaxies.")] = "10k",
    device: Annotated[str, typer.Option(help="all, cpu, cuda, mps.")] = "all",
    seconds: Annotated[float, typer.Option(help="Time for each stage.")] = 10.0,
    only: Annotated[str, typer.Option(help="Only these stages, a,b,c.")] = "",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to write JSON.")] = None,
    compare: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An earlier result to compare with.")
    ] = None,
    track: Annotated[bool | None, typer.Option("--track/--no-track", help=_TRACK)] = None,
    json_output: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 1,
) -> None:
    """Measure how fast a model is here, and how far that is from what the machine can do.

    Example: acie benchmark --dataset 20k --out now.json --compare before.json
    """
    from acie.benchmark import BenchmarkConfig
    from acie.cli.answers import names_of
    from acie.cli.benchmark import run

    chosen = {"stages": names_of(only)} if only else {}
    config = BenchmarkConfig(model, dataset, device, seconds, seed=seed, **chosen)
    run(config, out, compare, json_output, track)


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
