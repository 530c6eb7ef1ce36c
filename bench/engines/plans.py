"""Build times, plan sizes and FP16 parity: the engines of a bundle, and all recipes at random weights.

TensorRT for RTX builds the plans, with one profile of 1 to 8 rows; it needs no GPU for that. Parity is
between the FP32 graph and its FP16 variant, both by ONNX Runtime on the CPU. It shows that nothing is
broken, not what precision is lost: ONNX Runtime computes many FP16 nodes in FP32, and random weights are not
those of a trained network.

Not covered: whether the plans run, which takes an RTX card.

    affectstream bench plans --large
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from msgspec import structs, to_builtins

from affectstream.bench.machine import describe
from affectstream.engines.bundle.bundle_plans import plan_requests
from affectstream.engines.bundle.folder import find_bundle, read_manifest
from affectstream.engines.cache.digest import sha256
from affectstream.engines.errors import AffectstreamError
from affectstream.engines.fp16.precision import Precision
from affectstream.engines.plans.accuracy import compare_outputs
from affectstream.engines.plans.build import BuildOptions, BuiltPlan, build, graph_for
from affectstream.engines.plans.profiles import parse_profile
from affectstream.engines.plans.target import Target, target_for
from affectstream.engines.runtimes.onnx import OnnxEngine

if TYPE_CHECKING:
    from affectstream.train.recipes.net_recipe import NetRecipe

PROFILE = parse_profile("1-8")
_COMPARED = parse_profile("2")
_PRECISIONS: tuple[Precision, ...] = ("fp16", "fp32")


@dataclass(frozen=True, slots=True)
class Row:
    """One graph in one precision."""

    engine: str
    precision: Precision
    onnx_mb: float
    derive_s: float
    """To derive the FP16 variant, or to find it in the cache."""
    built: BuiltPlan | None
    parity: str
    error: str

    def document(self) -> dict[str, Any]:
        """The row for JSON."""
        document: dict[str, Any] = {
            "engine": self.engine,
            "precision": self.precision,
            "onnx_mb": self.onnx_mb,
            "derive_s": self.derive_s,
        }
        if self.built is not None:
            document["build_s"] = round(self.built.seconds, 2)
            document["plan_mb"] = _mb(len(self.built.plan))
            document["layers"] = to_builtins(self.built.types)
        extra = {"parity": self.parity, "error": self.error}
        return document | {name: text for name, text in extra.items() if text}

    def line(self) -> str:
        """The row of the table."""
        if self.built is None:
            return f"{self.engine:32}{self.precision:6}  {self.error}"
        types = self.built.types
        return (
            f"{self.engine:32}{self.precision:6}{self.onnx_mb:9.1f}{self.built.seconds:9.2f}"
            f"{_mb(len(self.built.plan)):9.1f}{types.fp16:7}{types.fp32:7}  {self.parity}"
        )


Derive = Callable[[Path, Precision], Path]
"""Returns the graph in a precision, given the FP32 graph. `graph_for` is what the engines use."""


def measure(
    name: str,
    source: Path,
    options: BuildOptions,
    target: Target,
    *,
    derive: Derive = graph_for,
) -> Row:
    """Derive, build and compare one graph. An `AffectstreamError` becomes part of the row."""
    derive_s, built, parity, error = 0.0, None, "", ""
    onnx_mb = _mb(source.stat().st_size)
    try:
        began = time.perf_counter()
        graph = derive(source, options.precision)
        derive_s = round(time.perf_counter() - began, 2)
        onnx_mb = _mb(graph.stat().st_size)
        if graph != source:
            parity = _parity(graph, source, options)
        built = build(graph, options, target, name=f"{name}.onnx")
    except AffectstreamError as fault:
        error = str(fault)
    return Row(name, options.precision, onnx_mb, derive_s, built, parity, error)


def measure_bundle(bundle: str, target: Target) -> Iterator[Row]:
    """A row for each engine of `bundle` and each precision."""
    folder = find_bundle(bundle)
    for precision in _PRECISIONS:
        options = BuildOptions(precision=precision, profiles=(PROFILE,))
        for request in plan_requests(folder, read_manifest(folder), options):
            # Detectors run in FP32; their FP16 variant is measured all the same.
            requested = structs.replace(request.options, precision=precision)
            yield measure(request.role, request.source, requested, target)


def measure_recipes(target: Target) -> Iterator[Row]:
    """Rows for every recipe. The graphs, up to 440 MB each, are deleted."""
    from affectstream.bench.engines.large_recipes import network_recipes

    measured: set[str] = set()
    for recipe in network_recipes():
        with TemporaryDirectory() as folder:
            yield from measure_recipe(recipe, Path(folder), target, measured)


def measure_recipe(
    recipe: NetRecipe, folder: Path, target: Target, measured: set[str] | None = None
) -> Iterator[Row]:
    """Export `recipe` into `folder`; a row for each graph and precision.

    Graphs whose digest is in `measured` are skipped; the digests of the others are added to it.
    """
    from affectstream.bench.engines.large_recipes import export_graphs

    measured = set() if measured is None else measured
    for source in export_graphs(recipe, folder):
        if source.suffix != ".onnx" or (digest := sha256(source)) in measured:
            continue
        measured.add(digest)
        for precision in _PRECISIONS:
            options = BuildOptions(precision=precision, profiles=(PROFILE,))
            name = f"{recipe.name} {source.stem}"
            yield measure(name, source, options, target, derive=_derive_beside)


def _derive_beside(source: Path, precision: Precision) -> Path:
    """Like `graph_for`, without the cache: these graphs are used once."""
    if precision == "fp32":
        return source
    import onnx

    from affectstream.engines.fp16.graph import fp16_model

    target = source.with_name(f"half-{source.name}")
    onnx.save(fp16_model(onnx.load(str(source)), source.name), str(target))
    return target


def main(bundle: str, large: bool) -> None:
    """Measure and print."""
    target = target_for("tensorrt-rtx")
    print(f"{target.runtime} {target.version} for {target.device}, profile {PROFILE}")
    print(f"{'engine':38}{'onnx MB':>9}{'build s':>9}{'plan MB':>9}{'half':>7}{'float':>7}")
    rows = []
    for row in _rows(bundle, large, target):
        print(row.line(), flush=True)
        rows.append(row.document())
    runtime = f"{target.runtime} {target.version}"
    document = {
        "bench": "plans",
        "machine": describe(),
        "runtime": runtime,
        "target": target.device,
        "profile": str(PROFILE),
        "plans": rows,
    }
    print(json.dumps(document))


def _rows(bundle: str, large: bool, target: Target) -> Iterator[Row]:
    yield from measure_bundle(bundle, target)
    if large:
        yield from measure_recipes(target)


def _parity(half: Path, source: Path, options: BuildOptions) -> str:
    """Largest error of the FP16 variant, for a batch of two rows."""
    [profile] = options.profiles
    compared = _COMPARED.with_defaults(profile.ranges)
    with OnnxEngine(half) as found, OnnxEngine(source) as reference:
        return compare_outputs(found, reference, (compared,)).reason


def _mb(size: int) -> float:
    return round(size / 1e6, 2)
