"""Columns of a catalogue as the values of variables: kinds, codes, missing values, refusals."""

__all__ = ["declare", "encode"]

import difflib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from acie.errors import ConfigurationError, MalformedCatalogue, UnitMismatch, UnknownVariable
from acie.io import Catalogue, same_unit
from acie.tabular.spec import MECHANISMS, GraphSpec, VariableSpec
from acie.variables import Variable

#: A column of whole numbers with at most as many values is taken as discrete.
_FEW_LEVELS = 10
#: A continuous column has at least as many different values.
_CONTINUOUS = 20
_MANY = 200


def _column_of(spec: GraphSpec, name: str) -> str:
    """The column of a variable."""
    return spec.variables[name].column or name


def _find(spec: GraphSpec, name: str, catalogue: Catalogue) -> np.ndarray:
    column = _column_of(spec, name)
    if column in catalogue.columns:
        return np.asarray(catalogue.columns[column])
    close = difflib.get_close_matches(column, catalogue.columns, n=3, cutoff=0.5)
    listed = ", ".join(list(catalogue.columns)[:30])
    raise UnknownVariable(
        name,
        expected=f"a column of {catalogue.source}: {listed}",
        found=repr(column),
        remedy=f"Did you mean {' or '.join(close)}? Say so with 'column'." if close else "",
    )


def declare(spec: GraphSpec, catalogue: Catalogue) -> dict[str, Variable]:
    """Declarations of the variables, with kinds and values from the data.

    Raises:
        UnknownVariable: A column that the catalogue does not have.
        MalformedCatalogue: A column that is constant, empty, not numeric, or the same as another.
        UnitMismatch: The unit of the file is not that of the graph.
    """
    declared: dict[str, Variable] = {}
    seen: dict[bytes, str] = {}
    for name, facts in spec.variables.items():
        values = _find(spec, name, catalogue)
        _check_unit(name, facts, catalogue.units.get(_column_of(spec, name)))
        variable = _declaration(name, facts, values)
        key = values.astype("U").tobytes() if values.dtype == object else values.tobytes()
        if key in seen:
            raise MalformedCatalogue(
                name,
                expected="columns that differ",
                found=f"the same values as in {seen[key]!r}",
                remedy="Drop one of the two variables; neither can be the cause of its copy.",
            )
        seen[key] = name
        declared[name] = variable
    return declared


def _check_unit(name: str, facts: VariableSpec, stated: str | None) -> None:
    if not stated or not facts.unit:
        return
    if not same_unit(stated, facts.unit):
        raise UnitMismatch(
            name,
            expected=f"{facts.unit!r}, as the graph says",
            found=f"{stated!r} in the file",
            remedy="Convert the column, or correct the unit of the graph.",
        )


def _declaration(name: str, facts: VariableSpec, values: np.ndarray) -> Variable:
    text = values.dtype == object
    present = values[_present(values)]
    if not len(present):
        raise MalformedCatalogue(
            name, expected="values", found=f"none in {len(values)} rows: all are missing",
            remedy="Drop the variable from the graph.",
        )  # fmt: skip
    levels = np.unique(present.astype(str) if text else present)
    if len(levels) == 1:
        raise MalformedCatalogue(
            name, expected="values that vary", found=f"{levels[0]} in every row",
            remedy="A constant column is neither cause nor effect; drop it from the graph.",
        )  # fmt: skip
    kind = facts.kind or _kind(levels, text)
    if text and kind != "categorical":
        bad = next((v for v in levels if not _is_number(v)), levels[0])
        raise MalformedCatalogue(
            name, expected=f"numbers for a {kind} variable", found=f"text, such as {str(bad)!r}",
            remedy="Clean the column, or say 'kind: categorical'.",
        )  # fmt: skip
    _check_values(name, kind, facts, levels)
    common = {
        "symbol": facts.symbol, "unit": facts.unit, "description": facts.description,
        "parents": facts.parents, "intervenable": facts.intervenable,
        "source": "learned from the catalogue",
    }  # fmt: skip
    if kind == "continuous":
        low, high = facts.support
        support = (max(low, 0.0) if facts.transform == "log10" else low, high)
        return Variable(name, support=support, transform=facts.transform, **common)
    if kind == "categorical":
        labels = tuple(str(v) if text else f"{v:g}" for v in levels)
        return Variable(
            name, kind=kind, categories=labels, support=(0.0, len(labels) - 1.0), **common
        )
    found = tuple(float(v) for v in levels)
    return Variable(
        name, kind=kind, levels=() if kind == "binary" else found,
        support=(found[0], found[-1]), **common,
    )  # fmt: skip


