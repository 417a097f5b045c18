"""Trying again: after what, when, and for how long."""

__all__ = ["Attempts", "RetryPolicy"]

import random
import time
from dataclasses import dataclass

from acie_sdk._errors import ACIEAPIError, APIConnectionError, APIStatusError, APITimeoutError

#: What may be different a moment later. Everything else would fail again.
_STATUSES = frozenset({429, 502, 503, 504})


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential backoff with full jitter, never earlier than the service asks.

    Connection errors and the statuses 429, 502, 503 and 504 are retried; nothing else is.

    Arguments:
        retries: Most attempts after the first; 0 never tries again.
        base_s: The first wait is uniform in 0 to this; it doubles with every attempt.
        cap_s: Upper end of that range at most.

    References:
        Brooker 2015, Exponential backoff and jitter, AWS Architecture Blog: full jitter.
    """

    retries: int = 4
    base_s: float = 0.25
    cap_s: float = 8.0


class Attempts:
    """The attempts of one call; the same for the client with and without async.

    Arguments:
        policy: When to try again.
        timeout_s: Of each attempt.
        deadline_s: Of all attempts and the waits between them.
    """

    def __init__(self, policy: RetryPolicy, timeout_s: float, deadline_s: float) -> None:
        self._policy, self._timeout_s = policy, timeout_s
        self._end = time.monotonic() + deadline_s
        self.made = 0

    def begin(self) -> float:
        """Seconds that the attempt which begins now may take.

        Raises:
            APITimeoutError: The deadline has passed.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise self._mark(APITimeoutError("the deadline passed"))
        self.made += 1
        return min(self._timeout_s, left)

    def wait(self, error: ACIEAPIError) -> float:
        """Seconds to wait before the next attempt.

        Raises:
            ACIEAPIError: ``error``, where another attempt would not help or would be too late.
        """
        self._mark(error)
        if self.made > self._policy.retries or not _may_pass(error):
            raise error
        longest = min(self._policy.cap_s, self._policy.base_s * 2 ** (self.made - 1))
        wait = random.uniform(0.0, longest)
        asked = getattr(error, "retry_after_s", None)
        if asked is not None:
            # Jitter on top, so that all who were refused together do not come back together.
            wait += asked
        if time.monotonic() + wait >= self._end:
            raise error
        return wait

    def _mark(self, error: ACIEAPIError) -> ACIEAPIError:
        error.attempts = self.made
        return error


def _may_pass(error: ACIEAPIError) -> bool:
    if isinstance(error, APIStatusError):
        return error.status in _STATUSES
    return isinstance(error, APIConnectionError)
