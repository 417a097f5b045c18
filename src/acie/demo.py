"""One question, answered: on the bundled example, whose true answer is known, or on a file.

Run as ``python -m acie.demo [SPECTRUM]``.
"""

__all__ = ["main", "make_example"]

import sys
from importlib import resources
from pathlib import Path

import numpy as np
import torch
import typer

QUESTION = "stellar_mass*=1.5"


def make_example(folder: Path, seed: int = 119) -> None:
    """Simulate the bundled example: ``example.fits`` and the truth, ``example_truth.fits``."""
    from astropy import units
    from astropy.table import Table

    import acie
    from acie.io import write_observation
    from acie.seeds import SeedStream
    from acie.simulation import Simulator, SurveyConfig

    engine = acie.load()
    survey = SurveyConfig(redshift=(0.08, 0.1), snr=(20.0, 20.1))
    simulator = Simulator(engine.scm, engine.physics, survey=survey)
    drawn = simulator.draw(1, SeedStream(seed).generator("example"))
    _, truth = simulator.true_counterfactual(drawn, QUESTION)
    write_observation(drawn.observation[0], folder / "example.fits")
    flux = 1e-17 * units.erg / units.s / units.cm**2 / units.AA
    table = Table()
    table["wavelength"] = drawn.observation.wavelength * units.AA
    table["factual"] = drawn.clean[0].numpy() * flux
    table["counterfactual"] = truth[0].numpy() * flux
    table.meta["DO"] = QUESTION
    for name, value in drawn.values.items():
        table.meta[name[:8].upper()] = (float(value[0]), name)
    table.write(folder / "example_truth.fits", overwrite=True)


def main(argv: list[str]) -> int:
    """Answer, print the table, write the figure into ``results``."""
    from acie.cli.infer import InferOptions, run

    out = Path("results")
    example = Path(str(resources.files("acie"))) / "examples" / "example.fits"
    source = argv[0] if argv else str(example)
    code = run([source], InferOptions(do=(QUESTION,), out=out))
    if not argv and code == 0:
        _compare(example, out)
    typer.echo(f"figure: {out / (Path(source).stem + '.png')}")
    return code


def _compare(example: Path, out: Path) -> None:
    """How far the answer is from the truth."""
    from astropy.table import Table

    truth = Table.read(example.with_name("example_truth.fits"))
    answer = Table.read(out / "example.fits", "SPECTRA")
    good = np.isfinite(np.asarray(answer["observed"], dtype=float))
    # The residual of the pixels is noise and is kept, so the effects are what is compared.
    true = np.asarray(truth["counterfactual"] - truth["factual"])[good]
    found = np.asarray(answer["counterfactual"] - answer["observed"])[good]
    level = np.median(np.asarray(truth["factual"]))
    error = float(np.median(np.abs(found - true)) / level)
    effect = float(np.median(true) / level)
    typer.echo(
        f"true change of the spectrum {effect:+.1%} (median), error of the answer {error:.2%}"
    )


if __name__ == "__main__":
    torch.manual_seed(0)
    sys.exit(main(sys.argv[1:]))
