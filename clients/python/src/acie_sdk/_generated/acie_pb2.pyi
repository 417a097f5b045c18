from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Observation(_message.Message):
    __slots__ = ("flux", "ivar", "mask", "wavelength", "lsf", "redshift", "name")
    FLUX_FIELD_NUMBER: _ClassVar[int]
    IVAR_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    WAVELENGTH_FIELD_NUMBER: _ClassVar[int]
    LSF_FIELD_NUMBER: _ClassVar[int]
    REDSHIFT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    flux: _containers.RepeatedScalarFieldContainer[float]
    ivar: _containers.RepeatedScalarFieldContainer[float]
    mask: _containers.RepeatedScalarFieldContainer[bool]
    wavelength: _containers.RepeatedScalarFieldContainer[float]
    lsf: _containers.RepeatedScalarFieldContainer[float]
    redshift: float
    name: str
    def __init__(self, flux: _Optional[_Iterable[float]] = ..., ivar: _Optional[_Iterable[float]] = ..., mask: _Optional[_Iterable[bool]] = ..., wavelength: _Optional[_Iterable[float]] = ..., lsf: _Optional[_Iterable[float]] = ..., redshift: _Optional[float] = ..., name: _Optional[str] = ...) -> None: ...

class Action(_message.Message):
    __slots__ = ("variable", "set", "scale", "shift", "shift_dex")
    VARIABLE_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    SHIFT_FIELD_NUMBER: _ClassVar[int]
    SHIFT_DEX_FIELD_NUMBER: _ClassVar[int]
    variable: str
    set: float
    scale: float
    shift: float
    shift_dex: float
    def __init__(self, variable: _Optional[str] = ..., set: _Optional[float] = ..., scale: _Optional[float] = ..., shift: _Optional[float] = ..., shift_dex: _Optional[float] = ...) -> None: ...

class Intervention(_message.Message):
    __slots__ = ("text", "actions")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    text: _containers.RepeatedScalarFieldContainer[str]
    actions: _containers.RepeatedCompositeFieldContainer[Action]
    def __init__(self, text: _Optional[_Iterable[str]] = ..., actions: _Optional[_Iterable[_Union[Action, _Mapping]]] = ...) -> None: ...

class InferenceRequest(_message.Message):
    __slots__ = ("observation", "intervention", "hold", "samples", "seed", "model_version", "request_id", "check_redshift")
    OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    INTERVENTION_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CHECK_REDSHIFT_FIELD_NUMBER: _ClassVar[int]
    observation: Observation
    intervention: Intervention
    hold: _containers.RepeatedScalarFieldContainer[str]
    samples: int
    seed: int
    model_version: str
    request_id: str
    check_redshift: bool
    def __init__(self, observation: _Optional[_Union[Observation, _Mapping]] = ..., intervention: _Optional[_Union[Intervention, _Mapping]] = ..., hold: _Optional[_Iterable[str]] = ..., samples: _Optional[int] = ..., seed: _Optional[int] = ..., model_version: _Optional[str] = ..., request_id: _Optional[str] = ..., check_redshift: _Optional[bool] = ...) -> None: ...

class State(_message.Message):
    __slots__ = ("unit", "median", "p16", "p84")
    UNIT_FIELD_NUMBER: _ClassVar[int]
    MEDIAN_FIELD_NUMBER: _ClassVar[int]
    P16_FIELD_NUMBER: _ClassVar[int]
    P84_FIELD_NUMBER: _ClassVar[int]
    unit: str
    median: float
    p16: float
    p84: float
    def __init__(self, unit: _Optional[str] = ..., median: _Optional[float] = ..., p16: _Optional[float] = ..., p84: _Optional[float] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "version", "digest", "latest")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    LATEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    digest: str
    latest: bool
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., digest: _Optional[str] = ..., latest: _Optional[bool] = ...) -> None: ...

class RedshiftEstimate(_message.Message):
    __slots__ = ("value", "error", "delta_chi2", "second")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    DELTA_CHI2_FIELD_NUMBER: _ClassVar[int]
    SECOND_FIELD_NUMBER: _ClassVar[int]
    value: float
    error: float
    delta_chi2: float
    second: float
    def __init__(self, value: _Optional[float] = ..., error: _Optional[float] = ..., delta_chi2: _Optional[float] = ..., second: _Optional[float] = ...) -> None: ...

class Timing(_message.Message):
    __slots__ = ("total_ms",)
    TOTAL_MS_FIELD_NUMBER: _ClassVar[int]
    total_ms: float
    def __init__(self, total_ms: _Optional[float] = ...) -> None: ...

