"""``acie simulate``: galaxies in shards of safetensors, Parquet, FITS or HDF5."""

__all__ = ["run"]

from pathlib import Path

import typer
from safetensors.torch import save_file
from torch import Tensor

from acie.cli.output import make_folder
from acie.errors import ConfigurationError
from acie.observation import Observation
from acie.seeds import SeedStream

_FORMATS = ("safetensors", "parquet", "fits", "h5")


def run(
    out: Path,
    n: int,
    model: str,
    do: list[str],
    shard: int,
    seed: int,
    suffix: str = "safetensors",
) -> None:
    """Write shards; memory does not grow with their number, and finished ones are kept."""
    import acie
    from acie.simulation import Simulator

    if suffix not in _FORMATS:
        raise ConfigurationError(
            "--format", expected=", ".join(_FORMATS), found=repr(suffix),
            remedy="Choose one of these.",
        )  # fmt: skip
    engine = acie.load(model)
    engine.act(do)
    simulator = Simulator(engine.scm, engine.physics)
    make_folder(out)
    starts = range(0, n, shard)
    with typer.progressbar(starts, label="simulating") as bar:
        for number, start in enumerate(bar):
            path = out / f"{number:05d}.{suffix}"
            if path.exists():
                continue
            drawn = simulator.draw(
                min(shard, n - start), SeedStream(seed).generator(f"simulate-{number}")
            )
            truth = {f"value.{name}": value for name, value in drawn.values.items()}
            truth |= {f"noise.{name}": value for name, value in drawn.noise.items()}
            truth["clean"] = drawn.clean
            if do:
                values, spectrum = simulator.true_counterfactual(drawn, do)
                truth["counterfactual"] = spectrum
                truth |= {f"counterfactual.{name}": v for name, v in values.items()}
            # Hidden, so that nobody takes it for a shard, and renamed when it is complete.
            partial = out / f".{number:05d}.partial.{suffix}"
            _write(drawn.observation, truth, partial)
            partial.rename(path)
    shards = "1 shard" if len(starts) == 1 else f"{len(starts)} shards"
    typer.echo(f"{n} galaxies in {shards}: {out}")


def _write(observation: Observation, truth: dict[str, Tensor], path: Path) -> None:
    if path.suffix == ".safetensors":
        tensors = {
            name: getattr(observation, name).float()
            for name in ("flux", "ivar", "redshift", "lsf")
        }
        save_file({name: value.clone() for name, value in (tensors | truth).items()}, path)
        return
    from acie.io import write_shard

    write_shard(observation, path, {name: value.numpy() for name, value in truth.items()})
