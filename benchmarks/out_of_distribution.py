"""How often inputs that the model was not trained for are flagged, and fresh simulations are not.

Thresholds were fixed on seed 101; the figures of the docs are those of another seed.
"""

import argparse
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import torch

import acie
import acie.io
from acie.errors import ACIEError
from acie.redshift import RedshiftScanner, redshift_quality, settle_redshift
from acie.seeds import SeedStream
from acie.simulation import Simulator, SurveyConfig
from ood_kinds import KINDS, UNNOTICEABLE

#: What counts as flagged.
WARNINGS = {
    "POOR_FIT", "OUT_OF_DISTRIBUTION", "LOW_CONFIDENCE", "LOW_SNR", "REDSHIFT_CONFLICT",
    "REDSHIFT_AMBIGUOUS",
}  # fmt: skip
#: Kinds that are also given without a redshift.
UNKNOWN_REDSHIFT = ("quasar", "star M", "star G", "star A", "white dwarf")
#: Signal-to-noise of all inputs, log-uniform.
SNR = (3.0, 60.0)


class Judge:
    """Asks the engine, and keeps the names of the flags or of the refusal of every input."""

    def __init__(self, engine, samples: int):
        self.engine, self.samples = engine, samples
        self.scanner = RedshiftScanner(engine.bundle.encoder)

    def one(self, observation, seed: int, known: bool = True) -> tuple[str, ...]:
        """Flags of one input, or the type of the error that refuses it."""
        generator = torch.Generator().manual_seed(seed)
        try:
            if known:
                conflict = int(redshift_quality(observation, self.scanner)[0])
            else:
                nothing = torch.full_like(observation.redshift, torch.nan)
                unknown = replace(observation, redshift=nothing)
                observation, conflict = settle_redshift(unknown, self.scanner)[0], 0
            found = self.engine.infer(observation, self.samples, generator)
        except ACIEError as error:
            return (type(error).__name__,)
        return acie.QualityFlag(int(found.quality[0]) | conflict).names

    def batch(self, observation, seed: int, known: bool = True) -> list[tuple[str, ...]]:
        """The same for every input of a batch, asked one by one."""
        return [
            self.one(observation[index : index + 1], seed + index, known)
            for index in range(len(observation))
        ]


def rates(found: list[tuple[str, ...]]) -> dict:
    """Shares of inputs that are flagged, and of every flag and refusal."""
    count = len(found)
    flags = Counter(name for names in found for name in names)
    refusal = [any(name in acie.errors.__all__ for name in names) for names in found]

    def share(warnings: set[str]) -> float:
        hits = [
            no or bool(warnings & set(names)) for no, names in zip(refusal, found, strict=True)
        ]
        return sum(hits) / count

    return {
        "count": count,
        "flagged": share(WARNINGS),
        "flagged_without_confidence": share(WARNINGS - {"LOW_CONFIDENCE"}),
        "flagged_by_engine": share(WARNINGS - {"REDSHIFT_CONFLICT"}),
        "by": {name: number / count for name, number in flags.most_common()},
    }


def fresh(judge: Judge, simulator: Simulator, count: int, seed: int) -> dict:
    """Rates on simulations of the model; a true LOW_SNR is no false alarm and is left out."""
    seen = simulator.draw(count, SeedStream(seed).generator("fresh")).observation
    bright = seen.signal_to_noise >= 3.0
    return rates(judge.batch(seen[bright], seed))


def strange(judge: Judge, simulator: Simulator, arguments, progress) -> dict:
    """Rates of every kind of input whose name holds ``--only``."""
    rows = {}
    noise, count, seed = simulator.noise_model, arguments.n, arguments.seed
    for name, make in {**KINDS, **UNNOTICEABLE}.items():
        if not any(part in name for part in arguments.only.split(",")):
            continue
        generator = SeedStream(seed).generator(name)
        found = []
        try:
            seen = make(simulator.draw(count, generator), noise, generator)
        except ACIEError as error:
            rows[name] = rates([(type(error).__name__,)] * count)
            progress(name, rows[name])
            continue
        found = judge.batch(seen, seed)
        rows[name] = rates(found)
        progress(name, rows[name])
        if name in UNKNOWN_REDSHIFT:
            label = f"{name}, no redshift"
            rows[label] = rates(judge.batch(seen, seed, known=False))
            progress(label, rows[label])
    return rows


def real_quasar(judge: Judge, folder: Path) -> dict | None:
    """The quasar of the real spectra: at its own redshift, at an estimated one, and at 0.3."""
    path = folder / "sdss" / "spec-1931-53358-0251.fits"
    if not path.is_file():
        return None
    seen = acie.io.read(path).batched()
    wrong = replace(seen, redshift=torch.full_like(seen.redshift, 0.3))
    return {
        "own redshift": judge.one(seen, 0),
        "no redshift": judge.one(seen, 0, known=False),
        "redshift 0.3": judge.one(wrong, 0),
    }


def show(name: str, row: dict) -> None:
    by = ", ".join(f"{key} {value:.2f}" for key, value in row["by"].items())
    print(f"{name:>28}  {row['count']:4d}  flagged {row['flagged']:.3f}   {by}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--n", type=int, default=20, help="inputs of each kind")
    parser.add_argument("--fresh", type=int, default=400, help="simulations of the model")
    parser.add_argument("--only", default="", help="parts of names of kinds, a,b,c")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--seed", type=int, default=202)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", default="galaxy-v1")
    arguments = parser.parse_args()
    progress = (lambda name, row: None) if arguments.json else show
    engine = acie.load(arguments.model)
    judge = Judge(engine, arguments.samples)
    survey = replace(SurveyConfig(), snr=SNR)
    simulator = Simulator(engine.scm, engine.physics, engine.noise_model, survey)
    result = {"seed": arguments.seed}
    if arguments.fresh:
        result["fresh"] = fresh(judge, simulator, arguments.fresh, arguments.seed)
        progress("fresh simulations", result["fresh"])
    if arguments.n:
        result["kinds"] = strange(judge, simulator, arguments, progress)
        noticed = [row for name, row in result["kinds"].items() if name not in UNNOTICEABLE]
        result["flagged"] = sum(row["flagged"] for row in noticed) / len(noticed)
        result["flagged_without_confidence"] = sum(
            row["flagged_without_confidence"] for row in noticed
        ) / len(noticed)
    result["real_quasar"] = real_quasar(judge, arguments.data)
    if arguments.json:
        print(json.dumps(result))
    else:
        if arguments.n:
            print(
                f"all kinds that can be noticed: flagged {result['flagged']:.3f}, without"
                f" LOW_CONFIDENCE {result['flagged_without_confidence']:.3f}"
            )
        print("real quasar:", result["real_quasar"])
