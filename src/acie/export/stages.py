"""The stages of an answer as graphs: each from the dynamo exporter, joined where layers repeat."""

__all__ = ["latent_graph", "spectral_graph", "weight_of"]

import onnx
import torch

from acie.export.graphs import Stage, gather, joined, reweighted
from acie.export.network import FlowSampling, LatentSampling
from acie.export.onnx import to_onnx
from acie.inference import NeuralPosteriorEstimator

#: Sizes of examples: larger than one and unlike all others, so that none is taken for another.
_SAMPLE, _BATCH = 5, 3


def spectral_graph(estimator: NeuralPosteriorEstimator) -> onnx.ModelProto:
    """``features`` and ``noise`` to ``draws`` and ``log_det``, with the samples first."""
    flow = FlowSampling(estimator.spectral)
    features = torch.randn(_BATCH, estimator.config["n_features"])
    noise = torch.randn(_SAMPLE, _BATCH, flow.dim)
    with torch.no_grad():
        embedded, matrix, centre, log_det = flow.context(features)
        value, log_dets = flow.start(noise, log_det)
    rows = {"value": (value, ("", "batch", "sample")), "log_det": (log_dets, ("batch", "sample"))}
    of_context = {"matrix": (matrix, ("batch", "", "")), "centre": (centre, ("batch", ""))}
    moved = ["value_out", "log_det_out"]
    context = to_onnx(
        flow.context,
        {"features": (features, ("batch", ""))},
        ["embedded", "matrix", "centre", "log_det"],
    )
    start = to_onnx(
        flow.start,
        {"noise": (noise, ("sample", "batch", "")), "log_det": (log_det, ("batch",))},
        moved,
    )
    layer = to_onnx(flow.layers[0], {**rows, "embedded": (embedded, ("batch", ""))}, moved)
    place = to_onnx(flow.place, {**rows, **of_context}, ["draws", "log_det_out"])
    stages = [
        Stage("context", context),
        Stage("start", start, {"log_det": "context/log_det"}),
    ]
    last = "start"
    for index, module in enumerate(flow.layers):
        take = gather(layer, "value", getattr(flow, f"take{index}").numpy())
        weights = {name: part.numpy() for name, part in module.state_dict().items()}
        wires = {
            "value": f"take{index}/taken",
            "log_det": f"{last}/log_det_out",
            "embedded": "context/embedded",
        }
        stages.append(Stage(f"take{index}", take, {"value": f"{last}/value_out"}))
        last = f"layer{index}"
        stages.append(Stage(last, reweighted(layer, weights), wires))
    wires = {name: f"{last}/{name}_out" for name in rows}
    wires |= {name: f"context/{name}" for name in of_context}
    stages.append(Stage("place", place, wires))
    return joined(stages, {"draws": "place/draws", "log_det": "place/log_det_out"})


def latent_graph(estimator: NeuralPosteriorEstimator) -> onnx.ModelProto:
    """``x_s``, ``redshift`` and ``noise`` to ``x_l`` and ``log_q``, with the samples first."""
    axes = ("sample", "batch", "")
    return to_onnx(
        LatentSampling(estimator),
        {
            "x_s": (torch.randn(_SAMPLE, _BATCH, estimator.n_spectral), axes),
            "redshift": (torch.rand(_BATCH), ("batch",)),
            "noise": (torch.randn(_SAMPLE, _BATCH, estimator.n_latent), axes),
        },
        ["x_l", "log_q"],
    )


def weight_of(stage: str, layer: str) -> str:
    """What a weight is called in a graph of this module.

    Arguments:
        stage: ``spectral`` or ``latent``.
        layer: Name of a layer in :class:`FlowSampling` or :class:`LatentSampling`.
    """
    parts = layer.split(".")
    if stage == "spectral" and parts[0] == "layers":
        return f"layer{parts[1]}/{'.'.join(parts[2:])}.weight"
    if stage == "spectral":
        return f"{parts[0]}/{'.'.join(parts[1:])}.weight"
    return f"{layer}.weight"
