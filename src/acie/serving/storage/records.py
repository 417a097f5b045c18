"""One line of the log of inferences."""

__all__ = ["InferenceRecord", "made_now", "observation_payload"]

import dataclasses
import datetime
import math
import uuid
from dataclasses import dataclass
from typing import Any

import msgpack

from acie.observation import Observation

#: Lengths of the columns; longer texts are cut, because a log must not refuse what was answered.
_LENGTHS = {
    "request_id": 128, "principal": 200, "transport": 16, "model_name": 200, "model_version": 64,
    "model_digest": 64, "observation_digest": 64, "error": 64, "intervention": 4000, "hold": 1000,
}  # fmt: skip


@dataclass(frozen=True)
class InferenceRecord:
    """What is kept of one question and its answer.

    Arguments:
        id: Made once: writing a record again changes nothing.
        time: When the answer was sent, or refused.
        request_id: Of the request.
        principal: Who asked, as ``kind:name``.
        transport: ``rest``, ``grpc`` or ``python``.
        model_name: Of the model; empty where none was found.
        model_version: Of the model.
        model_digest: SHA-256 of the model.
        observation_digest: SHA-256 of the pixels.
        latency_ms: From question to answer.
        status: ``ok`` or ``error``.
        observation: The pixels, where the settings ask for them.
        intervention: The actions as text.
        hold: Held variables, separated by commas.
        samples: Posterior draws.
        seed: Of the draws.
        redshift: Used.
        summary: Medians of the latent state in both worlds.
        confidence: Importance-sampling efficiency.
        quality: Bits of :class:`acie.QualityFlag`.
        error: Kind of the error.
        cached: Whether the answer was computed for an equal question before.
        gpu_memory_bytes: Largest allocation of the process, where there is a GPU.
    """

    id: uuid.UUID
    time: datetime.datetime
    request_id: str
    principal: str
    transport: str
    model_name: str
    model_version: str
    model_digest: str
    observation_digest: str
    latency_ms: float
    status: str
    observation: bytes | None = None
    intervention: str = ""
    hold: str = ""
    samples: int | None = None
    seed: int | None = None
    redshift: float | None = None
    summary: dict[str, Any] | None = None
    confidence: float | None = None
    quality: int = 0
    error: str | None = None
    cached: bool = False
    gpu_memory_bytes: int | None = None

    def __post_init__(self) -> None:
        for name, length in _LENGTHS.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _text(value, length))
        for name in ("redshift", "confidence"):
            object.__setattr__(self, name, _finite(getattr(self, name)))
        object.__setattr__(self, "summary", _finite(self.summary))

    @property
    def values(self) -> dict[str, Any]:
        """By column."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def made_now() -> dict[str, Any]:
    """The identity of a new record."""
    return {"id": uuid.uuid4(), "time": datetime.datetime.now(datetime.UTC)}


def observation_payload(observation: Observation) -> bytes:
    """The pixels of one galaxy as msgpack: float32 flux, ivar and lsf, and the redshift."""
    arrays = {
        name: getattr(observation, name).reshape(-1).numpy().astype("<f4").tobytes()
        for name in ("flux", "ivar", "lsf")
    }
    return msgpack.packb(arrays | {"redshift": float(observation.redshift)})


def _text(value: str, length: int) -> str:
    """Text that every database takes: no NUL, no half of a surrogate pair, not too long."""
    clean = value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return clean.encode("utf-8", "replace").decode()[:length]


def _finite(value: Any) -> Any:
    """None in the place of NaN and infinity, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return value
