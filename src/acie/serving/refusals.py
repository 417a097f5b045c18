"""Requests that are refused before they are questions; each has a row in ``problems.py``."""

__all__ = [
    "BodyTooLarge",
    "KeyReused",
    "MalformedBody",
    "MalformedHeader",
    "MalformedRequest",
    "ModelInUse",
    "NotAcceptable",
    "UnsupportedContent",
    "invalid",
]

from collections.abc import Mapping, Sequence
from typing import Any

from acie.errors import ACIEError

#: Problems of one request that are listed, and characters shown of what was found.
_LISTED, _SHOWN = 10, 60
#: What pydantic says in whole sentences or in words of Python.
_WORDS = {
    "dict_type": "an object",
    "list_type": "a list",
    "model_type": "an object",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "a text of the form {pattern}",
    "too_long": "at most {max_length} items",
    "too_short": "at least {min_length} items",
}


class MalformedBody(ACIEError):
    """The body cannot be decoded."""


class MalformedHeader(ACIEError):
    """A header of the request cannot be used."""


class BodyTooLarge(ACIEError):
    """The body is longer than the service reads."""


class UnsupportedContent(ACIEError):
    """The body has a type or an encoding that the service does not read."""


class NotAcceptable(ACIEError):
    """The service writes none of the types that the client accepts."""


class KeyReused(ACIEError):
    """An idempotency key came again with another request."""


class ModelInUse(ACIEError):
    """The model answers requests and cannot be unloaded."""


class MalformedRequest(ACIEError):
    """The body was decoded, but it is not a request; ``errors`` lists what is wrong and where."""

    errors: Sequence[Mapping[str, str]] = ()

    def __str__(self) -> str:
        return "; ".join(
            f"{one['at']}: expected {one['expected']}, found {one['found']}" for one in self.errors
        )


def invalid(errors: Sequence[Mapping[str, Any]]) -> MalformedRequest:
    """The refusal of a request that pydantic found wrong.

    Arguments:
        errors: As from ``ValidationError.errors()``.
    """
    places = [_place(error) for error in errors[:_LISTED]]
    first = places[0]
    refusal = MalformedRequest(first["at"], expected=first["expected"], found=first["found"])
    refusal.errors = places
    return refusal


def _place(error: Mapping[str, Any]) -> dict[str, str]:
    # Names in parentheses are those of alternatives, which are no part of the request.
    parts = [str(part) for part in error["loc"] if not str(part).startswith("(")]
    at, name = ".".join(parts)[:200] or "body", repr(parts[-1][:_SHOWN]) if parts else ""
    match error["type"]:
        case "missing":
            return {"at": at, "expected": "a value", "found": "nothing"}
        case "extra_forbidden":
            return {"at": at, "expected": "fields of the contract only", "found": name}
    words = _WORDS.get(error["type"])
    if words is None:
        # "Input should be a valid number" and "Value error, one of a, b" as a part of a sentence.
        expected = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    else:
        expected = words.format(**error.get("ctx", {}))
    return {"at": at, "expected": expected, "found": _shown(error["input"])}


def _shown(value: Any) -> str:
    """What was found, in a few words: it may be large, and it may be secret."""
    match value:
        case bool() | int() | float() | str() | None:
            text = repr(value[: _SHOWN + 1] if isinstance(value, str) else value)
            return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
        case list():
            return f"a list of {len(value)}"
        case bytes():
            return f"{len(value)} bytes"
        case Mapping():
            names = ", ".join(map(repr, list(value)[:5]))
            return f"an object with {names[:_SHOWN] or 'nothing'}"
    return f"a {type(value).__name__}"
