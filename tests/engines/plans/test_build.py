"""Plans are built by the real builder of TensorRT for RTX, and every failure says what to do."""

import os
import signal
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

pytest.importorskip("onnx", reason="graphs are made with the package onnx")

from affectstream.engines.bundle.bundle_plans import plan_requests
from affectstream.engines.bundle.folder import POCKET, read_manifest
from affectstream.engines.cache.sizes import format_size, parse_size
from affectstream.engines.errors import BuildError, EngineError, UsageError
from affectstream.engines.plans.accuracy import compare_outputs
from affectstream.engines.plans.build import MANY_ROWS, ONE_ROW, BuildOptions, build, graph_for
from affectstream.engines.plans.failures import BuildCancelled, build_error, clean_message
from affectstream.engines.plans.inspector import count_types
from affectstream.engines.plans.network import LayerTypes
from affectstream.engines.plans.profiles import AxisRange, Profile, parse_profile, shapes_for
from affectstream.engines.plans.progress import Phases
from affectstream.engines.plans.target import DEFAULT_CAPABILITIES, target_for
from affectstream.engines.runtimes.onnx import OnnxEngine
from tests.support import small_graphs

FP32 = BuildOptions(precision="fp32", profiles=(ONE_ROW,))
ROLES = tuple(
    role
    for role in read_manifest(POCKET).engines.__struct_fields__
    if getattr(read_manifest(POCKET).engines, role) is not None
)


@pytest.fixture(scope="module")
def target():
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT for RTX is not installed")
    return target_for("tensorrt-rtx")


# Every engine that is shipped


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
@pytest.mark.parametrize("role", ROLES)
def test_every_engine_of_pocket_parses_and_builds(role, precision, target):
    [request] = plan_requests(
        POCKET, read_manifest(POCKET), BuildOptions(profiles=(MANY_ROWS,)), [role]
    )
    options = structs.replace(request.options, precision=precision)  # the detector's FP16 form too
    with OnnxEngine(request.source) as reference:
        built = build(graph_for(request.source, precision), options, target)
        assert built.types.precision == precision
        # A file may store FP32 weights as FP16, so only what is computed counts.
        assert bool(built.types.fp16_products) == (precision == "fp16")
        for found, specs in ((built.inputs, reference.inputs), (built.outputs, reference.outputs)):
            assert {name: spec.dtype for name, spec in found.items()} == {
                name: spec.dtype for name, spec in specs.items()
            }
    assert built.plan.startswith(b"vtrt")
    assert built.seconds > 0
    assert any("Engine generation completed" in line for line in built.log)


def test_both_default_profiles_are_in_the_plan(tmp_path, target):
    graph = small_graphs.linear(tmp_path / "linear.onnx")
    one = build(graph, FP32, target)
    both = build(graph, BuildOptions(precision="fp32"), target)
    assert len(both.plan) > len(one.plan)


def test_a_graph_without_free_axes_needs_no_profile(tmp_path, target):
    graph = small_graphs.linear(tmp_path / "fixed.onnx", axes=(2, 4))
    assert build(graph, BuildOptions(precision="fp32", profiles=()), target).inputs["x"].shape == (
        2,
        4,
    )


# A deliberate failure of each kind, with its message


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (
            lambda path: path,
            FP32,
            "graph.onnx was not found: expected an ONNX file",
        ),
        (
            lambda path: path.write_text("hello") and path,
            FP32,
            "graph.onnx: this is not an ONNX graph, it has no output: export it again",
        ),
        (
            lambda path: path.write_bytes(small_graphs.linear(path).read_bytes()[:60]) and path,
            FP32,
            "graph.onnx: this is not an ONNX graph, or is cut short: export it again",
        ),
        (
            lambda path: small_graphs.one_node(path, "Det"),
            FP32,
            r"graph.onnx: tensorrt-rtx .* rejects node 0 'the-node' \(Det\): this operator is not "
            "supported: replace it before the export",
        ),
        (
            lambda path: small_graphs.one_node(path, "NonZero", output=small_graphs.INT64),
            FP32,
            r"rejects node 0 'the-node' \(NonZero\): this operator is not supported",
        ),
        (
            lambda path: small_graphs.one_node(path, "Invented", domain="nowhere"),
            FP32,
            r"rejects node 0 'the-node' \(Invented\): this operator is not supported",
        ),
        (
            small_graphs.mixed,
            FP32,
            r"rejects node 1 'sum' \(Add\): its inputs are Float and Half, and types are not converted "
            "automatically: put a Cast before it, or build from the FP32 graph with --precision fp16",
        ),
        (
            small_graphs.linear,
            BuildOptions(precision="fp16"),
            "fp16 was requested, but the graph is fp32 .* building does not change types: derive",
        ),
        (
            small_graphs.linear,
            BuildOptions(precision="fp32", profiles=()),
            "axis N is free and no profile was given: add one, such as --profile 1-8",
        ),
        (
            lambda path: small_graphs.linear(path, axes=("N", "T", 4)),
            FP32,
            "profile 1 gives no range for axis T: add it, such as --profile 1,T=1-8",
        ),
        (
            small_graphs.linear,
            BuildOptions(precision="fp32", profiles=(parse_profile("1,T=2-8"),)),
            "profile 1,T=2-8 gives a range for axis T, but its free axes are N: leave it out",
        ),
    ],
    ids=[
        *("missing", "text", "cut", "unsupported", "data-dependent", "invented", "mixed"),
        *("precision", "no-profile", "partial-profile", "unknown-axis"),
    ],
)
def test_a_failure_says_which_why_and_what_to_do(tmp_path, target, make, options, message):
    path = tmp_path / "graph.onnx"
    make(path)
    with pytest.raises(BuildError, match=message):
        build(path, options, target)


