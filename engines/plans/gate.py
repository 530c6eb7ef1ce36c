"""The accuracy gate: does a plan compute what ONNX Runtime computes from the FP32 graph?

A compiler may be wrong without a word. Where the plan can run here, on a GPU that it was built for, both
are fed the same arrays, with the limits of `compare`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from msgspec import structs

from affectstream.engines.compare import compare, random_feeds
from affectstream.engines.errors import DeviceError
from affectstream.engines.plans.plan import Gate, Plan
from affectstream.engines.plans.profiles import Profile, shapes_of
from affectstream.engines.runtimes.cuda.driver import look_at
from affectstream.engines.runtimes.onnx import OnnxEngine
from affectstream.engines.spec import Array, Engine

_BATCHES = 4
"""Of every profile."""
_SEED = 0


def check_plan(plan: Plan, source: Path, *, ordinal: int = 0) -> Gate:
    """Compare `plan`, on GPU number `ordinal`, with the ONNX file `source`, or say why that cannot be
    done here."""
    target = plan.meta.fields.target
    try:
        gpu = look_at(ordinal)
    except DeviceError as error:
        return Gate("not run", f"no GPU: {error}")
    if gpu.capability not in target.capabilities or target.gpu not in (None, gpu):
        return Gate(
            "not run",
            f"{gpu.name} has compute capability {gpu.capability}, the plan is for {target.device}",
        )
    from affectstream.engines.plans.inspector import layer_types
    from affectstream.engines.runtimes.nvidia import load
    from affectstream.engines.runtimes.tensorrt import TensorRTEngine

    content, bindings = plan.read(), load(target.runtime)
    layers = layer_types(content, bindings)
    options = plan.meta.fields.options
    if options.precision == "fp16" and layers["float"] and not layers["half"]:
        return Gate("failed", f"fp16 was asked for, the layers that came out are {layers}", layers)
    try:
        with (
            TensorRTEngine(
                content, bindings, name=plan.meta.name, device=ordinal, warm=False
            ) as engine,
            OnnxEngine(source) as reference,
        ):
            gate = compare_outputs(engine, reference, options.profiles)
    except DeviceError as error:  # such as pycuda missing, which building does without
        gate = Gate("not run", str(error))
    return structs.replace(gate, layers=layers)


def compare_outputs(engine: Engine, reference: Engine, profiles: tuple[Profile, ...]) -> Gate:
    """Compare all outputs of both for random inputs, at the best shape of each of `profiles`."""
    shapes = {name: spec.shape for name, spec in reference.inputs.items()}
    feeds: list[Mapping[str, Array]] = []
    for profile in profiles or (Profile(()),):
        best = {name: sizes[1] for name, sizes in shapes_of("the graph", shapes, profile).items()}
        fixed = {
            name: replace(spec, shape=best.get(name, spec.shape))
            for name, spec in reference.inputs.items()
        }
        feeds += random_feeds(fixed, _BATCHES, _SEED)
    found = compare(reference, engine, feeds, repeats=1)
    worst = max(found.gaps, key=lambda gap: (not gap.passed, gap.max_abs))
    return Gate(
        "passed" if found.passed else "failed",
        f"largest error {worst.max_abs:.3g} in {worst.output}, where values reach {worst.scale:.3g}",
    )
