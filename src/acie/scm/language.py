"""Interventions as text and as JSON.

Text: ``stellar_mass*=1.5``, ``stellar_mass=x1.5``, ``dust_av=0``, ``metallicity+=0.1dex``,
``age-=1``; several are separated by commas. JSON: ``{"dust_av": 0.0}``,
``{"stellar_mass": {"scale": 1.5}}``, ``{"metallicity": {"shift_dex": 0.1}}``,
``{"age": {"shift": -1.0}}``.
"""

__all__ = ["describe", "parse_interventions"]

import difflib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from acie.errors import (
    CausalError,
    ConfigurationError,
    ConflictingInterventions,
    UnknownVariable,
)
from acie.scm.checks import refuse_value
from acie.scm.interventions import Do, Intervention, Policy, Replace, Scale, Shift
from acie.variables import Variable

_EXPRESSION = re.compile(
    r"""\s*(?P<name>[A-Za-z_]\w*)\s*
        (?P<operator>\*=|/=|\+=|-=|=\s*[x×*]|=)\s*
        (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*
        (?P<dex>dex)?\s*""",
    re.VERBOSE,
)
_EXAMPLES = (
    "Examples: stellar_mass*=1.5, stellar_mass=x1.5, dust_av=0, metallicity+=0.1dex, age-=1; "
    'as JSON {"dust_av": 0.0}, {"stellar_mass": {"scale": 1.5}}, '
    '{"metallicity": {"shift_dex": 0.1}}, {"age": {"shift": -1.0}}.'
)
_ACTIONS = {
    "set": Do,
    "scale": Scale,
    "shift": Shift,
    "shift_dex": lambda amount: Shift(amount, dex=True),
}


def parse_interventions(
    do: str | Mapping[str, Any] | Sequence[str],
    variables: Mapping[str, Variable],
    aliases: Mapping[str, str] | None = None,
) -> dict[str, Intervention]:
    """One action per variable, checked against the declarations.

    Arguments:
        do: Text, a list of texts, JSON text, or a mapping from names to numbers, JSON objects or
            interventions.
        variables: Declarations by name.
        aliases: Other names of variables.

    Returns:
        Interventions by the true name of their variable, in the order given.

    Raises:
        ConfigurationError: A malformed expression.
        UnknownVariable: No variable of that name.
        ConflictingInterventions: Two actions on the same variable.
        CausalError: A variable that must not be acted on.
        OutsideSupport: A set value outside the support.
    """
    parsed: dict[str, Intervention] = {}
    for name, action in _pairs(do):
        variable = _resolve(name, variables, aliases or {})
        if variable.name in parsed:
            raise ConflictingInterventions(
                variable.name,
                expected="one action per variable",
                found=f"{describe(parsed[variable.name], variable.name)} and "
                f"{describe(action, variable.name)}",
                remedy="Combine them into one, or ask two questions.",
            )
        _check(action, variable)
        parsed[variable.name] = action
    return parsed


def describe(intervention: Intervention, name: str) -> str:
    """Canonical text of an action; for numbers, what ``parse_interventions`` reads.

    Example:
        >>> describe(Shift(0.1, dex=True), "metallicity")
        'metallicity+=0.1dex'
    """
    match intervention:
        case Do(value):
            return f"{name}={_number(value)}"
        case Scale(factor):
            return f"{name}*={_number(factor)}"
        case Shift(amount, dex):
            text = _number(amount)
            sign, text = ("-", text[1:]) if text.startswith("-") else ("+", text)
            return f"{name}{sign}={text}{'dex' if dex else ''}"
        case Policy(_, label):
            return f"{name}={label}(state)"
        case Replace(mechanism):
            return f"{name}~{type(mechanism).__name__}"


def _number(value: float | Tensor) -> str:
    if isinstance(value, Tensor):
        if value.numel() != 1:
            return f"tensor{tuple(value.shape)}"
        value = value.item()
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


