"""What REST requests and answers hold; the OpenAPI document is made from these."""

__all__ = [
    "AnswerBody",
    "BatchAnswerBody",
    "BatchRequestBody",
    "ObservationBody",
    "RequestBody",
    "answer_body",
    "query_of",
]

from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from acie.io import from_arrays
from acie.serving.query import Answer, Query

Spectrum = Annotated[list[float | None], Field(min_length=1, max_length=20000)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class ObservationBody(_Body):
    """A spectrum; without ``wavelength`` it is on the instrument grid of 6000 pixels."""

    flux: Spectrum = Field(description="1e-17 erg/s/cm2/AA; null where bad.")
    ivar: Spectrum | None = Field(None, description="Inverse variance; else estimated.")
    mask: list[bool] | None = Field(None, max_length=20000, description="True where bad.")
    wavelength: Spectrum | None = Field(None, description="Vacuum angstrom, ascending.")
    lsf: Spectrum | None = Field(None, description="Instrumental sigma, km/s.")
    redshift: float | None = Field(None, description="Estimated when left out.")
    name: str = Field("", max_length=200)


class RequestBody(_Body):
    """One galaxy and one question."""

    observation: ObservationBody | Spectrum
    intervention: str | dict[str, Any] | list[str] = Field(
        default_factory=dict, examples=[{"stellar_mass": {"scale": 1.5}}, "stellar_mass*=1.5"]
    )
    hold: list[str] = Field(default_factory=list, max_length=20)
    samples: int | None = Field(None, ge=2, description="Posterior draws.")
    seed: int | None = Field(None, ge=0, lt=2**63, description="Repeats the same draws.")
    model_version: str = Field("latest", max_length=200)
    redshift: float | None = Field(None, description="For an observation that is a plain list.")


class BatchRequestBody(_Body):
    """Many questions."""

    requests: list[RequestBody] = Field(min_length=1)


class StateBody(BaseModel):
    """One variable."""

    unit: str
    median: float
    p16: float
    p84: float


class ModelBody(BaseModel):
    """Which model answered."""

    name: str
    version: str
    digest: str


class AnswerBody(BaseModel):
    """An answer."""

    model: ModelBody
    redshift: float
    interventions: list[str]
    latent_names: list[str]
    latent_state: list[float] = Field(description="Medians, ordered by latent_names.")
    latents: dict[str, StateBody]
    counterfactual_latents: dict[str, StateBody]
    counterfactual: list[float]
    counterfactual_p16: list[float]
    counterfactual_p84: list[float]
    confidence: float
    quality: list[str]
    samples: int
    seed: int | None
    timing_ms: float
    cached: bool = False


class BatchAnswerBody(BaseModel):
    """Answers or problem documents, in the order of the requests."""

    answers: list[AnswerBody | dict[str, Any]]


def _array(values: list[float | None] | None) -> np.ndarray | None:
    """Numbers with NaN for null."""
    return None if values is None else np.array(values, dtype=np.float64)


def query_of(body: RequestBody) -> Query:
    """A query from a request.

    Raises:
        MalformedSpectrum: The arrays do not fit or hold nothing usable.
    """
    own = body.observation
    if isinstance(own, list):
        own = ObservationBody(flux=own, redshift=body.redshift)
    observation = from_arrays(
        _array(own.flux),
        ivar=_array(own.ivar),
        mask=own.mask,
        wavelength=_array(own.wavelength),
        lsf=_array(own.lsf),
        redshift=own.redshift,
        name=own.name,
    )
    return Query(
        observation=observation.batched(),
        intervention=body.intervention,
        hold=tuple(body.hold),
        samples=body.samples,
        seed=body.seed,
        model=body.model_version,
    )


def answer_body(answer: Answer, timing_ms: float) -> dict[str, Any]:
    """An answer as plain data and arrays."""
    return {
        "model": answer.model,
        "redshift": answer.redshift,
        "interventions": list(answer.interventions),
        "latent_names": list(answer.latent),
        "latent_state": [state["median"] for state in answer.latent.values()],
        "latents": answer.latent,
        "counterfactual_latents": answer.counterfactual_latent,
        "counterfactual": answer.counterfactual,
        "counterfactual_p16": answer.counterfactual_p16,
        "counterfactual_p84": answer.counterfactual_p84,
        "confidence": answer.confidence,
        "quality": list(answer.quality),
        "samples": answer.samples,
        "seed": answer.seed,
        "timing_ms": timing_ms,
        "cached": answer.cached,
    }
