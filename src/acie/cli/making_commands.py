"""``acie simulate | train | tune | evaluate | benchmark | export``: how a model comes about."""

__all__ = ["making_commands"]

from pathlib import Path
from typing import Annotated

import typer

from acie.cli.options import ADDRESS, TRACK, WORKERS, only_with_ray

making_commands = typer.Typer()


@making_commands.command()
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


@making_commands.command()
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
    track: Annotated[bool | None, typer.Option("--track/--no-track", help=TRACK)] = None,
    ray: Annotated[bool, typer.Option("--ray", help="On the workers of a Ray cluster.")] = False,
    address: Annotated[str | None, ADDRESS] = None,
    workers: Annotated[int | None, WORKERS] = None,
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
    only_with_ray(address, workers)
    run(config, options, track)


@making_commands.command()
def tune(
    config: Annotated[Path, typer.Option(help="YAML settings from which the trials differ.")],
    trials: Annotated[int, typer.Option(min=1, help="Configurations to try.")] = 20,
    out: Annotated[
        Path | None, typer.Option(help="Working folder, runs/NAME-tune if left out.")
    ] = None,
    space: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML: what to search, and where.")
    ] = None,
    address: Annotated[str | None, ADDRESS] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Trials at a time.")] = None,
) -> None:
    """Search for a better training configuration with Ray Tune; a stopped search goes on.

    Example: acie tune --config configs/galaxy.yaml --trials 30, then
    acie train --config runs/galaxy-v1-tune/best.yaml
    """
    from acie.cli.tune import run

    run(config, trials, out, space, address, workers)


@making_commands.command()
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
    track: Annotated[bool | None, typer.Option("--track/--no-track", help=TRACK)] = None,
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


@making_commands.command()
def benchmark(
    model: Annotated[str, typer.Option(help="Name or folder of a model.")] = "latest",
    dataset: Annotated[str, typer.Option(metavar="10k|20k|N", help="Galaxies.")] = "10k",
    device: Annotated[str, typer.Option(help="all, cpu, cuda, mps.")] = "all",
    seconds: Annotated[float, typer.Option(help="Time for each stage.")] = 10.0,
    only: Annotated[str, typer.Option(help="Only these stages, a,b,c.")] = "",
    exported: Annotated[
        list[str] | None,
        typer.Option(metavar="DIR", help="Export to measure; the model's own when left out."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to write JSON.")] = None,
    compare: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An earlier result to compare with.")
    ] = None,
    track: Annotated[bool | None, typer.Option("--track/--no-track", help=TRACK)] = None,
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
    config = BenchmarkConfig(
        model, dataset, device, seconds, seed=seed, exported=tuple(exported or ()), **chosen
    )
    run(config, out, compare, json_output, track)


@making_commands.command()
def export(
    out: Annotated[Path, typer.Option(help="Folder of the export.")],
    files: Annotated[
        list[str] | None, typer.Argument(help="Real spectra to check with, and simulated ones.")
    ] = None,
    model: Annotated[str, typer.Option(help="Name or folder of a model.")] = "galaxy-v1",
    format: Annotated[str, typer.Option(help="onnx or torchserve.")] = "onnx",
    quantize: Annotated[str | None, typer.Option(help="int8: weights of 8 bits.")] = None,
    network_only: Annotated[
        bool, typer.Option("--network-only", help="Leave out answer.onnx.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Write a model as ONNX files that run without torch, or as an archive for TorchServe.

    spectral.onnx and latent.onnx draw from the posterior. answer.onnx is a
    whole answer: observation, noise and intervention to counterfactual
    spectra. All are checked against the model, and refused where they
    answer otherwise.

    Example: acie export --model galaxy-v1 --out exported spectra/*.fits
    """
    from acie.cli.export import ExportOptions, run

    run(files or [], ExportOptions(model, out, format, quantize, network_only, json_output))
