"""Answers as bytes: msgpack with raw float32 arrays, checked before it is believed.

A value is ``magic, version, 16 bytes of BLAKE2b, msgpack``. The digest covers the key, so that a
value under a wrong key, like a damaged, foreign or truncated one, is no answer. There is nothing
executable in the format.
"""

__all__ = ["compact", "decode", "encode"]

import dataclasses
import hashlib
import math
from typing import Any

import msgpack
import numpy as np

from acie.serving.query import Answer

_MAGIC = b"ACIE"
#: Raised whenever the fields of an answer or their meaning change; older values are then misses.
_VERSION = 2
_HEAD = len(_MAGIC) + 1
_SUM = 16
_ARRAYS = (
    "counterfactual", "counterfactual_p16", "counterfactual_p84", "latent_draws",
    "counterfactual_draws",
)  # fmt: skip
_FIELDS = frozenset(field.name for field in dataclasses.fields(Answer)) - {"cached"}


def compact(answer: Answer) -> Answer:
    """The answer with read-only float32 arrays: what every caller gets, first or later."""
    return dataclasses.replace(
        answer, **{name: _frozen(np.asarray(getattr(answer, name))) for name in _ARRAYS}
    )


def encode(key: str, answer: Answer, until: float) -> bytes:
    """A compact answer as bytes.

    Arguments:
        key: Of the question.
        answer: As :func:`compact` gives it.
        until: Seconds since 1970 at which it expires.
    """
    content: dict[str, Any] = {name: getattr(answer, name) for name in _FIELDS}
    for name in _ARRAYS:
        content[name] = content[name].astype("<f4", copy=False).tobytes()
    payload = msgpack.packb([until, content])
    return b"".join((_MAGIC, bytes((_VERSION,)), _sum(key, payload), payload))


def decode(key: str, value: bytes) -> tuple[Answer, float] | None:
    """The answer and when it expires; None for anything that :func:`encode` did not write."""
    head = _MAGIC + bytes((_VERSION,))
    payload = value[_HEAD + _SUM :]
    if value[:_HEAD] != head or value[_HEAD : _HEAD + _SUM] != _sum(key, payload):
        return None
    # From here on the bytes are those of an encode, if perhaps of a program with other fields.
    try:
        until, content = msgpack.unpackb(payload, use_list=False)
        if set(content) != _FIELDS or not math.isfinite(until):
            return None
        for name in _ARRAYS:
            content[name] = _frozen(np.frombuffer(content[name], "<f4"))
        return Answer(**content), float(until)
    except (ValueError, TypeError, msgpack.UnpackException):
        return None


def _sum(key: str, payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=_SUM, key=key.encode()[:64]).digest()


def _frozen(values: np.ndarray) -> np.ndarray:
    array = values.astype(np.float32, copy=values.flags.writeable)
    array.setflags(write=False)
    return array
