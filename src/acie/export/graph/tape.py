"""Graphs written node by node, for what the exporter cannot trace: loops over galaxies and draws.

``tape.MatMul(a, b)`` adds a node and gives the name of its output. Numbers and arrays become
constants of the graph, which inner graphs see as well.
"""

__all__ = ["OPSET", "Tape"]

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

#: Version of the operators: what ONNX Runtime 1.17 and later run.
OPSET = 20
#: Name, type and names of axes (or their sizes) of an input or output.
Described = Mapping[str, tuple[type, Sequence[str | int]]]
#: What ONNX Runtime 1.17 and later read.
_IR_VERSION = 9


class Tape:
    """Nodes in the order of computing.

    Arguments:
        outer: The tape of the graph around this one.
    """

    def __init__(self, outer: "Tape | None" = None) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._root: Tape = self if outer is None else outer._root
        self._constants: dict[tuple, onnx.TensorProto] = {}
        self._known: dict[tuple, Any] = {}
        self._count = 0

    def __getattr__(self, kind: str) -> Callable[..., Any]:
        if kind.startswith("_"):
            raise AttributeError(kind)

        def add(*inputs: Any, outputs: int = 1, **attributes: Any) -> Any:
            names = [self.constant(value) for value in inputs]
            # The same of the same is computed once.
            key = (kind, *names, outputs, *sorted((n, str(v)) for n, v in attributes.items()))
            if key not in self._known:
                made = [self._name() for _ in range(outputs)]
                self._nodes.append(helper.make_node(kind, names, made, **attributes))
                self._known[key] = made[0] if outputs == 1 else made
            return self._known[key]

        return add

    def constant(self, value: Any) -> str:
        """The name of a value; names stay what they are."""
        if isinstance(value, str):
            return value
        array = np.asarray(value)
        if array.dtype == np.float64 and not isinstance(value, np.ndarray | np.generic):
            # Numbers of Python are of the precision of the spectra.
            array = array.astype(np.float32)
        constants = self._root._constants
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in constants:
            name = f"c{len(constants)}"
            constants[key] = numpy_helper.from_array(np.array(array, order="C"), name)
        return constants[key].name

    def weight(self, name: str, value: np.ndarray) -> str:
        """A constant of a given name, which others may put other weights in place of."""
        tensor = numpy_helper.from_array(np.array(value, order="C"), name)
        return self._root._constants.setdefault((name,), tensor).name

    def part(self, value: str, start: Any, stop: Any, axis: int) -> str:
        """``value[start:stop]`` along an axis; the ends are numbers or names of scalars."""
        ends = [
            self.Reshape(end, np.array([1])) if isinstance(end, str) else np.array([end])
            for end in (start, stop)
        ]
        return self.Slice(value, *ends, np.array([axis]))

    def shape(self, *sizes: Any) -> str | np.ndarray:
        """A shape for Reshape and Expand of numbers and names of scalars."""
        if all(isinstance(size, int) for size in sizes):
            return np.array(sizes)
        parts = [
            self.Reshape(size, np.array([1])) if isinstance(size, str) else np.array([size])
            for size in sizes
        ]
        return self.Concat(*parts, axis=0)

    def count(self, stop: Any) -> str:
        """The integers from 0 up to a scalar."""
        return self.Range(np.int64(0), stop, np.int64(1))

    def size(self, value: str, axis: int) -> str:
        """Size of an axis, a scalar."""
        shape = self.Shape(value, start=axis, end=axis + 1)
        return self.Squeeze(shape)

    def loop(
        self,
        trips: str,
        body: Callable[..., tuple[Sequence[str], Sequence[str]]],
        carried: Sequence[tuple[str, type]],
        stacked: Sequence[type],
    ) -> list[str]:
        """Repeat; what ``body`` makes is carried to the next turn, or stacked over all turns.

        Arguments:
            trips: How often, a scalar.
            body: Takes an inner tape, the number of the turn and what is carried, and gives what
                to carry on and what to stack.
            carried: First values, and their types.
            stacked: Types of what is stacked.

        Returns:
            What was carried at last, and then the stacks.
        """
        inner = Tape(self)
        turn, go = inner._name(), inner._name()
        names = [inner._name() for _ in carried]
        moved, kept = body(inner, turn, *names)
        moved = [inner.Identity(name) for name in moved]
        kept = [inner.Identity(name) for name in kept]
        on = inner.Identity(go)
        types = [kind for _, kind in carried]
        inputs = [_info(turn, np.int64, []), _info(go, np.bool_, [])]
        inputs += [_info(name, kind, None) for name, kind in zip(names, types, strict=True)]
        outputs = [_info(on, np.bool_, [])]
        outputs += [_info(name, kind, None) for name, kind in zip(moved, types, strict=True)]
        outputs += [_info(name, kind, None) for name, kind in zip(kept, stacked, strict=True)]
        graph = helper.make_graph(inner._nodes, inner._name(), inputs, outputs)
        first = [self.constant(value) for value, _ in carried]
        made = [self._name() for _ in (*carried, *stacked)]
        node = helper.make_node("Loop", [self.constant(trips), "", *first], made, body=graph)
        self._nodes.append(node)
        return made

    def model(self, inputs: Described, outputs: Mapping[str, tuple[str, type, Sequence]]) -> Any:
        """The graph as a model.

        Arguments:
            inputs: Type and axes by name.
            outputs: By name: the name on the tape, type and axes.
        """
        for name, (own, *_) in outputs.items():
            self._nodes.append(helper.make_node("Identity", [own], [name]))
        nodes, wanted = _needed(self._nodes, outputs)
        graph = helper.make_graph(
            nodes,
            "acie",
            [_info(name, *described) for name, described in inputs.items()],
            [_info(name, *described) for name, (_, *described) in outputs.items()],
            [value for value in self._constants.values() if value.name in wanted],
        )
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, producer_name="acie")
        model.ir_version = _IR_VERSION
        return model

    def _name(self) -> str:
        self._root._count += 1
        return f"t{self._root._count}"


def _needed(
    nodes: Sequence[onnx.NodeProto], outputs: Iterable[str]
) -> tuple[list[onnx.NodeProto], set[str]]:
    """Nodes that outputs depend on, and the names of all that these take."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(_taken(node))
    return kept[::-1], wanted


def _taken(node: onnx.NodeProto) -> set[str]:
    found = set(node.input)
    for attribute in node.attribute:
        for inner in attribute.g.node:
            found |= _taken(inner)
    return found


def _info(name: str, kind: type, axes: Sequence[str | int] | None) -> onnx.ValueInfoProto:
    element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    return helper.make_tensor_value_info(name, element, axes)
