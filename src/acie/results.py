"""What an answer holds: quality flags, posterior samples, counterfactual worlds."""

__all__ = ["QualityFlag"]

import enum


class QualityFlag(enum.IntFlag):
    """What is weak about an answer; bits 16 to 30 are reserved and never set.

    Bad input raises an error; a weak result is flagged and returned.
    """

    #: Importance-sampling efficiency below 1 %: posterior and likelihood disagree.
    LOW_CONFIDENCE = 1 << 0
    #: The posterior predictive check fails: the model cannot reproduce this spectrum.
    POOR_FIT = 1 << 1
    #: The spectrum lies outside the population the estimator was trained on.
    OUT_OF_DISTRIBUTION = 1 << 2
    #: Median signal-to-noise ratio per pixel below 3.
    LOW_SNR = 1 << 3
    #: A mechanism was used outside the range of its publication.
    EXTRAPOLATED = 1 << 4
    #: The file has no errors; they were estimated from the scatter of the pixels.
    NOISE_ESTIMATED = 1 << 5
    #: The redshift was estimated by ACIE or carries a warning of the survey's pipeline.
    REDSHIFT_ESTIMATED = 1 << 6
    #: Fewer than half of the pixels are good.
    MASKED = 1 << 7

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the bits that are set."""
        return tuple(flag.name for flag in QualityFlag if flag in self and flag.name)
