"""The local test L-C2ST at a few objects across the range of signal-to-noise ratios."""

__all__ = ["local_tests"]

from typing import Any

import torch

from acie.evaluation.calibration import Measured
from acie.evaluation.population import random_rows
from acie.evaluation.sbi_bridge import local_test
from acie.seeds import SeedStream

#: Leading features of the encoder that, with redshift and S/N, summarise the data.
_FEATURES = 10
#: Below this many galaxies a classifier with its own validation set learns nothing.
FEWEST = 40


def local_tests(measured: Measured, objects: int, trials: int, seed: int) -> dict[str, Any] | None:
    """P values of L-C2ST at objects spread evenly over the ranks of S/N.

    The test holds for any summary of the data: if every posterior is right, truth and draw have
    one law given the summary too. The summary is redshift, S/N and the leading features.

    A classifier of a few thousand galaxies does not learn where each posterior is. So truth and
    draw are given relative to the mean and in units of the standard deviation of the *other*
    draws of their galaxy, with which both are exchangeable: a posterior of wrong width or place
    then shows as such.

    Returns:
        None where there are too few galaxies or no trials.
    """
    if trials == 0 or measured.count < FEWEST:
        return None
    found = measured.found
    summary = torch.cat(
        [
            found["redshift"][:, None], found["snr"].clamp(min=0.1).log10()[:, None],
            found["features"][:, :_FEATURES].double(),
        ], -1,
    )  # fmt: skip
    names = measured.population.continuous
    standard = measured.population.standard
    truth, draws = standard(found["truth"], names), standard(found["draws"], names)
    place = (torch.arange(objects, dtype=torch.float64) + 0.5) / objects * measured.count
    chosen = found["snr"].argsort()[place.long()].tolist()
    generator = SeedStream(seed).generator("local")
    samples, batch = draws.shape[:2]
    order = random_rows(samples, batch, samples, generator)
    mixed = draws[order, torch.arange(batch)]
    one, others = mixed[0], mixed[1:]
    mean, spread = others.mean(0), others.std(0).clamp(min=1e-9)
    rows = local_test(
        (truth - mean) / spread, (one - mean) / spread, summary,
        [((draws[:, i] - mean[i]) / spread[i], summary[i]) for i in chosen], trials, seed,
    )  # fmt: skip
    for row, index in zip(rows, chosen, strict=True):
        row |= {
            "galaxy": index, "snr": float(found["snr"][index]),
            "redshift": float(found["redshift"][index]),
            "p_bonferroni": min(1.0, row["p"] * objects),
        }  # fmt: skip
    return {"trials": trials, "objects": rows}
