"""ACIE, the Astronomical Counterfactual Inference Engine.

What would this galaxy's spectrum be, had its state been different?
"""

__version__ = "0.1.0"

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from acie.engine import CounterfactualEngine
    from acie.observation import WAVELENGTH, Observation
    from acie.results import QualityFlag
    from acie.scm import Do, Policy, Replace, Scale, Shift
    from acie.tabular import TabularEngine

__all__ = [
    "WAVELENGTH",
    "Do",
    "Observation",
    "Policy",
    "QualityFlag",
    "Replace",
    "Scale",
    "Shift",
    "load",
]

#: Where names are that are loaded when first used: torch takes seconds, which nobody who asks the
#: command line for help should wait for.
_HOMES = {
    "WAVELENGTH": "observation",
    "Observation": "observation",
    "QualityFlag": "results",
    **dict.fromkeys(("Do", "Policy", "Replace", "Scale", "Shift"), "scm"),
}
#: Modules that need no import of their own.
_MODULES = (
    "errors", "inference", "io", "observation", "physics", "results", "scm", "simulation",
    "tabular", "training", "variables",
)  # fmt: skip


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return importlib.import_module(f"acie.{name}")
    if name in _HOMES:
        found = getattr(importlib.import_module(f"acie.{_HOMES[name]}"), name)
        globals()[name] = found
        return found
    raise AttributeError(f"module 'acie' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_MODULES})


def load(
    name_or_path: str = "galaxy-v1", runtime: str = "torch"
) -> "CounterfactualEngine | TabularEngine":
    """The engine of a trained model.

    Arguments:
        name_or_path: Name of a shipped model, ``latest``, the folder of a bundle, or a registered
            model such as ``models:/acie@production``.
        runtime: What computes the network of a model of spectra: ``torch``, or ``onnx`` for ONNX
            Runtime.

    Returns:
        An engine for spectra, or one for rows of a catalogue where ``acie fit`` made the bundle.
    """
    from acie.errors import ConfigurationError
    from acie.manifest import bundle_kind, find_bundle

    if runtime not in ("torch", "onnx"):
        raise ConfigurationError("runtime", expected="torch or onnx", found=repr(runtime))
    # Found once: an alias may move between two questions.
    folder = find_bundle(name_or_path)
    if bundle_kind(folder) == "tabular":
        from acie.tabular import TabularEngine

        return TabularEngine.load(folder)
    if runtime == "onnx":
        from acie.export import load_engine

        return load_engine(folder)
    from acie.engine import CounterfactualEngine

    return CounterfactualEngine.load(folder)
