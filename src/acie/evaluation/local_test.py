"""The local test L-C2ST at a few objects across the range of signal-to-noise ratios."""

__all__ = ["local_tests"]

from typing import Any

import torch

from acie.evaluation.calibration import Measured
from acie.evaluation.sbi_bridge import local_test

#: Leading features of the encoder that, with redshift and S/N, summarise the data.
_FEATURES = 10
#: Below this many galaxies a classifier with its own validation set learns nothing.
FEWEST = 40


def local_tests(measured: Measured, objects: int, trials: int, seed: int) -> dict[str, Any] | None:
    """P values of L-C2ST at objects spread evenly over the ranks of S/N.

    The test holds for any summary of the data: if every posterior is right, truth and draw have
    one law given the summary too. The summary is redshift, S/N and the leading features.

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
    rows = local_test(
        truth, standard(measured.thinned[0], names), summary,
        [(draws[:, index], summary[index]) for index in chosen], trials, seed,
    )  # fmt: skip
    for row, index in zip(rows, chosen, strict=True):
        row |= {
            "galaxy": index, "snr": float(found["snr"][index]),
            "redshift": float(found["redshift"][index]),
            "p_bonferroni": min(1.0, row["p"] * objects),
        }  # fmt: skip
    return {"trials": trials, "objects": rows}