def _pairs(do: Any) -> Iterator[tuple[str, Intervention]]:
    if isinstance(do, str):
        if do.lstrip().startswith("{"):
            yield from _pairs(_json(do))
        else:
            yield from (_expression(part) for part in re.split(r"[,;\n]", do) if part.strip())
    elif isinstance(do, Mapping):
        for name, action in do.items():
            yield str(name), _action(str(name), action)
    elif isinstance(do, Iterable):
        for part in do:
            yield from _pairs(part)
    else:
        raise _malformed(do)


def _json(text: str) -> Mapping[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        for name, _ in pairs:
            if sum(name == other for other, _ in pairs) > 1:
                raise ConflictingInterventions(
                    name, expected="one action per variable", found="the same key twice"
                )
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise _malformed(text) from error


def _expression(text: str) -> tuple[str, Intervention]:
    match = _EXPRESSION.fullmatch(text)
    if match is None:
        raise _malformed(text)
    name, operator, number = match["name"], match["operator"], float(match["number"])
    dex = match["dex"] is not None
    if operator in ("+=", "-="):
        return name, Shift(number if operator == "+=" else -number, dex=dex)
    if dex or (operator == "/=" and number == 0.0):
        raise _malformed(text)
    if operator == "=":
        return name, Do(number)
    return name, Scale(1.0 / number if operator == "/=" else number)


def _action(name: str, action: Any) -> Intervention:
    if isinstance(action, Intervention):
        return action
    if isinstance(action, Tensor):
        return Do(action)
    if isinstance(action, Real):
        return Do(_float(action))
    if isinstance(action, str):
        return _expression(f"{name}{action}" if "=" in action else f"{name}={action}")[1]
    if isinstance(action, Mapping) and len(action) == 1:
        ((verb, amount),) = action.items()
        if verb in _ACTIONS and isinstance(amount, Tensor):
            return _ACTIONS[verb](amount)
        if verb in _ACTIONS and isinstance(amount, Real):
            return _ACTIONS[verb](_float(amount))
    raise _malformed({name: action})


def _float(number: Real) -> float:
    """The nearest number; infinite, which is refused later, where an integer is too large."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _malformed(found: Any) -> ConfigurationError:
    return ConfigurationError(
        "do", expected="an intervention", found=repr(found), remedy=_EXAMPLES
    )


def _resolve(name: str, variables: Mapping[str, Variable], aliases: Mapping[str, str]) -> Variable:
    true_name = aliases.get(name, name)
    if true_name in variables:
        return variables[true_name]
    known = [*variables, *aliases]
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    raise UnknownVariable(
        name,
        expected=f"one of {', '.join(variables)}",
        found=repr(name),
        remedy=f"Did you mean {' or '.join(close)}?" if close else "",
    )


def _check(action: Intervention, variable: Variable) -> None:
    if not variable.intervenable:
        raise CausalError(
            variable.name,
            expected="a variable that may be acted on",
            found=f"{describe(action, variable.name)}, but {variable.name} is given or derived",
            remedy="Act on one of its causes or effects instead.",
        )
    numbers = {Do: "value", Scale: "factor", Shift: "amount"}.get(type(action))
    if numbers and not bool(torch.as_tensor(getattr(action, numbers)).isfinite().all()):
        raise ConfigurationError(
            variable.name,
            expected="finite numbers",
            found=describe(action, variable.name),
            remedy=_EXAMPLES,
        )
    if not isinstance(action, Do):
        return
    value = torch.as_tensor(action.value, dtype=torch.float64)
    refuse_value(variable, value, _suggestion(value, variable))


def _suggestion(value: Tensor, variable: Variable) -> str:
    # A number far too small for its unit was meant as a factor or as a logarithm.
    if variable.transform != "log10" or value.numel() != 1 or not bool(value > 0):
        return ""
    number, (low, high) = value.item(), variable.support
    if low > 0 and high < math.inf and math.log10(low) <= number <= math.log10(high):
        return f"Did you mean 10^{number:g} ({variable.name}={10.0**number:.4g})?"
    if number < low and 1e-3 <= number <= 1e3:
        return f"Did you mean scale {number:g} ({variable.name}*={number:g})?"
    return ""
