"""Graphs made of graphs, and graphs without what they do not need."""

__all__ = ["Stage", "compact", "joined"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx
from onnx import helper, numpy_helper

from acie.errors import ConfigurationError


@dataclass(frozen=True)
class Stage:
    """A graph as a part of a larger one.

    Arguments:
        name: Goes before the names of everything inside.
        model: The graph.
        wires: For its inputs, what they are called outside: ``stage/output`` for an output of an
            earlier stage. Those that are left out are inputs of the whole, of the same name.
    """

    name: str
    model: onnx.ModelProto
    wires: Mapping[str, str] = field(default_factory=dict)


def joined(stages: Sequence[Stage], outputs: Mapping[str, str]) -> onnx.ModelProto:
    """One graph of several.

    Arguments:
        stages: In the order of computing.
        outputs: Names of the outputs of the whole, and which ``stage/output`` each is.
    """
    nodes, weights = [], []
    inputs: dict[str, onnx.ValueInfoProto] = {}
    known: dict[str, onnx.ValueInfoProto] = {}
    final = {inner: name for name, inner in outputs.items()}
    for stage in stages:
        graph = stage.model.graph
        names = {info.name: stage.wires.get(info.name, info.name) for info in graph.input}
        for info in graph.input:
            if names[info.name] not in known and "/" not in names[info.name]:
                inputs.setdefault(names[info.name], _renamed(info, names[info.name]))
        for info in graph.output:
            inner = f"{stage.name}/{info.name}"
            known[inner] = info
            names[info.name] = final.get(inner, inner)
        for outside in stage.wires.values():
            if outside in final:
                names = {k: final[v] if v == outside else v for k, v in names.items()}
        weights.extend(_prefixed(weight, names, stage.name) for weight in graph.initializer)
        nodes.extend(_placed(graph.node, names, stage.name))
    missing = set(outputs.values()) - set(known)
    if missing:
        raise ConfigurationError(
            "outputs", expected=f"outputs of {', '.join(known)}", found=", ".join(sorted(missing))
        )
    results = [_renamed(known[inner], name) for name, inner in outputs.items()]
    graph = helper.make_graph(nodes, "acie", list(inputs.values()), results, weights)
    first = stages[0].model
    model = helper.make_model(graph, opset_imports=first.opset_import, producer_name="acie")
    model.ir_version = first.ir_version
    return model


def _renamed(info: onnx.ValueInfoProto, name: str) -> onnx.ValueInfoProto:
    other = onnx.ValueInfoProto()
    other.CopyFrom(info)
    other.name = name
    return other


def _prefixed(weight: Any, names: dict[str, str], stage: str) -> Any:
    other = type(weight)()
    other.CopyFrom(weight)
    other.name = names.setdefault(weight.name, f"{stage}/{weight.name}")
    return other


def _placed(nodes: Sequence[Any], names: dict[str, str], stage: str) -> list[Any]:
    """Copies of nodes with everything inside renamed; inner graphs see the outer names."""
    found = []
    for node in nodes:
        other = onnx.NodeProto()
        other.CopyFrom(node)
        other.name = f"{stage}/{node.name}"
        for group in (other.input, other.output):
            for place, name in enumerate(group):
                if name:
                    group[place] = names.setdefault(name, f"{stage}/{name}")
        for attribute in other.attribute:
            if attribute.HasField("g"):
                _place_inner(attribute.g, names, stage)
        found.append(other)
    return found


def _place_inner(graph: Any, names: dict[str, str], stage: str) -> None:
    for info in (*graph.input, *graph.output, *graph.initializer):
        info.name = names.setdefault(info.name, f"{stage}/{info.name}")
    placed = _placed(graph.node, names, stage)
    del graph.node[:]
    graph.node.extend(placed)


def compact(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with short names inside, and constants that are equal kept once."""
    other = onnx.ModelProto()
    other.CopyFrom(model)
    graph = other.graph
    kept = {info.name for info in (*graph.input, *graph.output)}
    names: dict[str, str] = {name: name for name in kept}
    weights: dict[tuple, str] = {}
    unique = []
    for weight in graph.initializer:
        key = (weight.data_type, tuple(weight.dims), numpy_helper.to_array(weight).tobytes())
        if key not in weights:
            weights[key] = names[weight.name] = f"w{len(weights)}"
            unique.append(weight)
        names[weight.name] = weights[key]
    for weight in unique:
        weight.name = names[weight.name]
    unique = [weight.SerializeToString() for weight in unique]
    del graph.initializer[:]
    graph.initializer.extend(onnx.TensorProto.FromString(weight) for weight in unique)
    _shorten(graph, names)
    return other


def _shorten(graph: Any, names: dict[str, str]) -> None:
    for info in (*graph.input, *graph.output):
        info.name = names.setdefault(info.name, f"v{len(names)}")
    for node in graph.node:
        node.ClearField("name")
        for group in (node.input, node.output):
            for place, name in enumerate(group):
                if name:
                    group[place] = names.setdefault(name, f"v{len(names)}")
        for attribute in node.attribute:
            if attribute.HasField("g"):
                for weight in attribute.g.initializer:
                    weight.name = names.setdefault(weight.name, f"v{len(names)}")
                _shorten(attribute.g, names)
