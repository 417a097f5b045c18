"""``acie train``: a model from its settings, on one device or on many."""

__all__ = ["TrainOptions", "run"]

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from acie.errors import ConfigurationError

if TYPE_CHECKING:
    from acie.training import TrainConfig


@dataclass(frozen=True)
class TrainOptions:
    """Options of the command, in place of the settings of the same meaning where given.

    Arguments:
        out: Working folder.
        device: Kind of device.
        gpus: CUDA devices per machine.
        processes: Processes per machine, for the CPU.
        nodes: Machines.
        distributed: Whether to take part in what a launcher has started, or to use all there is.
        precision: Lightning's precision.
        deterministic: Whether runs repeat themselves.
    """

    out: Path | None = None
    device: str | None = None
    gpus: int | None = None
    processes: int | None = None
    nodes: int | None = None
    distributed: bool = False
    precision: str | None = None
    deterministic: bool = False


def run(config: Path, options: TrainOptions) -> None:
    """Train as the file says, with the options in place of its settings."""
    from acie.training import TrainConfig
    from acie.training.run import train

    settings = with_options(TrainConfig.read(config), options)
    folder = options.out or Path("runs") / settings.name
    bundle = train(settings, folder, progress=lambda text: typer.echo(text, err=True))
    if _is_first():
        typer.echo(f"bundle: {bundle}")


def with_options(config: "TrainConfig", options: TrainOptions) -> "TrainConfig":
    """The settings of a run.

    Raises:
        ConfigurationError: Options that contradict each other, the machine or its launcher.
    """
    changes = {
        name: getattr(options, name)
        for name in ("device", "nodes", "precision")
        if getattr(options, name) is not None
    }
    changes |= _counts(options, config.device) | (
        {"deterministic": True} if options.deterministic else {}
    )
    return replace(config, **changes)


def _counts(options: TrainOptions, device: str) -> dict[str, int | str]:
    from acie.training.devices import from_environment

    if options.gpus is not None and options.processes is not None:
        raise ConfigurationError("gpus", expected="--gpus or --processes", found="both")
    found = from_environment()
    if options.gpus is not None:
        _require_gpus(options)
        chosen = {"devices": options.gpus, "device": "cuda"}
    elif options.processes is not None:
        chosen = {"devices": options.processes}
    elif options.distributed:
        chosen = _all_there_is(options, found, device)
    else:
        chosen = {}
    if found and options.distributed:
        chosen = chosen | {"nodes": found[1]}
    _agree_with_launcher(found, options, chosen)
    return chosen


def _require_gpus(options: TrainOptions) -> None:
    import torch

    present = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if options.device not in (None, "auto", "cuda"):
        raise ConfigurationError(
            "gpus",
            expected="--device cuda",
            found=f"--device {options.device}",
            remedy="Processes of the CPU are asked for with --processes.",
        )
    if options.gpus > present:
        raise ConfigurationError(
            "gpus",
            expected=f"at most {present}, the CUDA devices of this machine",
            found=str(options.gpus),
            remedy="Processes of the CPU are asked for with --device cpu --processes.",
        )


def _all_there_is(
    options: TrainOptions, found: tuple[int, int] | None, device: str
) -> dict[str, int]:
    import torch

    from acie.device import pick_device

    if found:
        return {"devices": found[0]}
    if pick_device(options.device or device).type == "cuda":
        return {"devices": torch.cuda.device_count()}
    raise ConfigurationError(
        "distributed",
        expected="--gpus or --processes, or a launcher such as torchrun",
        found="neither, on a machine without CUDA",
    )


def _agree_with_launcher(
    found: tuple[int, int] | None, options: TrainOptions, chosen: dict[str, int | str]
) -> None:
    """One process for each device: a launcher has started them already, or nobody has."""
    if not found:
        return
    own, nodes = chosen.get("devices"), chosen.get("nodes", options.nodes or 1)
    if (own, nodes) != found and found != (1, 1):
        raise ConfigurationError(
            "processes",
            expected=f"{found[0]} per machine on {found[1]} machines, as the launcher started",
            found=f"{own or 'those of the configuration'} on {nodes}",
            remedy="Leave the numbers to the launcher: --distributed alone takes them over.",
        )


def _is_first() -> bool:
    from torch import distributed

    started = distributed.is_available() and distributed.is_initialized()
    return not started or distributed.get_rank() == 0