def test_too_little_workspace_is_an_error(target):
    source = POCKET / "voice_encoder.onnx"
    options = BuildOptions(precision="fp32", profiles=(ONE_ROW,), workspace_bytes=1000)
    with pytest.raises(
        BuildError, match="no kernels that need so little workspace: raise --workspace"
    ):
        build(source, options, target)


def test_weights_that_are_missing_are_named(tmp_path, target):
    graph = small_graphs.linear_outside(tmp_path / "outside.onnx")
    assert build(graph, FP32, target).plan
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(BuildError, match=r"its weights are in .*weights\.bin, which was not found"):
        build(graph, FP32, target)


def test_turing_has_no_fp32_products_and_the_message_says_what_to_leave_out(tmp_path, target):
    graph = small_graphs.linear(tmp_path / "linear.onnx")
    with pytest.raises(
        BuildError, match=r"cannot build node 'product' for compute capability 75 .*leave 75 out"
    ):
        build(graph, FP32, target_for("tensorrt-rtx", (75, 86)))


@pytest.mark.parametrize("role", [role for role in ROLES if role != "face_geometry"])
def test_every_engine_of_pocket_but_face_geometry_builds_for_turing(role, target):
    [request] = plan_requests(POCKET, read_manifest(POCKET), BuildOptions(), [role])
    graph = graph_for(request.source, request.options.precision)
    turing = target_for("tensorrt-rtx", (75,))
    assert build(graph, request.options, turing).types.precision == request.options.precision


def test_messages_use_the_given_name(tmp_path, target):
    with pytest.raises(BuildError, match=r"^face\.onnx: "):
        build(small_graphs.mixed(tmp_path / "0a1b.onnx"), FP32, target, name="face.onnx")


def test_another_version_than_the_target_is_refused(tmp_path, target):
    from msgspec import structs

    other = structs.replace(target, version="1.0.0.0")
    with pytest.raises(BuildError, match=r"a plan for tensorrt-rtx 1\.0\.0\.0 was requested"):
        build(small_graphs.linear(tmp_path / "linear.onnx"), FP32, other)


def test_a_capability_that_cannot_be_chosen_names_those_that_can(target):
    with pytest.raises(
        BuildError, match="for no compute capability 90, 999: choose from 75, 80, 86"
    ):
        target_for("tensorrt-rtx", (86, 90, 999))


# Progress, cancelling and Ctrl-C


def test_progress_rises_and_stays_below_one(tmp_path, target):
    seen = []
    build(small_graphs.linear(tmp_path / "linear.onnx"), FP32, target, progress=seen.append)
    assert len(seen) > 10
    assert seen == sorted(seen)
    assert seen[0] > 0 and seen[-1] <= 1


def test_a_build_can_be_cancelled(tmp_path, target):
    stop = threading.Event()
    seen = []

    def progress(fraction):
        seen.append(fraction)
        stop.set()

    graph = small_graphs.linear(tmp_path / "linear.onnx")
    with pytest.raises(
        BuildCancelled, match=r"linear\.onnx: the build was cancelled; nothing was kept"
    ):
        build(graph, FP32, target, progress=progress, stop=stop)
    assert len(seen) < 5
    with pytest.raises(BuildCancelled, match="before it began"):
        build(graph, FP32, target, stop=stop)
    assert build(graph, FP32, target).plan


def test_ctrl_c_stops_the_builder_and_leaves_as_an_interrupt(tmp_path, target):
    pressed = []

    def interrupt(fraction):
        if not pressed:
            pressed.append(fraction)
            os.kill(os.getpid(), signal.SIGINT)

    graph = small_graphs.linear(tmp_path / "linear.onnx")
    with pytest.raises(KeyboardInterrupt):
        build(graph, FP32, target, progress=interrupt)
    for thread in threading.enumerate():
        if thread.name == "build":
            thread.join(10)
            assert not thread.is_alive()
    assert build(graph, FP32, target).plan


