"""What to evaluate, and with how many draws."""

__all__ = ["EvaluationConfig"]

from dataclasses import asdict, dataclass, replace
from typing import Any

from acie.errors import ConfigurationError


@dataclass(frozen=True)
class EvaluationConfig:
    """Settings of an evaluation.

    Arguments:
        count: Galaxies, fresh simulations.
        seed: Seed of everything random.
        snr: Median signal-to-noise ratio per pixel of every galaxy; left out, the survey's range.
        samples: Posterior draws per galaxy.
        ranked: Draws, chosen at random among them, with which the truth is ranked (SBC and TARP).
        sizes: Sizes of the interventions, in standard deviations of the population.
        questions: Further interventions as text, asked of every galaxy.
        action_samples: Posterior draws, chosen at random, that are acted on.
        replicates: Replicated spectra per galaxy of the posterior predictive check.
        chunk: Galaxies computed, and stored, at a time.
        null_trials: Classifiers trained under the null hypothesis of L-C2ST; 0 leaves it out.
        objects: Galaxies at which L-C2ST is evaluated.
    """

    count: int = 200
    seed: int = 1
    snr: float | None = None
    samples: int = 256
    ranked: int = 15
    sizes: tuple[float, ...] = (0.25, 0.5, 1.0)
    questions: tuple[str, ...] = ()
    action_samples: int = 64
    replicates: int = 49
    chunk: int = 20
    null_trials: int = 199
    objects: int = 3

    def __post_init__(self) -> None:
        self._require("count", self.count >= 4, "at least 4 galaxies")
        self._require("snr", self.snr is None or self.snr > 0, "a positive number")
        self._require("samples", self.samples >= 16, "at least 16 draws")
        self._require("ranked", 1 <= self.ranked <= self.samples, "1 to samples draws")
        self._require("sizes", all(size > 0 for size in self.sizes), "positive numbers")
        few = 4 <= self.action_samples <= self.samples
        self._require("action_samples", few, "4 to samples draws")
        self._require("replicates", self.replicates >= 9, "at least 9")
        self._require("chunk", self.chunk >= 1, "at least 1 galaxy")
        self._require("null_trials", self.null_trials >= 0, "0 or more")
        self._require("objects", self.objects >= 1, "at least 1")

    def quick(self) -> "EvaluationConfig":
        """The same in seconds rather than minutes, with larger sampling errors."""
        return replace(
            self, samples=64, action_samples=32, sizes=(0.5,), replicates=19, null_trials=19
        )

    @property
    def measurement(self) -> dict[str, Any]:
        """The settings that a stored chunk depends on, its own place and length left out."""
        later = ("count", "ranked", "null_trials", "objects")
        return {name: value for name, value in asdict(self).items() if name not in later}

    def _require(self, name: str, fine: bool, expected: str) -> None:
        if not fine:
            raise ConfigurationError(name, expected=expected, found=repr(getattr(self, name)))
