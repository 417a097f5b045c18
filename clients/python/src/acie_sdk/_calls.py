"""What is asked, whatever transport carries it: the one place where requests are made."""

__all__ = ["Call", "Options", "Question", "__version__", "ask", "fetch"]

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

from acie_sdk._errors import InvalidInputError
from acie_sdk._spectra import Spectrum, spectrum_of

__version__ = "0.1.0"

_CHANGES = ("set", "scale", "shift", "shift_dex")

Intervention = str | Iterable[str] | Mapping[str, Any] | None


class Options(TypedDict, total=False):
    """What may be said besides the galaxy and the intervention; see ``ACIEClient.infer``."""

    hold: Iterable[str]
    samples: int | None
    seed: int | None
    model_version: str
    redshift: float | None
    name: str
    request_id: str | None


@dataclass(frozen=True)
class Question:
    """One galaxy and one question.

    Arguments:
        spectrum: Of the galaxy.
        intervention: Texts, or one change by variable.
        hold: Descendants that keep their factual value.
        samples: Posterior draws.
        seed: Of the draws.
    """

    spectrum: Spectrum
    intervention: tuple[str, ...] | dict[str, dict[str, float]]
    hold: tuple[str, ...] = ()
    samples: int | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Call:
    """One request; its identifiers stay the same however often it is tried.

    Arguments:
        kind: What is asked for.
        question: Of a call for an inference.
        model_version: Of the model.
        request_id: Names the request in logs.
        key: Lets the service answer a repeated request without computing it twice.
    """

    kind: Literal["infer", "models", "graph", "health"]
    question: Question | None = None
    model_version: str = "latest"
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    key: str = field(default_factory=lambda: uuid.uuid4().hex)


def ask(
    observation: Any,
    intervention: Intervention = None,
    *,
    hold: Iterable[str] = (),
    samples: int | None = None,
    seed: int | None = None,
    model_version: str = "latest",
    redshift: float | None = None,
    name: str = "",
    request_id: str | None = None,
) -> Call:
    """The call of one question.

    Raises:
        InvalidInputError: Something that cannot be sent.
    """
    if isinstance(hold, str):
        hold = hold.split(",")
    question = Question(
        spectrum_of(observation, redshift, name),
        _intervention(intervention),
        tuple(hold),
        _count(samples, "samples", 2),
        _count(seed, "seed", 0),
    )
    named = {} if request_id is None else {"request_id": request_id}
    return Call("infer", question, model_version, **named)


def fetch(kind: Literal["models", "graph", "health"], model_version: str = "latest") -> Call:
    """A call that asks about the service."""
    return Call(kind, None, model_version)


def _intervention(given: Intervention) -> tuple[str, ...] | dict[str, dict[str, float]]:
    if given is None:
        return ()
    if isinstance(given, str):
        return (given,) if given.strip() else ()
    if isinstance(given, Mapping):
        return {str(name): _change(str(name), change) for name, change in given.items()}
    texts = tuple(given)
    if not all(isinstance(text, str) for text in texts):
        raise InvalidInputError(
            "intervention", expected="text, texts, or a mapping", found=repr(texts)[:80]
        )
    return texts


def _change(name: str, change: Any) -> dict[str, float]:
    """``{"scale": 1.5}`` from itself, ``{"set": 0.5}`` from a number."""
    if isinstance(change, Mapping) and len(change) == 1 and next(iter(change)) in _CHANGES:
        kind, amount = next(iter(change.items()))
    else:
        kind, amount = "set", change
    try:
        return {kind: float(amount)}
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"intervention.{name}",
            expected=f"a number, or one of {', '.join(_CHANGES)} with a number",
            found=repr(change)[:80],
        ) from error


def _count(value: int | None, name: str, least: int) -> int | None:
    if value is None:
        return None
    if int(value) != value or not least <= value < 2**63:
        raise InvalidInputError(name, expected=f"a whole number from {least}", found=repr(value))
    return int(value)