phases = st.recursive(
    st.integers(1, 4), lambda inside: st.lists(inside, min_size=1, max_size=4), max_leaves=12
)


@given(phases)
def test_progress_never_falls(tree):
    progress, seen = Phases(), [0.0]

    def go(name, parent, node):
        steps = node if isinstance(node, int) else len(node)
        progress.start(name, parent, steps)
        for step in range(steps):
            if not isinstance(node, int):
                go(f"{name}.{step}", name, node[step])
            progress.step(name, step)
            seen.append(progress.fraction)
        progress.finish(name)

    go("all", None, tree)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_an_unknown_phase_is_ignored():
    progress = Phases()
    progress.start("all", None, 2)
    progress.step("of nobody", 0)
    progress.finish("of nobody")
    progress.step("all", 0)
    assert progress.fraction == 0.5


# Profiles


@given(st.lists(st.integers(1, 99), min_size=3, max_size=3), st.sampled_from(["N", "T", "H"]))
def test_a_profile_is_written_as_it_is_read(sizes, axis):
    profile = Profile((AxisRange(axis, *sorted(sizes)),))
    assert parse_profile(str(profile)) == profile


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("1", [("N", 1, 1, 1)]),
        ("1-8", [("N", 1, 8, 8)]),
        ("1-8-64", [("N", 1, 8, 64)]),
        ("1-4, H=224,W=32-384", [("N", 1, 4, 4), ("H", 224, 224, 224), ("W", 32, 384, 384)]),
    ],
)
def test_profiles_are_read(text, ranges):
    assert parse_profile(text).ranges == tuple(AxisRange(*given) for given in ranges)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("8-4-64", "profile N=8-4-64: expected rising sizes of 1 or more"),
        ("0-4", "profile N=0-4-4: expected rising sizes of 1 or more"),
        ("many", "'many' is not a range: expected such as 1, 1-8, 1-4-64 or T=50-300"),
        ("1-2-3-4", "is not a range"),
        ("1,", "'' is not a range"),
        ("1,N=2", "axis N is given twice"),
    ],
)
def test_a_profile_that_makes_no_sense_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        parse_profile(text)


def test_shapes_come_from_axes_by_name_and_the_first_by_place():
    inputs = {"x": ("batch", "T", 3), "y": ("batch", 5), "fixed": (2, 2)}
    assert shapes_for("graph", inputs, parse_profile("1-2-4,T=7")) == {
        "x": ((1, 7, 3), (2, 7, 3), (4, 7, 3)),
        "y": ((1, 5), (2, 5), (4, 5)),
    }


def test_an_axis_without_a_name_goes_by_its_number():
    shapes = shapes_for("graph", {"x": ("", "", 3)}, parse_profile("1,1=2-6"))
    assert shapes["x"] == ((1, 2, 3), (1, 6, 3), (1, 6, 3))


def test_the_detector_sees_pictures_up_to_what_its_manifest_says():
    manifest = read_manifest(POCKET)
    [detector] = plan_requests(POCKET, manifest, BuildOptions(), ["face_detector"])
    assert [str(profile) for profile in detector.options.profiles] == [
        "1,H=32-160-256,W=32-256",
        "1-8-64,H=32-160-256,W=32-256",
    ]
    fixed = BuildOptions(profiles=(parse_profile("1,H=224,W=384"),))
    [detector] = plan_requests(POCKET, manifest, fixed, ["face_detector"])
    assert detector.options == structs.replace(fixed, precision="fp32")


def test_all_roles_are_built_by_default():
    manifest = read_manifest(POCKET)
    assert [request.role for request in plan_requests(POCKET, manifest, BuildOptions())] == list(
        ROLES
    )
    with pytest.raises(UsageError, match="bundle pocket has no nose: its engines are fusion,"):
        plan_requests(POCKET, manifest, BuildOptions(), ["nose"])


# What a plan turned out to be


def test_products_determine_the_precision_of_a_graph():
    assert LayerTypes(fp16=1, fp32=9, fp16_products=1, fp32_products=4).precision == "fp16"
    assert LayerTypes(fp16=9, fp32=1, fp16_products=0, fp32_products=1).precision == "fp32"
    assert LayerTypes(fp16=1, fp32=9, fp16_products=0, fp32_products=0).precision == "fp16"
    assert LayerTypes(fp16=0, fp32=9, fp16_products=0, fp32_products=0).precision == "fp32"


def test_building_fp32_from_an_fp16_graph_is_an_error_too(target):
    half = graph_for(POCKET / "fusion.onnx", "fp16")
    with pytest.raises(
        BuildError, match=r"fp32 was requested, but the graph is fp16 .*--precision fp16"
    ):
        build(half, FP32, target, name="fusion.onnx")


