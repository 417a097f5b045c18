"""A learned model of a catalogue as one folder.

::

    my-model/
    ├── manifest.json             name, kind, versions, digests
    ├── model.json                graph, variables, mechanisms, ranges, what was measured
    └── mechanisms.safetensors    every learned number
"""

__all__ = ["TabularBundle"]

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from acie.errors import ConfigurationError, IncompatibleBundle
from acie.manifest import find_bundle, read_manifest, verify_files, write_manifest
from acie.scm import (
    AbstractMechanism,
    CategoricalMechanism,
    FlowMechanism,
    KernelLocation,
    LearnedAdditiveMechanism,
    LearnedProbabilities,
    MixedLocation,
    NetworkLocation,
    OrdinalMechanism,
    StructuralCausalModel,
)
from acie.tabular.spec import GraphSpec
from acie.variables import Variable

_MODEL, _WEIGHTS = "model.json", "mechanisms.safetensors"
_FILES = (_MODEL, _WEIGHTS)


@dataclass
class TabularBundle:
    """Everything that an answer about rows of a catalogue needs.

    Arguments:
        spec: The causal graph as the user wrote it.
        scm: The learned model.
        report: For every variable the mechanism chosen, rows used and held-out log likelihood.
        ranges: Smallest and largest training value of the continuous variables.
        training: Source, number of rows and seed.
        name: Name of the model; that of the graph when empty.
        version: Version of the model.
        digest: SHA-256 over the digests of the files; set by loading and saving.
    """

    spec: GraphSpec
    scm: StructuralCausalModel
    report: dict[str, Any]
    ranges: dict[str, tuple[float, float]]
    training: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    version: str = "1"
    digest: str = ""

    def __post_init__(self) -> None:
        self.name = self.name or self.spec.name

    def save(self, folder: str | Path) -> Path:
        """Write the bundle; the manifest comes last, so a torn folder is not a bundle.

        Raises:
            ConfigurationError: The folder cannot be written.
        """
        import acie

        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # An old manifest must not vouch for new files.
            (folder / "manifest.json").unlink(missing_ok=True)
            tensors = {n: t.contiguous().clone() for n, t in self.scm.state_dict().items()}
            save_file(tensors, folder / _WEIGHTS)
            (folder / _MODEL).write_text(json.dumps(self._model(), indent=1) + "\n", "utf-8")
            self.digest = write_manifest(
                folder, _FILES,
                {"kind": "tabular", "name": self.name, "version": self.version,
                 "acie_version": acie.__version__},
            )  # fmt: skip
        except OSError as error:
            raise ConfigurationError(
                "out", expected="a folder that can be written",
                found=f"{folder} ({error.strerror})", remedy="Choose another folder.",
            ) from None  # fmt: skip
        return folder

    @classmethod
    def load(cls, path: str | Path) -> "TabularBundle":
        """Load a bundle.

        Raises:
            UnknownModel: There is no bundle.
            IncompatibleBundle: Its format is another one, or its files contradict one another.
            ChecksumMismatch: A file is missing, truncated or changed.
        """
        folder = find_bundle(path)
        manifest = read_manifest(folder, _FILES, "tabular")
        verify_files(folder, manifest)
        try:
            model = json.loads((folder / _MODEL).read_text("utf-8"))
            variables = [_variable(facts) for facts in model["variables"]]
            declared = {variable.name: variable for variable in variables}
            mechanisms = {
                name: _build(config, declared[name], declared)
                for name, config in model["mechanisms"].items()
            }
            spec = GraphSpec.parse(model["graph"])
            scm = StructuralCausalModel(variables, mechanisms, spec.aliases)
            scm.load_state_dict(load_file(folder / _WEIGHTS))
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise IncompatibleBundle(
                f"{folder.name}/{_MODEL}", expected="a model that fits its weights",
                found=" ".join(str(error).split())[:200] or type(error).__name__,
                remedy="Fit the model again with this version of ACIE.",
            ) from None  # fmt: skip
        return cls(
            spec, scm.requires_grad_(False), model["report"],
            {name: tuple(ends) for name, ends in model["ranges"].items()},
            model["training"], manifest["name"], manifest["version"], manifest["digest"],
        )  # fmt: skip

    def _model(self) -> dict[str, Any]:
        return {
            "graph": self.spec.to_json(),
            "variables": [_facts(variable) for variable in self.scm.variables.values()],
            "mechanisms": {name: _config(m) for name, m in self.scm.mechanisms.items()},
            "ranges": self.ranges,
            "report": self.report,
            "training": self.training,
        }


