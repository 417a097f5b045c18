"""Interventions on variables whose values have labels."""

__all__ = ["describe_labelled", "parse_labelled"]

import re
from collections.abc import Mapping
from typing import Any

from acie.errors import ConfigurationError, OutsideSupport
from acie.scm import Do, Intervention, Policy, Replace, Scale, Shift, describe, parse_interventions
from acie.variables import Variable

_LABELLED = re.compile(r"""\s*([A-Za-z_]\w*)\s*=\s*['"]?([^'"=]*?)['"]?\s*""")


def parse_labelled(
    do: Any, variables: Mapping[str, Variable], aliases: Mapping[str, str]
) -> dict[str, Intervention]:
    """Interventions as of :func:`acie.scm.parse_interventions`, with labels for categories.

    Raises:
        OutsideSupport: A category that the variable does not have.
        ConfigurationError: A shift or a scale of a categorical variable.
    """
    found = parse_interventions(_translated(do, variables, aliases), variables, aliases)
    for name, action in found.items():
        if variables[name].kind == "categorical" and isinstance(action, Shift | Scale):
            raise ConfigurationError(
                name, expected=f"one of its categories, such as {name}={_first(variables[name])}",
                found=describe(action, name), remedy="Categories have no order and no distance.",
            )  # fmt: skip
    return found


def describe_labelled(action: Intervention, variable: Variable) -> str:
    """Text of an action, with the label of a category."""
    if variable.categories and isinstance(action, Do) and isinstance(action.value, float):
        return f"{variable.name}={variable.categories[int(action.value)]}"
    return describe(action, variable.name)


def _first(variable: Variable) -> str:
    return variable.categories[0]


def _translated(do: Any, variables: Mapping[str, Variable], aliases: Mapping[str, str]) -> Any:
    """The same question with codes in the place of labels."""
    if isinstance(do, str):
        if do.lstrip().startswith("{"):
            # JSON is parsed below, where its mistakes are reported; labels come as a mapping.
            import json

            try:
                return _translated(json.loads(do), variables, aliases)
            except json.JSONDecodeError:
                return do
        parts = [part for part in re.split(r"[,;\n]", do) if part.strip()]
        return [_one(part, variables, aliases) for part in parts]
    if isinstance(do, Mapping):
        return {name: _value(str(name), v, variables, aliases) for name, v in do.items()}
    if isinstance(do, list | tuple):
        merged: list[Any] = []
        for part in do:
            found = _translated(part, variables, aliases)
            merged += found if isinstance(found, list) else [found]
        return merged
    return do


def _one(text: str, variables: Mapping[str, Variable], aliases: Mapping[str, str]) -> Any:
    match = _LABELLED.fullmatch(text)
    if match is None:
        return text
    name, label = match.groups()
    variable = variables.get(aliases.get(name, name))
    if variable is None or variable.kind != "categorical":
        return text
    return {name: _code(variable, label)}


def _value(
    name: str, value: Any, variables: Mapping[str, Variable], aliases: Mapping[str, str]
) -> Any:
    variable = variables.get(aliases.get(name, name))
    if variable is None or variable.kind != "categorical":
        return value
    if isinstance(value, Do | Shift | Scale | Policy | Replace | Mapping):
        return value
    return _code(variable, str(value))


def _code(variable: Variable, label: str) -> float:
    if label in variable.categories:
        return float(variable.categories.index(label))
    raise OutsideSupport(
        variable.name, expected=f"one of {', '.join(variable.categories)}", found=repr(label)
    )
