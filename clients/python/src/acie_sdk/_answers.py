"""What the client returns."""

__all__ = ["Answer", "Edge", "Graph", "Health", "Model", "State", "Variable", "parse"]

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, TypeVar

import numpy as np
from pydantic import BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from acie_sdk._errors import APIResponseError

T = TypeVar("T")


def _floats(kind: type) -> BeforeValidator:
    return BeforeValidator(lambda values: np.asarray(values, dtype=kind))


Pixels = Annotated[np.ndarray, _floats(np.float32)]
Numbers = Annotated[np.ndarray, _floats(np.float64)]


@dataclass(frozen=True)
class State:
    """Median and central 68 % interval of one variable."""

    unit: str
    median: float
    p16: float
    p84: float

    def __repr__(self) -> str:
        up, down = self.p84 - self.median, self.median - self.p16
        return f"{self.median:.4g} +{up:.2g} -{down:.2g} {self.unit}".rstrip()


@dataclass(frozen=True)
class Model:
    """A model of the service.

    Arguments:
        name: Its name.
        version: Its version.
        digest: SHA-256 of its files.
        latest: Whether it answers where a request names none.
    """

    name: str
    version: str
    digest: str
    latest: bool = False

    def __repr__(self) -> str:
        return f"Model({self.name}@{self.version}{', latest' if self.latest else ''})"


@dataclass(frozen=True, repr=False)
class Answer:
    """What one galaxy is, and what it would have looked like.

    Arguments:
        model: That answered.
        redshift: Given or estimated.
        interventions: The actions as the service understood them.
        counterfactual: Median counterfactual flux, ``(wave,)``, 1e-17 erg/s/cm2/angstrom.
        counterfactual_p16: 16th percentile, ``(wave,)``.
        counterfactual_p84: 84th percentile, ``(wave,)``.
        latent_names: The variables.
        latent_state: Their medians, in that order.
        latents: What the galaxy is, by variable.
        counterfactual_latents: What it would have been.
        confidence: Importance-sampling efficiency, 0 to 1.
        quality: Names of the flags that are set; empty when nothing is wrong.
        samples: Posterior draws.
        seed: Of the draws, None where they differ from call to call.
        timing_ms: In the service.
        cached: Whether the answer was kept from an earlier question.
        request_id: Names the request in the logs of the service.
    """

    __pydantic_config__: ClassVar = ConfigDict(arbitrary_types_allowed=True)

    model: Model
    redshift: float
    interventions: tuple[str, ...]
    counterfactual: Pixels
    counterfactual_p16: Pixels
    counterfactual_p84: Pixels
    latent_names: tuple[str, ...]
    latent_state: Numbers
    latents: dict[str, State]
    counterfactual_latents: dict[str, State]
    confidence: float
    quality: tuple[str, ...]
    samples: int
    seed: int | None = None
    timing_ms: float = 0.0
    cached: bool = False
    request_id: str = ""

    @property
    def wavelength(self) -> np.ndarray:
        """Vacuum wavelengths of the pixels, angstrom, ``(wave,)``: 3600 in steps of one."""
        return 3600.0 + np.arange(self.counterfactual.size, dtype=np.float64)

    def table(self) -> str:
        """One line per variable: what it is, and what it would have been."""
        rows = [("", "is", "would have been")]
        for name in self.latent_names:
            would = self.counterfactual_latents.get(name)
            rows.append((name, repr(self.latents[name]), "" if would is None else repr(would)))
        widths = [max(len(row[i]) for row in rows) for i in range(2)]
        return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}".rstrip() for a, b, c in rows)

    def __repr__(self) -> str:
        asked = ", ".join(self.interventions) or "nothing changed"
        quality = f"quality {'|'.join(self.quality) or 'good'}"
        return (
            f"Answer({self.model.name}@{self.model.version}, z={self.redshift:.4f}, {asked}, "
            f"confidence {self.confidence:.2f}, {quality}, {self.timing_ms:.0f} ms"
            f"{', cached' if self.cached else ''})"
        )


@dataclass(frozen=True)
class Variable:
    """A variable of a causal graph."""

    name: str
    unit: str
    kind: str
    description: str


@dataclass(frozen=True)
class Edge:
    """One cause and one effect."""

    cause: str
    effect: str

    def __repr__(self) -> str:
        return f"{self.cause} -> {self.effect}"


@dataclass(frozen=True, repr=False)
class Graph:
    """A causal graph."""

    variables: tuple[Variable, ...]
    edges: tuple[Edge, ...]

    def parents(self, name: str) -> tuple[str, ...]:
        """Direct causes of a variable."""
        return tuple(edge.cause for edge in self.edges if edge.effect == name)

    def __repr__(self) -> str:
        return f"Graph({len(self.variables)} variables, {len(self.edges)} edges)"


@dataclass(frozen=True)
class Health:
    """Whether the service wants requests."""

    ready: bool
    status: str = field(default="", compare=False)


def parse(kind: type[T], data: Any) -> T:
    """A dataclass from plain data.

    Raises:
        APIResponseError: A member is missing or of another type.
    """
    adapter = _ADAPTERS.get(kind)
    if adapter is None:
        adapter = _ADAPTERS[kind] = TypeAdapter(kind)
    try:
        return adapter.validate_python(data)
    except (ValidationError, ValueError, TypeError) as error:
        raise APIResponseError(f"not the answer of an ACIE service: {error}") from error


_ADAPTERS: dict[Any, TypeAdapter] = {}
