"""What makes two questions the same question."""

__all__ = ["answer_key", "observation_digest"]

import hashlib
from collections.abc import Iterable, Mapping

import msgpack
import torch
from torch import Tensor

from acie.observation import Observation
from acie.scm import Do, Intervention, Scale, Shift

#: Part of every key: raised when an equal question gets another answer.
_VERSION = 1


def observation_digest(observation: Observation) -> str:
    """SHA-256 of what inference uses of one galaxy: pixels as float32, redshift, known flags.

    Its name and where it came from do not count. An unknown redshift is one value, whatever the
    bits of its NaN.

    Arguments:
        observation: With a batch axis of one, or none.
    """
    digest = hashlib.sha256(b"observation")
    for values in (observation.flux, observation.ivar, observation.lsf):
        digest.update(_bytes(values, torch.float32))
    redshift = observation.redshift
    known = redshift.isfinite()
    digest.update(_bytes(torch.where(known, redshift, 0.0), torch.float64))
    digest.update(_bytes(known, torch.uint8))
    if observation.quality is not None:
        digest.update(_bytes(observation.quality, torch.int64))
    return digest.hexdigest()


def answer_key(
    model: str,
    observation: str,
    actions: Mapping[str, Intervention],
    hold: Iterable[str],
    samples: int,
    seed: int | None,
    check_redshift: bool = False,
) -> str | None:
    """SHA-256 of a question; None where an action is not made of numbers.

    Equal for equal questions in other words: actions on different variables commute, so neither
    their order nor how they were written counts.

    Arguments:
        model: Name, version and digest of the model.
        observation: As :func:`observation_digest` gives it.
        actions: Parsed and checked actions by variable.
        hold: Held variables, aliases resolved.
        samples: Posterior draws.
        seed: Of the draws, or None.
        check_redshift: Whether a given redshift is compared with the spectrum.
    """
    canonical = [_canonical(name, action) for name, action in sorted(actions.items())]
    if None in canonical:
        return None
    question = [
        _VERSION, model, observation, canonical, sorted(set(hold)), samples, seed, check_redshift,
    ]  # fmt: skip
    return hashlib.sha256(msgpack.packb(question)).hexdigest()


def _canonical(name: str, action: Intervention) -> list | None:
    """Plain data that is equal for equal actions; None for functions and mechanisms."""
    match action:
        case Do(value):
            number, kind = value, "do"
        case Scale(factor):
            number, kind = factor, "scale"
        case Shift(amount, dex):
            number, kind = amount, "shift_dex" if dex else "shift"
        case _:
            return None
    if isinstance(number, Tensor):
        if number.numel() != 1:
            return None
        number = number.item()
    # Adding 0.0 makes the two zeros one.
    return [name, kind, float(number) + 0.0]


def _bytes(values: Tensor, kind: torch.dtype) -> memoryview:
    """Little-endian bytes, without a copy where there need not be one."""
    array = values.detach().to("cpu", kind).contiguous().numpy()
    return memoryview(array.astype(array.dtype.newbyteorder("<"), copy=False).reshape(-1))
