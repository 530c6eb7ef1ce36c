"""Checks that a plan computes what ONNX Runtime computes from its FP32 graph.

A compiler may produce wrong results without an error. If the plan can run here, on a GPU that it was built
for, both get the same inputs and the limits of `graphs.compare` apply.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from msgspec import structs

from affectstream.engines.errors import DeviceError
from affectstream.engines.graphs.compare import compare
from affectstream.engines.graphs.feeds import random_feeds
from affectstream.engines.plans.plan import AccuracyCheck, Plan
from affectstream.engines.plans.profiles import Profile, shapes_for
from affectstream.engines.runtimes.cuda.driver import query_gpu
from affectstream.engines.runtimes.onnx import OnnxEngine
from affectstream.engines.spec import Array, Engine

_BATCHES = 4
"""Random batches for each profile."""
_SEED = 0


def check_plan(plan: Plan, source: Path, *, ordinal: int = 0) -> AccuracyCheck:
    """Compare `plan` on GPU number `ordinal` with the ONNX file `source`.

    The state is ``not run`` when the plan cannot run here; the reason says why.
    """
    target = plan.meta.fields.target
    try:
        gpu = query_gpu(ordinal)
    except DeviceError as error:
        return AccuracyCheck("not run", f"no GPU: {error}")
    if gpu.capability not in target.capabilities or target.gpu not in (None, gpu):
        return AccuracyCheck(
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
        return AccuracyCheck(
            "failed", f"fp16 was requested, but the plan's layers are {layers}", layers
        )
    try:
        with (
            TensorRTEngine(
                content, bindings, name=plan.meta.name, ordinal=ordinal, warm=False
            ) as engine,
            OnnxEngine(source) as reference,
        ):
            check = compare_outputs(engine, reference, options.profiles)
    except DeviceError as error:  # such as a missing pycuda, which building does not need
        check = AccuracyCheck("not run", str(error))
    return structs.replace(check, layers=layers)


def compare_outputs(
    engine: Engine, reference: Engine, profiles: tuple[Profile, ...]
) -> AccuracyCheck:
    """Compare all outputs for random inputs, at the best shape of each of `profiles`."""
    shapes = {name: spec.shape for name, spec in reference.inputs.items()}
    feeds: list[Mapping[str, Array]] = []
    for profile in profiles or (Profile(()),):
        best = {name: sizes[1] for name, sizes in shapes_for("the graph", shapes, profile).items()}
        fixed = {
            name: replace(spec, shape=best.get(name, spec.shape))
            for name, spec in reference.inputs.items()
        }
        feeds += random_feeds(fixed, _BATCHES, _SEED)
    comparison = compare(reference, engine, feeds, repeats=1)
    worst = max(comparison.outputs, key=lambda output: (not output.passed, output.max_abs))
    return AccuracyCheck(
        "passed" if comparison.passed else "failed",
        f"largest error {worst.max_abs:.3g} in {worst.output}, where values reach {worst.scale:.3g}",
    )
