"""``acie simulate``: galaxies in shards of safetensors."""

__all__ = ["run"]

from pathlib import Path

import typer
from safetensors.torch import save_file

from acie.cli.output import make_folder
from acie.seeds import SeedStream


def run(out: Path, n: int, model: str, do: list[str], shard: int, seed: int) -> None:
    """Write shards; memory does not grow with their number, and finished ones are kept."""
    import acie
    from acie.simulation import Simulator

    engine = acie.load(model)
    engine.act(do)
    simulator = Simulator(engine.scm, engine.physics)
    make_folder(out)
    starts = range(0, n, shard)
    with typer.progressbar(starts, label="simulating") as bar:
        for number, start in enumerate(bar):
            path = out / f"{number:05d}.safetensors"
            if path.exists():
                continue
            drawn = simulator.draw(
                min(shard, n - start), SeedStream(seed).generator(f"simulate-{number}")
            )
            tensors = {f"value.{name}": value for name, value in drawn.values.items()}
            tensors |= {f"noise.{name}": value for name, value in drawn.noise.items()}
            for name in ("flux", "ivar", "redshift", "lsf"):
                tensors[name] = getattr(drawn.observation, name).float()
            tensors["clean"] = drawn.clean
            if do:
                values, spectrum = simulator.true_counterfactual(drawn, do)
                tensors["counterfactual"] = spectrum
                tensors |= {f"counterfactual.{name}": v for name, v in values.items()}
            partial = path.with_suffix(".partial")
            save_file({name: value.clone() for name, value in tensors.items()}, partial)
            partial.rename(path)
    shards = "1 shard" if len(starts) == 1 else f"{len(starts)} shards"
    typer.echo(f"{n} galaxies in {shards}: {out}")
