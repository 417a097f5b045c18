"""Messages of gRPC from and to queries, answers and errors."""

__all__ = ["actions_of", "graph_of", "models_of", "problem_message", "query_of", "response_of"]

from typing import Any

import numpy as np

from acie.errors import ConfigurationError, MalformedSpectrum
from acie.io import from_arrays
from acie.serving.problems import Problem
from acie.serving.query import Answer, Query, StateSummary
from acie.serving.registry import LoadedModel, ModelRegistry
from acie.serving.rpc._generated import acie_pb2 as pb

#: The same limits as those of REST.
_MAX_PIXELS, _MAX_TEXT, _MAX_NAMES = 20_000, 200, 20
#: Characters of each text in a problem: trailing metadata has room for 8 KiB in all.
_MAX_WORDS = 600


def query_of(request: pb.InferenceRequest) -> Query:
    """A query from a request.

    Raises:
        ACIEError: The arrays do not fit or hold nothing usable, or a member is out of bounds.
    """
    own = request.observation
    arrays = {
        name: _array(getattr(own, name), name)
        for name in ("flux", "ivar", "mask", "wavelength", "lsf")
    }
    if arrays["flux"] is None:
        raise MalformedSpectrum("observation", expected="flux", found="none")
    observation = from_arrays(
        arrays.pop("flux"),
        **arrays,
        redshift=own.redshift if own.HasField("redshift") else None,
        name=_short(own.name, "name"),
    )
    if len(request.hold) > _MAX_NAMES:
        raise ConfigurationError(
            "hold", expected=f"at most {_MAX_NAMES} names", found=str(len(request.hold))
        )
    seed = request.seed if request.HasField("seed") else None
    if seed is not None and seed >= 2**63:
        raise ConfigurationError("seed", expected="a number below 2**63", found=str(seed))
    return Query(
        observation=observation.batched(),
        intervention=actions_of(request.intervention),
        hold=tuple(request.hold),
        samples=request.samples if request.HasField("samples") else None,
        seed=seed,
        check_redshift=request.check_redshift,
        model=_short(request.model_version, "model_version") or "latest",
    )


def actions_of(intervention: pb.Intervention) -> list[str] | dict[str, Any]:
    """What ``CounterfactualEngine.act`` reads: texts, or actions by variable.

    Raises:
        ConfigurationError: Both forms at once, an action without a change, two on one variable.
    """
    if intervention.text and intervention.actions:
        raise ConfigurationError(
            "intervention", expected="text or actions", found="both", remedy="Send one of them."
        )
    if intervention.text:
        return list(intervention.text)
    actions: dict[str, Any] = {}
    for action in intervention.actions:
        change = action.WhichOneof("change")
        if change is None:
            raise ConfigurationError(
                "intervention.actions",
                expected="set, scale, shift or shift_dex",
                found=f"no change of {action.variable!r}",
            )
        if action.variable in actions:
            raise ConfigurationError(
                "intervention.actions",
                expected="one action per variable",
                found=f"two on {action.variable!r}",
            )
        actions[action.variable] = {change: getattr(action, change)}
    return actions


def response_of(answer: Answer, request_id: str, milliseconds: float) -> pb.InferenceResponse:
    """The message of an answer.

    Arguments:
        answer: The answer.
        request_id: That of the question.
        milliseconds: From the arrival of the question.
    """
    response = pb.InferenceResponse(
        request_id=request_id,
        latent_names=answer.latent,
        latent_state=[state["median"] for state in answer.latent.values()],
        latents=_states(answer.latent),
        counterfactual_latents=_states(answer.counterfactual_latent),
        confidence=answer.confidence,
        quality=answer.quality,
        model=pb.Model(**answer.model),
        timing=pb.Timing(total_ms=milliseconds),
        cached=answer.cached,
        redshift=answer.redshift,
        interventions=answer.interventions,
        samples=answer.samples,
        seed=answer.seed,
    )
    if answer.redshift_estimate is not None:
        known = {k: v for k, v in answer.redshift_estimate.items() if v is not None}
        response.redshift_estimate.CopyFrom(pb.RedshiftEstimate(**known))
    for name in ("counterfactual", "counterfactual_p16", "counterfactual_p84"):
        # Lists of floats go in several times faster than arrays.
        getattr(response, name).extend(np.asarray(getattr(answer, name)).tolist())
    return response


def problem_message(problem: Problem, error: Exception) -> pb.Problem:
    """The message of a problem."""
    message = pb.Problem(status=problem.status, code=problem.code)
    for name, text in problem.to_json().items():
        if name != "status" and name in pb.Problem.DESCRIPTOR.fields_by_name:
            setattr(message, name, str(text)[:_MAX_WORDS])
    if "Retry-After" in problem.headers:
        message.retry_after_s = float(getattr(error, "retry_after_s", 0.0)) or 1.0
    return message


def models_of(registry: ModelRegistry) -> pb.ListModelsResponse:
    """The loaded models."""
    latest = registry.find("latest")
    return pb.ListModelsResponse(
        models=[pb.Model(**model.identity, latest=model is latest) for model in registry.models]
    )


def graph_of(model: LoadedModel) -> pb.GetGraphResponse:
    """The causal graph of a model."""
    scm = model.engine.scm
    return pb.GetGraphResponse(
        variables=[
            pb.Variable(name=v.name, unit=v.unit, kind=v.kind, description=v.description)
            for v in scm.variables.values()
        ],
        edges=[
            pb.Edge(cause=parent, effect=name)
            for name in scm.variables
            for parent in scm.graph.parents(name)
        ],
    )


def _array(values: Any, name: str) -> np.ndarray | None:
    """Numbers of a repeated field, None where it is empty."""
    if len(values) > _MAX_PIXELS:
        raise MalformedSpectrum(
            name, expected=f"at most {_MAX_PIXELS} pixels", found=str(len(values))
        )
    return np.array(values) if len(values) else None


def _short(text: str, name: str) -> str:
    if len(text) > _MAX_TEXT:
        raise ConfigurationError(
            name, expected=f"at most {_MAX_TEXT} characters", found=str(len(text))
        )
    return text


def _states(states: dict[str, StateSummary]) -> dict[str, pb.State]:
    return {name: pb.State(**state) for name, state in states.items()}
