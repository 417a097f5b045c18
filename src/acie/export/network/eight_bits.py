"""Whether 8 bits pay: calibration of the rounding, speed, size, and the limits."""

__all__ = ["QUANTISED", "calibrated", "speedup", "worth"]

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from acie.engine import CounterfactualEngine
from acie.errors import ParityError
from acie.export.network.parity import ParitySample, Tolerance, eager_draws
from acie.export.network.quantise import QuantisedLayer, quantised
from acie.export.network.sampling import FlowSampling, LatentSampling
from acie.export.runner import ExportedModel
from acie.inference import NeuralPosteriorEstimator
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


def speedup(
    estimator: NeuralPosteriorEstimator, exported: ExportedModel, sample: ParitySample
) -> float:
    """Time of torch over that of ONNX Runtime for the draws of one galaxy, median of pairs."""
    n = estimator.n_spectral + estimator.n_latent
    noise = np.random.default_rng(0).standard_normal((_TIMED, 1, n), dtype=np.float32)
    features = sample.features[:1].numpy()
    redshift = sample.observation.redshift[:1].float().numpy()
    eager, ratios = eager_draws(estimator), []
    with undivided():
        for _ in range(_PAIRS):
            times = []
            for draws in (eager, exported.draws):
                start = time.perf_counter()
                draws(features, redshift, noise)
                times.append(time.perf_counter() - start)
            ratios.append(times[0] / times[1])
    return float(np.median(ratios))


def worth(
    smaller: float, faster: float, layers: Mapping[str, Mapping[str, QuantisedLayer]]
) -> dict[str, Any]:
    """What the manifest says of 8 bits.

    Raises:
        ParityError: They save too little.
    """
    if smaller < _SMALLER or faster < _FASTER:
        raise ParityError(
            "--quantize int8",
            expected=f"{_SMALLER:g} times smaller and {_FASTER:g} times faster than torch",
            found=f"{smaller:.2f} and {faster:.2f} times",
            remedy="Nothing was written. Export without --quantize.",
        )
    return {
        "weights": "int8",
        "smaller": smaller,
        "faster": faster,
        "layers": {
            f"{stage}: {name.removesuffix('.weight')}": layer.facts()
            for stage, own in layers.items()
            for name, layer in own.items()
        },
    }
