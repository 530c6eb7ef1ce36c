"""Rewrites an FP32 graph to FP16 with explicit types, as a strongly typed compiler needs it.

Inputs and outputs keep their types. `Fp32Rules` says which nodes stay in FP32. A tensor that crosses between
FP32 and FP16 nodes is cast once. ONNX's operator schemas say which inputs of an operator may be FP16. Weights
that FP16 nodes use are rounded to FP16; no value is clamped.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, defs, helper, numpy_helper
from onnx.inliner import inline_local_functions

from affectstream.engines.errors import EngineError
from affectstream.engines.fp16.rules import MOVERS, RULES_VERSION, Fp32Rules
from affectstream.engines.spec import Array

FP32, FP16 = TensorProto.FLOAT, TensorProto.FLOAT16
_NO_PRECISION = frozenset({"Cast", "Shape", "Size"})
"""Operators that accept either precision, and whose output type does not depend on it."""


def fp16_model(model: ModelProto, name: str) -> ModelProto:
    """`model` in FP16. It may be changed in position; errors call it `name`.

    Raises `EngineError` for nested graphs, operators unknown to ONNX, inconsistent types, and when the
    result is not a valid graph with the same inputs and outputs.
    """
    return _Rewriter(inline_local_functions(model) if model.functions else model, name).model


class _Rewriter:
    """Rewrites `model` when it is created."""

    def __init__(self, model: ModelProto, name: str) -> None:
        self.model = model
        self._name = name
        self._graph = model.graph
        self._opsets = {_domain(opset.domain): opset.version for opset in model.opset_import}
        self._types = self._infer()
        self._check_nodes()
        self._constants = dict(self._read_constants())
        self._casts: dict[tuple[str, int], str] = {}
        """The name of each tensor that was cast or rounded, by its old name and its new type."""
        self._fp16 = {name for name, kind in self._types.items() if kind == FP16}
        self._nodes: list[NodeProto] = []
        before = _signature(model)
        self._rewrite()
        self._finish()
        if _signature(model) != before:
            raise EngineError(
                f"{name}: its FP16 graph has different inputs or outputs: report this as a bug"
            )

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
            if weight.data_type == FP32:
                yield weight.name, numpy_helper.to_array(weight)
        for node in self._graph.node:
            if node.op_type == "Constant" and self._types[node.output[0]] == FP32:
                value = helper.get_attribute_value(node.attribute[0])
                tensor = isinstance(value, TensorProto)
                array = numpy_helper.to_array(value) if tensor else np.asarray(value, np.float32)
                yield node.output[0], array

    def _rewrite(self) -> None:
        outputs = [output.name for output in self._graph.output]
        rules = Fp32Rules(self._graph.node, self._constants, outputs)
        for index, node in enumerate(self._graph.node):
            changes = self._may_change(node)
            if node.op_type in _NO_PRECISION or node.op_type == "Constant":
                self._nodes.append(node)
            elif changes and index not in rules.fp32_nodes and self._becomes_fp16(rules, node):
                self._rewrite_node(node, changes)
            else:
                for position, name in enumerate(node.input):
                    if self._types.get(name) == FP32:
                        node.input[position] = self._as_type(name, FP32)
                self._nodes.append(node)

    def _becomes_fp16(self, rules: Fp32Rules, node: NodeProto) -> bool:
        if rules.is_layer(node):
            return True
        inputs_fp16 = [
            name in self._fp16
            for name in node.input
            if name not in self._constants and self._types.get(name) == FP32
        ]
        if node.op_type in MOVERS:
            return all(inputs_fp16) and bool(inputs_fp16)
        return any(inputs_fp16)

    def _rewrite_node(self, node: NodeProto, changes: dict[int, str]) -> None:
        for position in changes:
            node.input[position] = self._as_type(node.input[position], FP16)
        variables = set(changes.values())
        schema = self._schema(node)
        casts = []
        for position, name in enumerate(node.output):
            formal = schema.outputs[min(position, len(schema.outputs) - 1)]
            if self._types.get(name) != FP32 or formal.type_str not in variables:
                continue
            if name in {output.name for output in self._graph.output}:
                node.output[position] = self._casts[name, FP16] = f"{name}/half"
                casts.append(_cast(node.output[position], name, FP32))
            else:
                self._fp16.add(name)
        self._nodes += [node, *casts]

    def _as_type(self, name: str, kind: int) -> str:
        """The name of the tensor `name` as type `kind`; a Cast or a rounded constant is added once."""
        if kind == (FP16 if name in self._fp16 else FP32):
            return name
        if (name, kind) not in self._casts:
            cast = self._casts[name, kind] = f"{name}/{'half' if kind == FP16 else 'float'}"
            if name in self._constants:
                rounded = np.asarray(self._constants[name], np.float16)
                self._graph.initializer.append(numpy_helper.from_array(rounded, cast))
            else:
                self._nodes.append(_cast(name, cast, kind))
        return self._casts[name, kind]

    def _may_change(self, node: NodeProto) -> dict[int, str]:
        """Positions and type variables of the FP32 inputs that the operator's schema allows to be FP16."""
        schema = self._schema(node)
        allowed = {
            constraint.type_param_str
            for constraint in schema.type_constraints
            if "tensor(float16)" in constraint.allowed_type_strs
        }
        changes = {}
        for position, name in enumerate(node.input):
            variable = schema.inputs[min(position, len(schema.inputs) - 1)].type_str
            if self._types.get(name) == FP32 and variable in allowed:
                changes[position] = variable
        return changes

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
                "affectstream.half": RULES_VERSION,
            },
        )
        try:
            onnx.checker.check_model(self.model, full_check=True)
            onnx.shape_inference.infer_shapes(self.model, strict_mode=True, data_prop=True)
        except Exception as error:
            raise EngineError(f"{self._name}: its FP16 graph is not valid: {error}") from error


def is_fp16(model: ModelProto) -> bool:
    """Whether the graph contains FP16: then its author has chosen the precision."""
    return any(w.data_type == FP16 for w in model.graph.initializer) or any(
        attribute.name == "to" and attribute.i == FP16
        for node in model.graph.node
        for attribute in node.attribute
    )


def _domain(name: str) -> str:
    """ONNX's own operators have two domain names."""
    return "" if name == "ai.onnx" else name


def _cast(source: str, target: str, kind: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], name=target + "/cast", to=kind)


def _signature(model: ModelProto) -> list[tuple[str, bytes]]:
    values = (*model.graph.input, *model.graph.output)
    return [(value.name, value.type.SerializeToString()) for value in values]
