"""What REST requests and answers hold; the OpenAPI document is made from these."""

__all__ = [
    "AnswerBody",
    "BatchAnswerBody",
    "BatchRequestBody",
    "ObservationBody",
    "ProblemBody",
    "RequestBody",
    "answer_body",
    "query_of",
]

from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from acie.io import from_arrays
from acie.serving.query import Answer, Query
from acie.serving.tensors import Flags, Spectrum, Whole


class _Body(BaseModel):
    # Strict: "5" is no number and 1 is not true.
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)


class ObservationBody(_Body):
    """A spectrum; without ``wavelength`` it is on the instrument grid of 6000 pixels."""

    flux: Spectrum = Field(description="1e-17 erg/s/cm2/AA; null where bad.")
    ivar: Spectrum | None = Field(None, description="Inverse variance; else estimated.")
    mask: Flags | None = Field(None, description="True where bad.")
    wavelength: Spectrum | None = Field(None, description="Vacuum angstrom, ascending.")
    lsf: Spectrum | None = Field(None, description="Instrumental sigma, km/s.")
    redshift: float | None = Field(None, description="Estimated when left out.")
    name: str = Field("", max_length=200)


class ActionBody(_Body):
    """An action on one variable: one of these."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    set: float | None = Field(None, description="New value.")
    scale: float | None = Field(None, description="Factor.")
    shift: float | None = Field(None, description="Added, in the unit of the variable.")
    shift_dex: float | None = Field(None, description="Added to the decimal logarithm.")

    @model_validator(mode="after")
    def _is_one(self) -> "ActionBody":
        if len(self.model_fields_set) != 1:
            raise ValueError("one of set, scale, shift, shift_dex")
        return self


def _kind(value: Any) -> str | None:
    """Which alternative a value belongs to, by its outward form alone."""
    match value:
        case bool():
            return None
        case int() | float():
            return "(number)"
        case str():
            return "(text)"
        case list():
            return "(list)"
        case {"dtype": _}:
            return "(list)"
        case dict() | BaseModel():
            return "(object)"
    return None


def _choice(words: str) -> Discriminator:
    return Discriminator(_kind, custom_error_type="choice", custom_error_message=words)


Text = Annotated[str, Field(max_length=200)]
Action = Annotated[
    Annotated[float, Tag("(number)")]
    | Annotated[Text, Tag("(text)")]
    | Annotated[ActionBody, Tag("(object)")],
    _choice('a number, a text such as "x1.5", or an object such as {"scale": 1.5}'),
]
Intervention = Annotated[
    Annotated[str, Field(max_length=2000), Tag("(text)")]
    | Annotated[dict[Text, Action], Field(max_length=20), Tag("(object)")]
    | Annotated[list[Text], Field(max_length=20), Tag("(list)")],
    _choice('a text such as "stellar_mass*=1.5", a list of texts, or an object by variable'),
]
AnyObservation = Annotated[
    Annotated[Spectrum, Tag("(list)")] | Annotated[ObservationBody, Tag("(object)")],
    _choice("a list of numbers, or an object with flux"),
]


class RequestBody(_Body):
    """One galaxy and one question."""

    observation: AnyObservation = Field(
        description="Flux on the instrument grid, or an object with more than that."
    )
    intervention: Intervention = Field(
        default_factory=dict, examples=[{"stellar_mass": {"scale": 1.5}}, "stellar_mass*=1.5"]
    )
    hold: list[Text] = Field(
        default_factory=list, max_length=20, description="Descendants that stay as they are."
    )
    samples: Whole | None = Field(None, ge=2, lt=2**31, description="Posterior draws.")
    seed: Whole | None = Field(None, ge=0, lt=2**63, description="Repeats the same draws.")
    model_version: str = Field(
        "latest", max_length=200, description="latest, a version, a name, or name@version."
    )
    redshift: float | None = Field(None, description="For an observation that is a plain list.")
    check_redshift: bool = Field(
        False,
        description="Compare the given redshift with the spectrum, and set REDSHIFT_CONFLICT in"
        " quality where they disagree. Takes about as long as the answer itself.",
    )
    draws: bool = Field(False, description="Whether the posterior draws are wanted too.")


class BatchRequestBody(_Body):
    """Many questions; each is checked by itself."""

    requests: list[Any] = Field(min_length=1)


class StateBody(BaseModel):
    """One variable: its median and central 68 % interval."""

    unit: str
    median: float
    p16: float
    p84: float


class ModelBody(BaseModel):
    """Which model answered."""

    name: str
    version: str
    digest: str


class RedshiftBody(BaseModel):
    """A redshift from the spectrum alone."""

    value: float
    error: float | None
    delta_chi2: float | None = Field(description="Chi-square of the second-best minus this.")
    second: float | None = Field(description="The second-best redshift; null if nothing competes.")


class DrawsBody(BaseModel):
    """Equally weighted posterior draws; the same place in all lists is the same draw."""

    latents: dict[str, list[float]] = Field(description="By variable, in its unit.")
    counterfactual_latents: dict[str, list[float]]


class AnswerBody(BaseModel):
    """An answer; in msgpack, arrays are objects with dtype, shape and data."""

    model: ModelBody
    redshift: float
    redshift_estimate: RedshiftBody | None = Field(description="Null where it was given.")
    interventions: list[str]
    latent_names: list[str]
    latent_state: list[float] = Field(description="Medians, ordered by latent_names.")
    latents: dict[str, StateBody]
    counterfactual_latents: dict[str, StateBody]
    counterfactual: list[float] = Field(description="Median flux, 1e-17 erg/s/cm2/AA.")
    counterfactual_p16: list[float]
    counterfactual_p84: list[float]
    confidence: float
    quality: list[str] = Field(description="Names of the quality flags that are set.")
    samples: int
    seed: int | None
    timing_ms: float
    cached: bool = False
    draws: DrawsBody | None = Field(None, description="Null unless they were asked for.")


class ProblemBody(BaseModel):
    """A problem document (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    argument: str | None = Field(None, description="What of the request is wrong.")
    expected: str | None = None
    found: str | None = None
    remedy: str | None = None
    errors: list[dict[str, str]] | None = Field(None, description="All of a malformed request.")


class BatchAnswerBody(BaseModel):
    """Answers or problem documents, in the order of the requests."""

    answers: list[AnswerBody | ProblemBody]


def query_of(body: RequestBody) -> Query:
    """A query from a request.

    Raises:
        MalformedSpectrum: The arrays do not fit or hold nothing usable.
    """
    own = body.observation
    if isinstance(own, np.ndarray):
        # What was checked once needs no second check.
        own = ObservationBody.model_construct(flux=own, redshift=body.redshift)
    observation = from_arrays(
        own.flux,
        ivar=own.ivar,
        mask=own.mask,
        wavelength=own.wavelength,
        lsf=own.lsf,
        redshift=own.redshift,
        name=own.name,
    )
    return Query(
        observation=observation.batched(),
        intervention=_plain(body.intervention),
        hold=tuple(body.hold),
        samples=body.samples,
        seed=body.seed,
        model=body.model_version,
        check_redshift=body.check_redshift,
    )


def _plain(intervention: Any) -> Any:
    """An intervention without models."""
    if not isinstance(intervention, dict):
        return intervention
    return {
        name: action.model_dump(exclude_unset=True) if isinstance(action, ActionBody) else action
        for name, action in intervention.items()
    }


def answer_body(answer: Answer, timing_ms: float, draws: bool = False) -> dict[str, Any]:
    """An answer as plain data and arrays.

    Arguments:
        answer: The answer.
        timing_ms: How long it took.
        draws: Whether it has its draws with it.
    """
    # Single precision, as the flux was measured: half the bytes.
    middle, low, high = (
        np.asarray(flux, dtype=np.float32)
        for flux in (answer.counterfactual, answer.counterfactual_p16, answer.counterfactual_p84)
    )
    return {
        "model": answer.model,
        "redshift": answer.redshift,
        "redshift_estimate": answer.redshift_estimate,
        "interventions": list(answer.interventions),
        "latent_names": list(answer.latent),
        "latent_state": [state["median"] for state in answer.latent.values()],
        "latents": answer.latent,
        "counterfactual_latents": answer.counterfactual_latent,
        "counterfactual": middle,
        "counterfactual_p16": low,
        "counterfactual_p84": high,
        "confidence": answer.confidence,
        "quality": list(answer.quality),
        "samples": answer.samples,
        "seed": answer.seed,
        "timing_ms": timing_ms,
        "cached": answer.cached,
        "draws": _draws(answer) if draws else None,
    }


def _draws(answer: Answer) -> dict[str, dict[str, np.ndarray]]:
    worlds = {
        "latents": answer.latent_draws, "counterfactual_latents": answer.counterfactual_draws
    }  # fmt: skip
    return {
        world: dict(zip(answer.latent, values.reshape(len(answer.latent), -1), strict=True))
        for world, values in worlds.items()
    }
