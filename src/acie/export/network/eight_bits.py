"""Whether 8 bits pay: calibration of the rounding, speed, size, and the limits."""

__all__ = ["QUANTISED", "calibrated", "speedups", "worth"]

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from acie.engine import CounterfactualEngine
from acie.errors import ParityError
from acie.export.network.parity import (
    Draws,
    ParitySample,
    Tolerance,
    eager_draws,
    engine_draws,
)  # fmt: skip
from acie.export.network.quantise import QuantisedLayer, quantised
from acie.export.network.sampling import FlowSampling, LatentSampling
from acie.export.runner import ExportedModel
from acie.inference import NeuralPosteriorEstimator
from acie.native import available
from acie.threads import undivided

#: Medians and coverage decide; single draws may move by more.
QUANTISED = Tolerance(draw=math.inf, log_q=math.inf, median=0.1, coverage=0.01, rank=math.inf)
#: Least gains in size, over single precision, and in time for one galaxy, over torch.
_SMALLER, _FASTER = 3.5, 2.0
#: Draws of a calibration galaxy; draws and pairs of the timing.
_DRAWS, _TIMED, _PAIRS = 24, 256, 60


@torch.no_grad()
def calibrated(
    engine: CounterfactualEngine, sample: ParitySample
) -> dict[str, dict[str, QuantisedLayer]]:
    """Rounded layers of both graphs, by the name of the weight that each replaces.

    Arguments:
        engine: Of the model.
        sample: Galaxies on which roundings are made up for.
    """
    estimator = engine.bundle.estimator
    generator = torch.Generator().manual_seed(0)
    shape = (_DRAWS, len(sample.features))
    noise = torch.randn(*shape, estimator.n_spectral, generator=generator)
    more = torch.randn(*shape, estimator.n_latent, generator=generator)
    spectral, latent = FlowSampling(estimator.spectral), LatentSampling(estimator)
    redshift = sample.observation.redshift.float()
    x_s, _ = spectral(sample.features, noise)
    parts = {
        "spectral": (spectral, lambda: spectral(sample.features, noise)[0]),
        "latent": (latent, lambda: latent(x_s, redshift, more)[0]),
    }
    return {
        stage: {f"{name}.weight": layer for name, layer in quantised(*part).items()}
        for stage, part in parts.items()
    }


def speedups(
    estimator: NeuralPosteriorEstimator, exported: ExportedModel, sample: ParitySample
) -> dict[str, float]:
    """Times for the draws of one galaxy over that of ONNX Runtime, medians of pairs.

    Returns:
        Those of ``torch``, and of ``kernels`` where there are compiled ones.
    """
    others = {"torch": eager_draws(estimator)}
    if available():
        others["kernels"] = engine_draws(estimator)
    return {name: _speedup(draws, exported, sample) for name, draws in others.items()}


def _speedup(other: Draws, exported: ExportedModel, sample: ParitySample) -> float:
    n = sum(len(exported.manifest[kind]) for kind in ("spectral", "latent"))
    noise = np.random.default_rng(0).standard_normal((_TIMED, 1, n), dtype=np.float32)
    features = sample.features[:1].numpy()
    redshift = sample.observation.redshift[:1].float().numpy()
    ratios = []
    with undivided():
        for _ in range(_PAIRS):
            times = []
            for draws in (other, exported.draws):
                start = time.perf_counter()
                draws(features, redshift, noise)
                times.append(time.perf_counter() - start)
            ratios.append(times[0] / times[1])
    return float(np.median(ratios))


def worth(
    smaller: float,
    faster: Mapping[str, float],
    layers: Mapping[str, Mapping[str, QuantisedLayer]],
) -> dict[str, Any]:
    """What the manifest says of 8 bits.

    Arguments:
        smaller: Size in single precision over that of these.
        faster: From :func:`speedups`.
        layers: From :func:`calibrated`.

    Raises:
        ParityError: They save too little.
    """
    if smaller < _SMALLER or faster["torch"] < _FASTER:
        raise ParityError(
            "--quantize int8",
            expected=f"{_SMALLER:g} times smaller and {_FASTER:g} times faster than torch",
            found=f"{smaller:.2f} and {faster['torch']:.2f} times",
            remedy="Nothing was written. Export without --quantize.",
        )
    return {
        "weights": "int8",
        "smaller": smaller,
        "faster": faster["torch"],
        **({"faster_than_kernels": faster["kernels"]} if "kernels" in faster else {}),
        "layers": {
            f"{stage}: {name.removesuffix('.weight')}": layer.facts()
            for stage, own in layers.items()
            for name, layer in own.items()
        },
    }
