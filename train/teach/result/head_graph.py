"""The graph of a taught head: the old one, copies of it that see one modality each, and what is added.

    logits = old logits + T(M) sum over present m of (g_m logits_m + E_m V_m + c_m)

The nodes are ordinary ONNX operators and copies of the old ones, so it runs wherever the old head ran. The
copies share their weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from affectstream.engines.errors import BundleError
from affectstream.engines.labels import MODALITIES, Modality
from affectstream.train.teach.data.hops import Array
from affectstream.train.teach.fit.correction import Correction

LEAST_OPSET = 13
"""From this on axes are inputs of the operators that are used here."""


def write_taught_head(
    head: Path,
    correction: Correction,
    temperatures: Mapping[str, float],
    pooling: Mapping[Modality, NDArray[np.float32]],
    output: Path,
) -> None:
    """Write the graph of `head` with a `correction` added.

    `temperatures` are the new ones by set of modalities (all sets), and `pooling` the weights (T,) of the
    steps of each modality. Raises `BundleError` for a graph that is too old, or has branches.
    """
    model = onnx.load(str(head))
    opset = {each.domain: each.version for each in model.opset_import}.get("", 0)
    if opset < LEAST_OPSET or any(
        a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
        for node in model.graph.node
        for a in node.attribute
    ):
        raise BundleError(
            f"{head} has opset {opset} or branches: export the bundle again with this version to teach it"
        )
    graph = _Graph(model.graph, correction, pooling)
    graph.add(temperatures)
    made = helper.make_graph(
        graph.nodes,
        "taught",
        list(model.graph.input),
        graph.outputs(len(correction.bias)),
        graph.constants,
    )
    written = helper.make_model(made, opset_imports=model.opset_import, ir_version=model.ir_version)
    onnx.checker.check_model(written, full_check=True)
    onnx.save(written, str(output))


@dataclass(slots=True)
class _Graph:
    old: onnx.GraphProto
    correction: Correction
    pooling: Mapping[Modality, NDArray[np.float32]]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def add(self, temperatures: Mapping[str, float]) -> None:
        for tensor in self.old.initializer:
            copied = onnx.TensorProto()
            copied.CopyFrom(tensor)
            copied.name = f"old/{tensor.name}"
            self.constants.append(copied)
        self._copy("old", {}, keep=[o.name for o in self.old.output if o.name != "logits"])
        added = [self._part(m) for m in self._modalities()]
        self.constant("taught/one", np.array([1], np.int64))
        weights = np.array([2.0**n for n in range(len(added))], np.float32)[:, None]
        self.constant("taught/binary", weights)
        self.constant("taught/temperatures", self._table(temperatures))
        self.node(
            "Concat", [f"{m}/taught/present" for m in self._modalities()], "taught/mask", axis=1
        )
        self.node("MatMul", ["taught/mask", "taught/binary"], "taught/number")
        self.node("Cast", ["taught/number"], "taught/index", to=TensorProto.INT64)
        self.node("Gather", ["taught/temperatures", "taught/index"], "taught/temperature", axis=0)
        self.node("Sum", added, "taught/scores")
        self.node("Mul", ["taught/scores", "taught/temperature"], "taught/added")
        self.node("Add", [self._widened("old/logits", "taught/old"), "taught/added"], "logits")

    def outputs(self, labels: int) -> list[onnx.ValueInfoProto]:
        """Those of the old head, with as many logits as there are labels now."""
        return [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", labels])
            if value.name == "logits"
            else value
            for value in self.old.output
        ]

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))

    def constant(self, name: str, value: NDArray[np.generic]) -> None:
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))

    def _modalities(self) -> list[Modality]:
        names = {value.name for value in self.old.input}
        return [m for m in MODALITIES if m in names]

    def _table(self, temperatures: Mapping[str, float]) -> NDArray[np.float32]:
        """(2^M,) by the set's number, in which modality n has the value 2^n; 0 for nothing."""
        order = self._modalities()
        table = np.zeros(2 ** len(order), np.float32)
        for number in range(1, len(table)):
            members = [m for n, m in enumerate(order) if number >> n & 1]
            table[number] = temperatures["+".join(members)]
        return table

    def _part(self, m: Modality) -> str:
        """What one modality adds, zeros where it is absent: the name of a value (N, C)."""
        at, found = f"{m}/taught", self.correction
        self.constant(f"{at}/steps", np.array([1], np.int64))
        self.constant(f"{at}/zero", np.array(0.0, np.float32))
        self.constant(f"{at}/unit", np.array(1.0, np.float32))
        self.node("Cast", [f"{m}_mask"], f"{at}/mask", to=TensorProto.FLOAT)
        self.node("ReduceSum", [f"{at}/mask", f"{at}/steps"], f"{at}/count", keepdims=1)
        self.node("Clip", [f"{at}/count", f"{at}/zero", f"{at}/unit"], f"{at}/present")
        offset = found.offset.get(m, np.zeros_like(found.bias))
        self.constant(f"{at}/offset", offset.astype(np.float32)[None])
        terms = [f"{at}/offset"]
        if found.gain.get(m):
            terms.append(self._alone(m, found.gain[m]))
        if m in found.matrix:
            terms.append(self._embedding(m, found.matrix[m]))
        self.node("Sum", terms, f"{at}/terms")
        self.node("Mul", [f"{at}/terms", f"{at}/present"], f"{at}/added")
        return f"{at}/added"

    def _alone(self, m: Modality, gain: float) -> str:
        """``g_m logits_m``: a copy of the old head with the masks of the other modalities cleared."""
        at = f"{m}/alone"
        hidden = {}
        for other in self._modalities():
            if other != m:
                hidden[f"{other}_mask"] = f"{at}/no_{other}"
                self.constant(f"{at}/never_{other}", np.array(False))
                self.node("And", [f"{other}_mask", f"{at}/never_{other}"], f"{at}/no_{other}")
        self._copy(at, hidden, keep=())
        self.constant(f"{at}/gain", np.array(gain, np.float32))
        self.node("Mul", [f"{at}/logits", f"{at}/gain"], f"{at}/gained")
        return self._widened(f"{at}/gained", f"{at}/wide")

    def _embedding(self, m: Modality, matrix: Array) -> str:
        """``E_m V_m`` with the pooled embedding."""
        at = f"{m}/embedding"
        self.constant(f"{at}/weights", self.pooling[m][None].astype(np.float32))
        self.constant(f"{at}/last", np.array([2], np.int64))
        self.constant(f"{at}/steps", np.array([1], np.int64))
        self.constant(f"{at}/least", np.array(1e-6, np.float32))
        self.constant(f"{at}/matrix", matrix.astype(np.float32))
        self.node("Mul", [f"{m}/taught/mask", f"{at}/weights"], f"{at}/weighed")
        self.node("Unsqueeze", [f"{at}/weighed", f"{at}/last"], f"{at}/column")
        self.node("Mul", [m, f"{at}/column"], f"{at}/frames")
        self.node("ReduceSum", [f"{at}/frames", f"{at}/steps"], f"{at}/sum", keepdims=0)
        self.node("ReduceSum", [f"{at}/weighed", f"{at}/steps"], f"{at}/total", keepdims=1)
        self.node("Max", [f"{at}/total", f"{at}/least"], f"{at}/divisor")
        self.node("Div", [f"{at}/sum", f"{at}/divisor"], f"{at}/mean")
        self.node("MatMul", [f"{at}/mean", f"{at}/matrix"], f"{at}/added")
        return f"{at}/added"

    def _widened(self, name: str, output: str) -> str:
        """Logits (N, C) with zeros for new labels added."""
        old = self.old_labels()
        new = len(self.correction.bias) - old
        if not new:
            return name
        self.constant(f"{output}/zeros", np.zeros((old, new), np.float32))
        self.node("MatMul", [name, f"{output}/zeros"], f"{output}/nothing")
        self.node("Concat", [name, f"{output}/nothing"], output, axis=1)
        return output

    def old_labels(self) -> int:
        """The number of labels that the old head knows."""
        logits = next(value for value in self.old.output if value.name == "logits")
        return int(logits.type.tensor_type.shape.dim[1].dim_value)

    def _copy(self, prefix: str, inputs: Mapping[str, str], keep: Sequence[str]) -> None:
        """The nodes of the old head, whose values are called ``prefix/...``, but those in `keep`."""
        weights = {tensor.name for tensor in self.old.initializer}
        given = {value.name for value in self.old.input}

        def renamed(name: str) -> str:
            if not name or name in keep:
                return name
            if name in weights:
                return f"old/{name}"
            return inputs.get(name, name) if name in given else f"{prefix}/{name}"

        for node in self.old.node:
            copied = onnx.NodeProto()
            copied.CopyFrom(node)
            copied.name = f"{prefix}/{node.name}" if node.name else ""
            del copied.input[:], copied.output[:]
            copied.input.extend(map(renamed, node.input))
            copied.output.extend(map(renamed, node.output))
            self.nodes.append(copied)
