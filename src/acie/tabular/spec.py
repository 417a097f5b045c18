"""The graph file: which columns are variables, who causes whom, and what kind each is."""

__all__ = ["MECHANISMS", "GraphSpec", "VariableSpec"]

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from acie.errors import ConfigurationError
from acie.scm import CausalGraph

#: What ``mechanism`` may be, by kind of variable.
MECHANISMS = {
    "continuous": ("auto", "additive", "spline"),
    "discrete": ("auto", "logistic", "network"),
}
_KINDS = ("continuous", "binary", "ordinal", "categorical")
_TRANSFORMS = ("identity", "log10")


@dataclass(frozen=True)
class VariableSpec:
    """What the graph file says about one variable.

    Arguments:
        parents: Direct causes.
        column: Column of the catalogue; the name of the variable when empty.
        kind: ``continuous``, ``binary``, ``ordinal`` or ``categorical``; from the data when empty.
        transform: Scale on which the variable is learned: ``identity`` or ``log10``.
        mechanism: ``auto``, or one of :data:`MECHANISMS`.
        unit: Unit as text.
        support: Smallest and largest value that may be asked for.
        intervenable: Whether users may act on it.
        symbol: LaTeX symbol.
        description: One sentence for people.
    """

    parents: tuple[str, ...] = ()
    column: str = ""
    kind: str = ""
    transform: str = "identity"
    mechanism: str = "auto"
    unit: str = ""
    support: tuple[float, float] = (-math.inf, math.inf)
    intervenable: bool = True
    symbol: str = ""
    description: str = ""


@dataclass(frozen=True)
class GraphSpec:
    """A causal graph over the columns of a catalogue.

    Arguments:
        variables: By name, in the order of the file.
        name: What the model is called.
        aliases: Other names of variables.
    """

    variables: dict[str, VariableSpec]
    name: str = "catalogue"
    aliases: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | Path) -> "GraphSpec":
        """Read a YAML file.

        Raises:
            ConfigurationError: The file cannot be read, or a key or a value is not known.
            CyclicGraph: The graph has a cycle, which is named.
            UnknownVariable: A parent is no variable.
        """
        try:
            data = yaml.safe_load(Path(path).read_text("utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
            raise ConfigurationError(
                str(path), expected="a readable YAML file", found=reason,
                remedy="See docs/fit.md for an example.",
            ) from None  # fmt: skip
        return cls.parse(data)

    @classmethod
    def parse(cls, data: Any) -> "GraphSpec":
        """The same from plain data; errors as of :meth:`read`."""
        if not isinstance(data, Mapping) or not isinstance(data.get("variables"), Mapping):
            raise ConfigurationError(
                "graph",
                expected="a mapping with the key 'variables', itself a mapping",
                found=type(data).__name__ if not isinstance(data, Mapping) else ", ".join(data),
                remedy="See docs/fit.md for an example.",
            )
        _known("graph", data, ("variables", "name", "aliases"))
        variables = {str(n): _variable(str(n), facts) for n, facts in data["variables"].items()}
        graph = CausalGraph({name: v.parents for name, v in variables.items()})
        aliases = {str(k): graph.require(str(v)) for k, v in (data.get("aliases") or {}).items()}
        return cls(variables, str(data.get("name") or "catalogue"), aliases)

    def to_json(self) -> dict[str, Any]:
        """Plain data that :meth:`parse` reads."""
        variables = {}
        for name, variable in self.variables.items():
            facts = asdict(variable)
            low, high = facts.pop("support")
            # JSON has no infinity: an open end is null.
            ends = [end if math.isfinite(end) else None for end in (low, high)]
            variables[name] = facts | {"support": ends}
        return {"name": self.name, "aliases": self.aliases, "variables": variables}


def _variable(name: str, facts: Any) -> VariableSpec:
    facts = {} if facts is None else facts
    if isinstance(facts, list | tuple):
        # The short form: only the parents.
        facts = {"parents": facts}
    if not isinstance(facts, Mapping):
        raise ConfigurationError(
            name, expected="a mapping, or a list of parents", found=repr(facts)
        )
    if not name.isidentifier():
        raise ConfigurationError(
            name, expected="a name of letters, digits and underscores", found=repr(name),
            remedy="Choose another name and give the column with 'column'.",
        )  # fmt: skip
    _known(name, facts, [f.name for f in fields(VariableSpec)])
    facts = dict(facts)
    facts["parents"] = _parents(name, facts.get("parents"))
    if "support" in facts:
        facts["support"] = _support(name, facts["support"])
    variable = VariableSpec(**facts)
    _one_of(f"{name}.transform", variable.transform, _TRANSFORMS)
    if variable.kind:
        _one_of(f"{name}.kind", variable.kind, _KINDS)
    group = "continuous" if variable.kind == "continuous" else "discrete"
    allowed = MECHANISMS[group] if variable.kind else (*MECHANISMS["continuous"], *MECHANISMS["discrete"][1:])  # noqa: E501
    _one_of(f"{name}.mechanism", variable.mechanism, allowed)
    return variable


def _parents(name: str, found: Any) -> tuple[str, ...]:
    listed = [found] if isinstance(found, str) else list(found or ())
    parents = tuple(str(parent) for parent in listed)
    if len(set(parents)) != len(parents):
        raise ConfigurationError(
            f"{name}.parents", expected="every parent once", found=", ".join(parents)
        )
    return parents


def _support(name: str, found: Any) -> tuple[float, float]:
    try:
        low, high = (end if end is None else float(end) for end in found)
    except (TypeError, ValueError):
        low = high = 0.0
    bounds = -math.inf if low is None else low, math.inf if high is None else high
    if not bounds[0] < bounds[1]:
        raise ConfigurationError(
            f"{name}.support", expected="two ascending numbers, null for an open end",
            found=repr(found),
        )  # fmt: skip
    return bounds


def _known(where: str, facts: Mapping[str, Any], allowed: Any) -> None:
    for key in facts:
        if key not in allowed:
            close = difflib.get_close_matches(str(key), list(allowed), n=2)
            raise ConfigurationError(
                where, expected=f"keys among {', '.join(allowed)}", found=repr(key),
                remedy=f"Did you mean {' or '.join(close)}?" if close else "",
            )  # fmt: skip


def _one_of(where: str, found: Any, allowed: Any) -> None:
    if found not in allowed:
        close = difflib.get_close_matches(str(found), list(allowed), n=2)
        raise ConfigurationError(
            where, expected=f"one of {', '.join(allowed)}", found=repr(found),
            remedy=f"Did you mean {' or '.join(close)}?" if close else "",
        )  # fmt: skip
