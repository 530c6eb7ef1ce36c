"""An FP32 graph rewritten to FP16 with every type written out, as a strongly typed compiler wants it.

Inputs and outputs keep their types. `Rules` says which nodes stay in FP32; between the two kinds a
Cast is put once for each tensor. Which inputs of an operator may change their type at all is read
from ONNX's own schemas. Weights are rounded to FP16 where FP16 nodes use them; nothing is clamped.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, defs, helper, numpy_helper

from affectstream.engines.errors import EngineError
from affectstream.engines.fp16.rules import MOVERS, POLICY, Rules
from affectstream.engines.spec import Array

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
_NO_PRECISION = frozenset({"Cast", "Shape", "Size"})
"""Take a tensor of either precision and give what they always give."""


class Half:
    """One conversion. Read `model` afterwards: the FP16 graph, checked."""

    def __init__(self, model: ModelProto, name: str) -> None:
        """`model` is taken over and changed; `name` is what errors call it.

        Raises `EngineError` for a graph with nested graphs, operators unknown to ONNX or types that
        do not fit, and where the result would not be a valid graph with the same inputs and outputs.
        """
        self.model = model
        self._name = name
        self._graph = model.graph
        self._opsets = {_domain(opset.domain): opset.version for opset in model.opset_import}
        self._types = self._infer()
        self._check_nodes()
        self._constants = dict(self._read_constants())
        self._held: dict[tuple[str, int], str] = {}
        self._half = {name for name, kind in self._types.items() if kind == HALF}
        self._nodes: list[NodeProto] = []
        before = _signature(model)
        self._rewrite()
        self._finish()
        if _signature(model) != before:
            raise EngineError(f"{name}: its FP16 graph has other inputs or outputs: report this")

    def _infer(self) -> dict[str, int]:
        """Element type of every tensor by name."""
        try:
            inferred = onnx.shape_inference.infer_shapes(
                self.model, strict_mode=True, data_prop=True
            )
        except Exception as error:  # the library raises several kinds, RuntimeError among them
            raise EngineError(f"{self._name}: its types cannot be inferred: {error}") from error
        graph = inferred.graph
        types = {i.name: i.data_type for i in graph.initializer}
        for value in (*graph.input, *graph.value_info, *graph.output):
            types[value.name] = value.type.tensor_type.elem_type
        return types

    def _check_nodes(self) -> None:
        for node in self._graph.node:
            what = f"{self._name}: node {node.name or node.output[0]!r} ({node.op_type})"
            if any(a.type in (a.GRAPH, a.GRAPHS) for a in node.attribute):
                raise EngineError(
                    f"{what} holds a graph of its own, which has no FP16 form here: export the "
                    "network without control flow (fixed shapes help), or run it in FP32"
                )
            if not defs.has(node.op_type, _domain(node.domain)):
                raise EngineError(
                    f"{what} is no operator of ONNX {onnx.__version__} (domain {node.domain!r}): "
                    "export the network with standard operators, or run it in FP32"
                )

    def _read_constants(self) -> Iterator[tuple[str, Array]]:
        for weight in self._graph.initializer:
            if weight.data_type == FLOAT:
                yield weight.name, numpy_helper.to_array(weight)
        for node in self._graph.node:
            if node.op_type == "Constant" and self._types[node.output[0]] == FLOAT:
                value = helper.get_attribute_value(node.attribute[0])
                tensor = isinstance(value, TensorProto)
                array = numpy_helper.to_array(value) if tensor else np.asarray(value, np.float32)
                yield node.output[0], array

    def _rewrite(self) -> None:
        outputs = [output.name for output in self._graph.output]
        rules = Rules(self._graph.node, self._constants, outputs)
        for index, node in enumerate(self._graph.node):
            changes = self._may_change(node)
            if node.op_type in _NO_PRECISION or node.op_type == "Constant":
                self._nodes.append(node)
            elif changes and index not in rules.kept and self._goes_half(rules, node):
                self._to_half(node, changes)
            else:
                for place, name in enumerate(node.input):
                    if self._types.get(name) == FLOAT:
                        node.input[place] = self._as(name, FLOAT)
                self._nodes.append(node)

    def _goes_half(self, rules: Rules, node: NodeProto) -> bool:
        if rules.is_layer(node):
            return True
        fed = [
            name in self._half
            for name in node.input
            if name not in self._constants and self._types.get(name) == FLOAT
        ]
        return all(fed) and bool(fed) if node.op_type in MOVERS else any(fed)

    def _to_half(self, node: NodeProto, changes: dict[int, str]) -> None:
        for place in changes:
            node.input[place] = self._as(node.input[place], HALF)
        variables = set(changes.values())
        schema = self._schema(node)
        casts = []
        for place, name in enumerate(node.output):
            formal = schema.outputs[min(place, len(schema.outputs) - 1)]
            if self._types.get(name) != FLOAT or formal.type_str not in variables:
                continue
            if name in {output.name for output in self._graph.output}:
                node.output[place] = self._held[name, HALF] = f"{name}/half"
                casts.append(_cast(node.output[place], name, FLOAT))
            else:
                self._half.add(name)
        self._nodes += [node, *casts]

    def _as(self, name: str, kind: int) -> str:
        """The name under which `name` can be had as `kind`; a Cast or a constant is added once."""
        if kind == (HALF if name in self._half else FLOAT):
            return name
        if (name, kind) not in self._held:
            held = self._held[name, kind] = f"{name}/{'half' if kind == HALF else 'float'}"
            if name in self._constants:
                rounded = np.asarray(self._constants[name], np.float16)
                self._graph.initializer.append(numpy_helper.from_array(rounded, held))
            else:
                self._nodes.append(_cast(name, held, kind))
        return self._held[name, kind]

    def _may_change(self, node: NodeProto) -> dict[int, str]:
        """FP32 inputs that the operator's schema lets be FP16, by place, with their type variable."""
        schema = self._schema(node)
        allowed = {
            constraint.type_param_str
            for constraint in schema.type_constraints
            if "tensor(float16)" in constraint.allowed_type_strs
        }
        found = {}
        for place, name in enumerate(node.input):
            variable = schema.inputs[min(place, len(schema.inputs) - 1)].type_str
            if self._types.get(name) == FLOAT and variable in allowed:
                found[place] = variable
        return found

    def _schema(self, node: NodeProto) -> defs.OpSchema:
        domain = _domain(node.domain)
        return defs.get_schema(node.op_type, self._opsets[domain], domain)

    def _finish(self) -> None:
        graph = self._graph
        used = {name for node in self._nodes for name in node.input}
        used |= {output.name for output in graph.output}
        kept = [n for n in self._nodes if n.op_type != "Constant" or n.output[0] in used]
        weights = [weight for weight in graph.initializer if weight.name in used]
        for field, content in (
            (graph.node, kept),
            (graph.initializer, weights),
            (graph.value_info, []),
        ):
            copies = [type(item).FromString(item.SerializeToString()) for item in content]
            del field[:]
            field.extend(copies)
        helper.set_model_props(
            self.model,
            {
                **{prop.key: prop.value for prop in self.model.metadata_props},
                "affectstream.half": POLICY,
            },
        )
        try:
            onnx.checker.check_model(self.model, full_check=True)
            onnx.shape_inference.infer_shapes(self.model, strict_mode=True, data_prop=True)
        except Exception as error:
            raise EngineError(f"{self._name}: its FP16 graph is not valid: {error}") from error


def is_fp16(model: ModelProto) -> bool:
    """Whether anything in the graph is FP16 already: its author chose the precision."""
    return any(w.data_type == HALF for w in model.graph.initializer) or any(
        attribute.name == "to" and attribute.i == HALF
        for node in model.graph.node
        for attribute in node.attribute
    )


def _domain(name: str) -> str:
    """ONNX's own operators go by two names."""
    return "" if name == "ai.onnx" else name


def _cast(source: str, target: str, kind: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], name=target + "/cast", to=kind)


def _signature(model: ModelProto) -> list[tuple[str, bytes]]:
    values = (*model.graph.input, *model.graph.output)
    return [(value.name, value.type.SerializeToString()) for value in values]