def _kind(levels: np.ndarray, text: bool) -> str:
    if text:
        return "categorical"
    if len(levels) <= _FEW_LEVELS and bool(np.all(levels == np.round(levels))):
        return "binary" if set(levels.tolist()) <= {0.0, 1.0} else "ordinal"
    return "continuous"


def _check_values(name: str, kind: str, facts: VariableSpec, levels: np.ndarray) -> None:
    problem = ""
    if kind == "binary" and set(levels.tolist()) != {0.0, 1.0}:
        problem = "0 and 1", ", ".join(f"{v:g}" for v in levels[:5]), "Say 'kind: ordinal'."
    elif kind in ("ordinal", "categorical") and len(levels) > _MANY:
        problem = f"at most {_MANY} different values", str(len(levels)), "Group them."
    elif kind == "continuous" and len(levels) < _CONTINUOUS:
        problem = (
            f"at least {_CONTINUOUS} different values for a continuous variable",
            str(len(levels)), "Say 'kind: ordinal' or 'kind: categorical'.",
        )  # fmt: skip
    elif kind == "continuous" and facts.transform == "log10" and float(levels[0]) <= 0:
        problem = (
            "positive numbers for 'transform: log10'", f"{levels[0]:g}",
            "Use 'transform: identity', or mark such rows as missing.",
        )  # fmt: skip
    if problem:
        raise MalformedCatalogue(name, expected=problem[0], found=problem[1], remedy=problem[2])
    group = "continuous" if kind == "continuous" else "discrete"
    if facts.mechanism not in MECHANISMS[group]:
        raise ConfigurationError(
            f"{name}.mechanism",
            expected=f"one of {', '.join(MECHANISMS[group])} for a {kind} variable",
            found=repr(facts.mechanism),
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _present(values: np.ndarray) -> np.ndarray:
    if values.dtype == object:
        return values != np.array(None)
    return np.isfinite(values)


def encode(
    spec: GraphSpec, variables: Mapping[str, Variable], catalogue: Catalogue
) -> dict[str, Tensor]:
    """Values of every variable, double, NaN where missing, each ``(row,)``.

    Infinite numbers count as missing.

    Raises:
        UnknownVariable: A column that the catalogue does not have.
        MalformedCatalogue: A value that the variable does not know.
    """
    encoded = {}
    for name, variable in variables.items():
        values = _find(spec, name, catalogue)
        present = _present(values)
        if variable.kind == "categorical":
            numbers = _codes(variable, values, present)
        elif values.dtype == object:
            raise MalformedCatalogue(
                name, expected="numbers",
                found=f"text, such as {str(values[present][0]) if present.any() else ''!r}",
                remedy="Clean the column.",
            )  # fmt: skip
        else:
            numbers = np.where(present, values.astype(np.float64), np.nan)
            _check_known(variable, numbers[present])
        encoded[name] = torch.from_numpy(numbers)
    return encoded


def _codes(variable: Variable, values: np.ndarray, present: np.ndarray) -> np.ndarray:
    text = np.full(len(values), "", dtype=object)
    if values.dtype == object:
        text[present] = values[present].astype(str)
    else:
        labels, inverse = np.unique(values[present], return_inverse=True)
        text[present] = np.array([f"{v:g}" for v in labels], dtype=object)[inverse]
    # Labels are sorted as text only where they came from text.
    order = np.argsort(np.array(variable.categories))
    ranked = np.array(variable.categories)[order]
    found = np.searchsorted(ranked, text[present].astype(str)).clip(0, len(ranked) - 1)
    wrong = ranked[found] != text[present].astype(str)
    if wrong.any():
        raise MalformedCatalogue(
            variable.name, expected=f"one of {', '.join(variable.categories[:20])}",
            found=repr(str(text[present][wrong][0])),
            remedy="The model has not seen this category; mark it as missing or fit again.",
        )  # fmt: skip
    codes = np.full(len(values), np.nan)
    codes[present] = order[found]
    return codes


def _check_known(variable: Variable, numbers: np.ndarray) -> None:
    problem: Any = None
    if variable.values:
        wrong = ~np.isin(numbers, np.array(variable.values))
        problem = ", ".join(f"{v:g}" for v in variable.values[:20])
    else:
        wrong = numbers <= 0 if variable.transform == "log10" else np.zeros(len(numbers), bool)
        problem = "positive numbers"
    if wrong.any():
        raise MalformedCatalogue(
            variable.name, expected=problem, found=f"{numbers[wrong][0]:g}",
            remedy="Mark such values as missing, or fit a model that knows them.",
        )  # fmt: skip
