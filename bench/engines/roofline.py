"""The two ceilings of a machine, measured through the same runtime as the engines: a large matrix product and
large copies.

The graphs are made on the spot. Products multiply random numbers, since a GPU multiplies zeros faster. Copies
count the bytes that are read and written.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from affectstream.bench.engines.timing import time_engine
from affectstream.engines.devices.choose import parse_device
from affectstream.engines.devices.open import open_engine
from affectstream.engines.graphs.work import Work
from affectstream.engines.spec import Array

PRODUCTS = 4
"""Matrix products in a row: their inputs are copied once."""
COPIES = 8
ENQUEUED_AHEAD = 0.5
"""If the host has launched the product in less than this share of its time, it does not wait for the GPU."""


@dataclass(frozen=True, slots=True)
class Roofline:
    """The ceilings."""

    precision: str
    flops_per_s: float
    bytes_per_s: float
    side: int
    copied: int
    """Bytes of the array that is copied."""
    waits: bool
    """Whether the runtime returns only after the GPU is done, so that the enqueue time is not the host's."""

    def share(self, work: Work, seconds: float) -> tuple[float, str]:
        """Of the rate that this machine allows for `work`; and what limits it, ``memory`` or ``compute``."""
        compute_s = work.flops / self.flops_per_s
        memory_s = work.bytes(self.precision) / self.bytes_per_s
        return max(compute_s, memory_s) / seconds, "compute" if compute_s > memory_s else "memory"

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "precision": self.precision,
            "tflops": float(f"{self.flops_per_s / 1e12:.4g}"),
            "gb_per_s": float(f"{self.bytes_per_s / 1e9:.4g}"),
            "product": f"{self.side} x {self.side} x {self.side}",
            "copied_mb": round(self.copied / 1e6),
            "runtime_waits": self.waits,
        }


def measure_roofline(device: str, seconds: float, *, threads: int = 1) -> Roofline:
    """Measure on `device` for about `seconds`. Raises `ImportError` without the package onnx."""
    gpu = parse_device(device).kind != "cpu"
    precision = "fp16" if gpu else "fp32"
    side, numbers = (8192, 1 << 27) if gpu else (768, 1 << 24)
    dtype = np.float16 if gpu else np.float32
    generator = np.random.default_rng(0)
    with TemporaryDirectory() as folder:
        product, copy = Path(folder, "product.onnx"), Path(folder, "copy.onnx")
        _write_product(product, side, dtype)
        _write_copy(copy, dtype)
        left, right = (generator.uniform(-0.05, 0.05, (side, side)).astype(dtype) for _ in range(2))
        product_s, waits = _time(product, device, threads, {"a": left, "b": right}, seconds / 2)
        row = generator.uniform(0, 1, (1, numbers)).astype(dtype)
        copy_s, _ = _time(copy, device, threads, {"a": row}, seconds / 2)
    return Roofline(
        precision=precision,
        flops_per_s=PRODUCTS * 2 * side**3 / product_s,
        bytes_per_s=(2 * COPIES + 1) * row.nbytes / copy_s,
        side=side,
        copied=row.nbytes,
        waits=waits,
    )


def _time(
    path: Path, device: str, threads: int, feeds: dict[str, Array], seconds: float
) -> tuple[float, bool]:
    # The graph has the precision already.
    with open_engine(path, device, threads=threads, fp16=False) as engine:
        times = time_engine(engine, feeds, warm_s=0.2 * seconds, window_s=0.8 * seconds, windows=1)
    compute = median(times.compute)
    enqueue = median(times.enqueue) if times.enqueue else compute
    # The fastest run: a ceiling is what the machine can do while nothing else runs.
    return min(times.compute), enqueue > ENQUEUED_AHEAD * compute


def _write_product(path: Path, side: int, dtype: Any) -> None:
    """`PRODUCTS` products of two inputs, then one number: the result is not copied back."""
    from onnx import helper

    nodes = [helper.make_node("MatMul", ["a", "b"], ["y1"])]
    nodes += [helper.make_node("MatMul", [f"y{n}", "b"], [f"y{n + 1}"]) for n in range(1, PRODUCTS)]
    nodes.append(helper.make_node("ReduceMax", [f"y{PRODUCTS}"], ["y"], keepdims=0))
    _save(path, nodes, {"a": (side, side), "b": (side, side)}, dtype, [])


def _write_copy(path: Path, dtype: Any) -> None:
    """`COPIES` times the input, each with something added, then one number."""
    from onnx import helper, numpy_helper

    step = numpy_helper.from_array(np.array([1e-3], dtype), "step")
    names = ["a", *(f"y{n}" for n in range(1, COPIES + 1))]
    nodes = [helper.make_node("Add", [names[n], "step"], [names[n + 1]]) for n in range(COPIES)]
    nodes.append(helper.make_node("ReduceMax", [names[-1]], ["y"], keepdims=0))
    _save(path, nodes, {"a": ("N", "L")}, dtype, [step])


def _save(
    path: Path, nodes: list[Any], inputs: dict[str, tuple[Any, ...]], dtype: Any, weights: list[Any]
) -> None:
    import onnx
    from onnx import helper

    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    values = [helper.make_tensor_value_info(n, kind, shape) for n, shape in inputs.items()]
    output = helper.make_tensor_value_info("y", kind, ())
    graph = helper.make_graph(nodes, path.stem, values, [output], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))
