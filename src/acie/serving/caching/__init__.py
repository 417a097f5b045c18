"""Answers that were computed before: in process, and shared through Redis where one is set."""

__all__ = ["AnswerCache", "answer_key", "observation_digest", "open_cache"]

from acie.serving.caching.cache import AnswerCache, open_cache
from acie.serving.caching.keys import answer_key, observation_digest
