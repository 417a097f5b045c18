"""The network part for one galaxy: the engine's, torch alone, and ONNX Runtime from exports."""

__all__ = ["network_stages"]

import importlib.util
from collections.abc import Callable, Iterator

import numpy as np
import torch

from acie.benchmark.config import BenchmarkConfig
from acie.benchmark.dataset import BenchmarkSet
from acie.benchmark.stage import Stage
from acie.engine import CounterfactualEngine
from acie.errors import ConfigurationError
from acie.native import available
from acie.threads import undivided

#: Draws of one galaxy.
_DRAWS = 256
_STAGES = ("network", "network_eager", "network_onnx", "network_int8")


def network_stages(
    engine: CounterfactualEngine, data: BenchmarkSet, config: BenchmarkConfig
) -> Iterator[Stage]:
    """Features of one galaxy to 256 draws and their density, on one thread as in the engine.

    They are left out where ONNX Runtime is not installed and no export is named.

    Raises:
        ConfigurationError: Exports are named and ONNX Runtime is missing.
        IncompatibleBundle: A folder is no export, or one of another model.
    """
    if not set(_STAGES).intersection(config.stages) or not _available(config):
        return
    from acie.export.network.parity import eager_draws, engine_draws

    inputs = _inputs(engine, data, config.seed)
    estimator = engine.bundle.estimator
    eager = _alone(eager_draws(estimator), inputs)
    own = {"network": _alone(engine_draws(estimator), inputs)}
    if available():
        own["network_eager"] = eager
    for name, call in own.items():
        if name in config.stages:
            yield Stage(name, "galaxies", 1, call, counted=eager)
    for folder in _folders(engine, config):
        name, draws = _exported(engine, folder)
        if name in config.stages:
            yield Stage(name, "galaxies", 1, _alone(draws, inputs), counted=eager)


def _alone(draws: Callable, inputs: tuple) -> Callable[[], object]:
    def call() -> object:
        with undivided():
            return draws(*inputs)

    return call


def _available(config: BenchmarkConfig) -> bool:
    if importlib.util.find_spec("onnxruntime") is not None:
        return True
    if config.exported:
        raise ConfigurationError(
            "--exported",
            expected="ONNX Runtime to run it with",
            found="no package onnxruntime",
            remedy="pip install 'acie[export]'.",
        )
    return False


def _inputs(engine: CounterfactualEngine, data: BenchmarkSet, seed: int) -> tuple:
    """Features, redshift and noise of the first galaxy of the set."""
    first = next(data.batches(1))
    with torch.no_grad():
        features = engine.bundle.encoder(first).float().numpy()
    estimator = engine.bundle.estimator
    size = (_DRAWS, 1, estimator.n_spectral + estimator.n_latent)
    noise = np.random.default_rng(seed).standard_normal(size, dtype=np.float32)
    return features, first.redshift.float().reshape(1).numpy(), noise


def _folders(engine: CounterfactualEngine, config: BenchmarkConfig) -> tuple[str, ...]:
    if config.exported or not {"network_onnx", "network_int8"}.intersection(config.stages):
        return config.exported
    from acie.export import ready_export

    return (str(ready_export(config.model)),)


def _exported(engine: CounterfactualEngine, folder: str) -> tuple[str, Callable]:
    from acie.export import ExportedModel, with_onnx

    # Refuses what is no export of this model.
    with_onnx(engine.bundle, folder)
    exported = ExportedModel(folder)
    name = "network_int8" if exported.manifest.get("quantized") else "network_onnx"
    return name, exported.draws