def _facts(variable: Variable) -> dict[str, Any]:
    facts = dict(vars(variable))
    # JSON has no infinity: an open end is null.
    facts["support"] = [end if math.isfinite(end) else None for end in variable.support]
    return facts


def _variable(facts: Mapping[str, Any]) -> Variable:
    low, high = facts["support"]
    support = (-math.inf if low is None else low, math.inf if high is None else high)
    lists = {name: tuple(facts[name]) for name in ("parents", "levels", "categories")}
    return Variable(**{**facts, **lists, "support": support})


def _widths(network: Any) -> list[int]:
    """Widths of the hidden layers of a perceptron."""
    return [layer.out_features for layer in network if hasattr(layer, "out_features")][:-1]


def _config(mechanism: AbstractMechanism) -> dict[str, Any]:
    """What :func:`_build` needs besides the weights."""
    match mechanism:
        case FlowMechanism():
            return {"type": "spline", "bins": mechanism.bins, "bound": mechanism.bound,
                    "hidden": _widths(mechanism.network)}  # fmt: skip
        case LearnedAdditiveMechanism():
            return {"type": "additive", "bins": mechanism.shape.bins,
                    "location": _location_config(mechanism.location)}  # fmt: skip
        case OrdinalMechanism() | CategoricalMechanism():
            network = mechanism.probabilities.network
            return {"type": "discrete", "hidden": [] if network is None else _widths(network)}
    raise ConfigurationError(
        "mechanism", expected="a learned mechanism", found=type(mechanism).__name__
    )


def _location_config(location: KernelLocation | NetworkLocation | MixedLocation) -> dict[str, Any]:
    """What :func:`_build_location` needs besides the weights; a mixture has the keys of both."""
    match location:
        case KernelLocation():
            return {"points": len(location.weights), "warp": location.warp}
        case NetworkLocation():
            return {"hidden": list(location.hidden), "members": location.members}
    return _location_config(location.kernel) | _location_config(location.network)


def _build_location(
    config: Mapping[str, Any], parents: Sequence[Variable]
) -> KernelLocation | NetworkLocation | MixedLocation:
    if "hidden" not in config:
        return KernelLocation(parents, config["points"], config["warp"])
    network = NetworkLocation(parents, config["hidden"], config["members"])
    if "points" not in config:
        return network
    return MixedLocation(KernelLocation(parents, config["points"], config["warp"]), network)


def _build(
    config: Mapping[str, Any], variable: Variable, declared: Mapping[str, Variable]
) -> AbstractMechanism:
    parents: Sequence[Variable] = [declared[parent] for parent in variable.parents]
    match config["type"]:
        case "spline":
            made = FlowMechanism(
                parents, variable.transform, config["bins"], config["hidden"], config["bound"]
            )
        case "additive":
            location = _build_location(config["location"], parents)
            made = LearnedAdditiveMechanism(location, variable.transform, config["bins"])
        case "discrete":
            table = LearnedProbabilities(parents, len(variable.values), config["hidden"])
            if variable.kind == "categorical":
                made = CategoricalMechanism(len(variable.categories), table)
            else:
                made = OrdinalMechanism(variable.values, table)
        case other:
            raise ValueError(f"a mechanism of type {other!r}")
    return made.double()
