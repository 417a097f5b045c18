"""The two networks of an answer as graphs."""

__all__ = ["latent_graph", "spectral_graph"]

import onnx
import torch

from acie.export.graph.recorder import record
from acie.export.network.sampling import FlowSampling, LatentSampling
from acie.inference import NeuralPosteriorEstimator

#: Sizes of examples, see :func:`acie.export.graph.recorder.record`.
_SAMPLE, _BATCH = 29, 31


def spectral_graph(estimator: NeuralPosteriorEstimator) -> onnx.ModelProto:
    """``features`` and ``noise`` to ``draws`` and ``log_det``, with the samples first."""
    flow = FlowSampling(estimator.spectral)
    inputs = {
        "features": (torch.randn(_BATCH, estimator.config["n_features"]), ("batch", "")),
        "noise": (torch.randn(_SAMPLE, _BATCH, flow.dim), ("sample", "batch", "")),
    }
    return record(flow.eval(), inputs, ["draws", "log_det"])


def latent_graph(estimator: NeuralPosteriorEstimator) -> onnx.ModelProto:
    """``x_s``, ``redshift`` and ``noise`` to ``x_l`` and ``log_q``, with the samples first."""
    axes = ("sample", "batch", "")
    inputs = {
        "x_s": (torch.randn(_SAMPLE, _BATCH, estimator.n_spectral), axes),
        "redshift": (torch.rand(_BATCH), ("batch",)),
        "noise": (torch.randn(_SAMPLE, _BATCH, estimator.n_latent), axes),
    }
    return record(LatentSampling(estimator).eval(), inputs, ["x_l", "log_q"])
