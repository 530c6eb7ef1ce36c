"""Reads the types of the layers of a plan. This needs a GPU."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import msgspec

from affectstream.engines.errors import PlanError
from affectstream.engines.runtimes.nvidia import Bindings, errors_of

_TYPES = {"half": r"\b(?:FP16|Half)\b", "float": r"\b(?:FP32|Float)\b"}
"""In NVIDIA's words: ``Half``, or ``Row major linear FP16 format``."""


def layer_types(plan: bytes, bindings: Bindings) -> dict[str, int]:
    """Number of layer outputs by type: ``half``, ``float`` and ``other``.

    Call `query_gpu` first: without a driver the runtime may crash. Raises `PlanError` when the runtime
    rejects the plan.
    """
    mark = bindings.log.mark()
    engine = bindings.trt.Runtime(bindings.logger).deserialize_cuda_engine(plan)
    if engine is None:
        errors = errors_of(bindings.log.since(mark))
        raise PlanError(
            f"{bindings.runtime} {bindings.version} does not take the plan: "
            f"{errors[0] if errors else 'no reason given'}; build it again"
        )
    kind = bindings.trt.LayerInformationFormat.JSON
    return count_types(engine.create_engine_inspector().get_engine_information(kind))


def count_types(information: str) -> dict[str, int]:
    """Outputs by type in the inspector's JSON; a layer given by its name alone is not counted."""
    counts = Counter(dict.fromkeys((*_TYPES, "other"), 0))
    document: dict[str, Any] = msgspec.json.decode(information)
    for layer in document.get("Layers", []):
        for output in layer.get("Outputs", []) if isinstance(layer, dict) else []:
            text = str(output.get("Format/Datatype", ""))
            name = next((n for n, pattern in _TYPES.items() if re.search(pattern, text)), "other")
            counts[name] += 1
    return dict(counts)
