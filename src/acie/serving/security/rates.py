"""How much a principal may ask for: a token bucket each, counted in galaxies."""

__all__ = ["Rates"]

import collections
import time
from collections.abc import Callable

from acie.serving.request import Allowance
from acie.serving.security.refusals import RateLimited

_PRINCIPALS = 10_000


class Rates:
    """Buckets that hold ``burst`` galaxies and fill with ``rate_per_s``.

    A request for more than a full bucket holds is let through when the bucket is full, and leaves
    a debt: refusing it always would help nobody. Of very many principals the idlest are forgotten,
    which gives them a full bucket.

    Arguments:
        rate_per_s: Galaxies per second.
        burst: Galaxies at once.
        clock: Seconds.
    """

    def __init__(
        self, rate_per_s: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._clock = rate_per_s, burst, clock
        self._buckets: collections.OrderedDict[str, tuple[float, float]] = (
            collections.OrderedDict()
        )

    def charge(self, principal: str, galaxies: int) -> Allowance:
        """Take galaxies out of a bucket.

        Raises:
            RateLimited: There are not enough in it.
        """
        now = self._clock()
        level, since = self._buckets.get(principal, (float(self._burst), now))
        level = min(float(self._burst), level + (now - since) * self._rate)
        # Sums of many small refills fall short by rounding.
        missing = min(galaxies, self._burst) - level
        if missing > 1e-6:
            raise self._refusal(missing / self._rate)
        level -= galaxies
        self._buckets[principal] = level, now
        self._buckets.move_to_end(principal)
        while len(self._buckets) > _PRINCIPALS:
            self._buckets.popitem(last=False)
        fills = self._burst / self._rate
        return Allowance(
            self._burst, max(0, int(level)), fills, (self._burst - level) / self._rate
        )

    def _refusal(self, wait_s: float) -> RateLimited:
        error = RateLimited(
            "rate",
            expected=f"at most {self._rate:g} galaxies per second, {self._burst} at once",
            found="more",
            remedy="Wait as long as Retry-After says.",
        )
        error.retry_after_s = wait_s
        return error