def test_the_inspectors_types_are_counted():
    information = """{"Layers": [
        {"Name": "a", "Outputs": [{"Name": "b", "Format/Datatype": "Half"}]},
        {"Name": "c", "Outputs": [{"Name": "d", "Format/Datatype": "Row major linear FP16 format"},
                                  {"Name": "e", "Format/Datatype": "Row major linear FP32"}]},
        {"Name": "f", "Outputs": [{"Name": "g", "Format/Datatype": "Int64"}]},
        "only a name"]}"""
    assert count_types(information) == {"half": 2, "float": 1, "other": 1}


def test_the_accuracy_check_passes_the_same_network_and_fails_another(tmp_path):
    profiles = (parse_profile("1"), parse_profile("1-4-8"))
    first = small_graphs.linear(tmp_path / "first.onnx")
    other = small_graphs.linear(tmp_path / "other.onnx", seed=1)
    with OnnxEngine(first) as reference:
        with OnnxEngine(graph_for(first, "fp16")) as half:
            assert compare_outputs(half, reference, profiles).state == "passed"
        with OnnxEngine(other) as wrong:
            gate = compare_outputs(wrong, reference, profiles)
    assert gate.state == "failed"
    assert gate.reason.startswith("largest error ") and " in y, " in gate.reason


def test_messages_lose_nvidias_source_locations():
    message = (
        "IBuilder::buildSerializedNetwork: Error Code 4: API Usage Error (ITopKLayer k: K exceeds the "
        "maximum value allowed (3840). In processCheck at /_src/optimizer/shapeof/a.cpp:1066 In "
        "analyzeShapes at /_src/optimizer/b.cpp:2825)"
    )
    assert clean_message(message) == "ITopKLayer k: K exceeds the maximum value allowed (3840)"
    assert (
        clean_message(
            "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (no driver)"
        )
        == ""
    )


def test_an_internal_error_of_the_compiler_is_reported_as_one():
    # What TensorRT for RTX 1.7.1 says of BERT with torch's own attention, in FP16.
    message = (
        "IBuilder::buildSerializedNetwork: Error Code 1: Myelin ([myelin_graph.h:1295: "
        "attachExceptionMsgToGraph] MyelinCheckException: mha_fusion.cpp:3156: CHECK(is_softmax(op)) "
        "failed. In compileGraph at /_src/optimizer/myelin/codeGenerator.cpp:2012)"
    )
    assert str(build_error("bert.onnx", "tensorrt-rtx 1.7.1.116", [message])) == (
        "bert.onnx: tensorrt-rtx 1.7.1.116 fails with an internal error (mha_fusion.cpp:3156: "
        "CHECK(is_softmax(op)) failed): export this part of the graph differently, or try --precision fp32"
    )


@pytest.mark.parametrize(
    ("text", "size"), [("1GiB", 1 << 30), ("1.5 MiB", 3 << 19), ("2kib", 2048), ("7", 7)]
)
def test_sizes_are_read(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "lots", "1GB", "-1GiB", "0"])
def test_sizes_that_are_not_understood_are_refused(text):
    with pytest.raises(UsageError, match="is not understood: expected such as 512MiB"):
        parse_size(text)


def test_sizes_are_written():
    assert [format_size(size) for size in (5, 2048, 3 << 20, 5 << 29)] == [
        *("5 B", "2.0 KiB", "3.0 MiB", "2.5 GiB")
    ]


def test_default_capabilities_can_all_be_built(target):
    assert target.capabilities == DEFAULT_CAPABILITIES
    assert target.device == "sm80-sm86-sm89-sm120-sm121"


def test_errors_of_building_are_errors_of_engines():
    assert issubclass(BuildCancelled, BuildError) and issubclass(BuildError, EngineError)


@pytest.mark.parametrize(
    ("wide", "narrow", "holds"),
    [
        ("1-64", "1", True),
        ("1-64", "1-8-64", True),
        ("1-8", "1-8-64", False),
        ("2-64", "1", False),
        ("1-64,H=32-640", "1,H=32-384", True),
        ("1-64,H=64-640", "1,H=32-384", False),
        ("1-64", "1,H=32-384", False),
    ],
)
def test_a_profile_holds_another_that_admits_no_other_size(wide, narrow, holds):
    assert parse_profile(wide).holds(parse_profile(narrow)) is holds


def test_a_system_without_threads_is_an_error_at_once(tmp_path, target, monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    monkeypatch.setattr("affectstream.engines.plans.build.wait", pytest.fail)
    graph = small_graphs.linear(tmp_path / "linear.onnx")
    with pytest.raises(BuildError, match=r"linear.onnx: no thread for the build: can't start"):
        build(graph, FP32, target)