class Problem(_message.Message):
    __slots__ = ("type", "title", "status", "detail", "argument", "expected", "found", "remedy", "retry_after_s", "code")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    ARGUMENT_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    REMEDY_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_S_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    type: str
    title: str
    status: int
    detail: str
    argument: str
    expected: str
    found: str
    remedy: str
    retry_after_s: float
    code: str
    def __init__(self, type: _Optional[str] = ..., title: _Optional[str] = ..., status: _Optional[int] = ..., detail: _Optional[str] = ..., argument: _Optional[str] = ..., expected: _Optional[str] = ..., found: _Optional[str] = ..., remedy: _Optional[str] = ..., retry_after_s: _Optional[float] = ..., code: _Optional[str] = ...) -> None: ...

class InferenceResponse(_message.Message):
    __slots__ = ("request_id", "counterfactual", "counterfactual_p16", "counterfactual_p84", "latent_names", "latent_state", "latents", "counterfactual_latents", "confidence", "quality", "model", "timing", "cached", "redshift", "interventions", "samples", "seed", "redshift_estimate", "problem")
    class LatentsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: State
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[State, _Mapping]] = ...) -> None: ...
    class CounterfactualLatentsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: State
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[State, _Mapping]] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    COUNTERFACTUAL_FIELD_NUMBER: _ClassVar[int]
    COUNTERFACTUAL_P16_FIELD_NUMBER: _ClassVar[int]
    COUNTERFACTUAL_P84_FIELD_NUMBER: _ClassVar[int]
    LATENT_NAMES_FIELD_NUMBER: _ClassVar[int]
    LATENT_STATE_FIELD_NUMBER: _ClassVar[int]
    LATENTS_FIELD_NUMBER: _ClassVar[int]
    COUNTERFACTUAL_LATENTS_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    REDSHIFT_FIELD_NUMBER: _ClassVar[int]
    INTERVENTIONS_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    REDSHIFT_ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    counterfactual: _containers.RepeatedScalarFieldContainer[float]
    counterfactual_p16: _containers.RepeatedScalarFieldContainer[float]
    counterfactual_p84: _containers.RepeatedScalarFieldContainer[float]
    latent_names: _containers.RepeatedScalarFieldContainer[str]
    latent_state: _containers.RepeatedScalarFieldContainer[float]
    latents: _containers.MessageMap[str, State]
    counterfactual_latents: _containers.MessageMap[str, State]
    confidence: float
    quality: _containers.RepeatedScalarFieldContainer[str]
    model: Model
    timing: Timing
    cached: bool
    redshift: float
    interventions: _containers.RepeatedScalarFieldContainer[str]
    samples: int
    seed: int
    redshift_estimate: RedshiftEstimate
    problem: Problem
    def __init__(self, request_id: _Optional[str] = ..., counterfactual: _Optional[_Iterable[float]] = ..., counterfactual_p16: _Optional[_Iterable[float]] = ..., counterfactual_p84: _Optional[_Iterable[float]] = ..., latent_names: _Optional[_Iterable[str]] = ..., latent_state: _Optional[_Iterable[float]] = ..., latents: _Optional[_Mapping[str, State]] = ..., counterfactual_latents: _Optional[_Mapping[str, State]] = ..., confidence: _Optional[float] = ..., quality: _Optional[_Iterable[str]] = ..., model: _Optional[_Union[Model, _Mapping]] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ..., cached: _Optional[bool] = ..., redshift: _Optional[float] = ..., interventions: _Optional[_Iterable[str]] = ..., samples: _Optional[int] = ..., seed: _Optional[int] = ..., redshift_estimate: _Optional[_Union[RedshiftEstimate, _Mapping]] = ..., problem: _Optional[_Union[Problem, _Mapping]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class GetGraphRequest(_message.Message):
    __slots__ = ("model_version",)
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    model_version: str
    def __init__(self, model_version: _Optional[str] = ...) -> None: ...

class Variable(_message.Message):
    __slots__ = ("name", "unit", "kind", "description")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    unit: str
    kind: str
    description: str
    def __init__(self, name: _Optional[str] = ..., unit: _Optional[str] = ..., kind: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class Edge(_message.Message):
    __slots__ = ("cause", "effect")
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    cause: str
    effect: str
    def __init__(self, cause: _Optional[str] = ..., effect: _Optional[str] = ...) -> None: ...

class GetGraphResponse(_message.Message):
    __slots__ = ("variables", "edges")
    VARIABLES_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    variables: _containers.RepeatedCompositeFieldContainer[Variable]
    edges: _containers.RepeatedCompositeFieldContainer[Edge]
    def __init__(self, variables: _Optional[_Iterable[_Union[Variable, _Mapping]]] = ..., edges: _Optional[_Iterable[_Union[Edge, _Mapping]]] = ...) -> None: ...
