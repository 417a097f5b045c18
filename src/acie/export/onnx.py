"""Modules to ONNX files: the dynamo exporter, and files without the exporter's diary."""

__all__ = ["OPSET", "to_onnx"]

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx
import torch
from onnx.inliner import inline_local_functions
from torch import Tensor, nn
from torch.export import Dim

#: Version of the operators: what ONNX Runtime 1.17 and later run.
OPSET = 20


def to_onnx(
    module: nn.Module,
    inputs: Mapping[str, tuple[Tensor, Sequence[str]]],
    outputs: Sequence[str],
    translations: Mapping[Callable, Callable] | None = None,
) -> onnx.ModelProto:
    """The graph of a module.

    Arguments:
        module: Its forward takes the inputs in this order.
        inputs: For each an example, whose sizes of dynamic axes differ and exceed one, and the
            names of its axes; an axis without a name has the size of the example.
        outputs: Their names.
        translations: Operators of torch that the exporter does not know, or knows less exactly.

    Returns:
        A model that names its dynamic axes and holds its weights.
    """
    names = sorted({axis for _, axes in inputs.values() for axis in axes if axis})
    axes = {name: Dim(name, min=1) for name in names}
    shapes = tuple(
        {place: axes[axis] for place, axis in enumerate(own) if axis} for _, own in inputs.values()
    )
    # The exporter reports on packages that are not installed.
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module.eval(),
                tuple(example for example, _ in inputs.values()),
                dynamo=True,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=shapes,
                custom_translation_table=dict(translations or {}),
                verbose=False,
            )
    finally:
        logger.setLevel(level)
    model = program.model_proto
    # Functions are parts of a file that joined graphs do not have.
    return _bare(inline_local_functions(model) if model.functions else model)


def _bare(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without stack traces and shapes in between, which are a sixth of a file."""
    model.producer_name, model.doc_string = "acie", ""
    graphs: list[Any] = [model.graph, *model.functions]
    del model.metadata_props[:]
    for graph in graphs:
        del graph.metadata_props[:]
        del graph.value_info[:]
        graph.doc_string = ""
        for node in graph.node:
            node.doc_string = ""
            del node.metadata_props[:]
            graphs.extend(attribute.g for attribute in node.attribute if attribute.HasField("g"))
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    return model
