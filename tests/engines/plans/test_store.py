"""A plan is built once, found again, never trusted blindly, and never left half-written."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec import structs
from typer.testing import CliRunner

onnx = pytest.importorskip("onnx", reason="graphs are made with the package onnx")

from affectstream.engines.cache.eviction import least_recently_used
from affectstream.engines.cli import application
from affectstream.engines.devices.probe import SQUARE_GRAPH
from affectstream.engines.errors import BuildError, EngineError, PlanError, UsageError
from affectstream.engines.plans import store as plans
from affectstream.engines.plans.build import MANY_ROWS, ONE_ROW, BuildOptions, BuiltPlan
from affectstream.engines.plans.network import LayerTypes
from affectstream.engines.plans.plan import AccuracyCheck, key_fields, open_plan
from affectstream.engines.plans.store import PlanStore
from affectstream.engines.plans.target import Target, target_for
from affectstream.engines.runtimes.cuda.driver import Gpu
from tests.support import small_graphs

OPTIONS = BuildOptions(precision="fp32", profiles=(ONE_ROW,))
TARGET = Target("tensorrt-rtx", "1.7.1.116", "linux-x86_64", (86, 89))
GPU = Gpu("NVIDIA H200", 90, 141 << 30, 132, "13.0")


class Bench:
    """A store with a builder that records its requests; plans are `size` bytes."""

    def __init__(self, folder, size=1000):
        self.folder = folder
        self.store = PlanStore(folder / "plans", limit_bytes=10_000)
        self.size = size
        self.built = []
        self.timings = []
        self.accuracy = AccuracyCheck("not run", "not checked")

    def build(self, graph, options, target, *, name, timing, progress, stop):
        self.built.append(name)
        self.timings.append(timing)
        plan = f"plan {len(self.built)} of {name}".encode().ljust(self.size, b".")
        types = LayerTypes(fp16=0, fp32=3, fp16_products=0, fp32_products=1)
        known = timing + b"t" if target.runtime == "tensorrt" else b""
        return BuiltPlan(plan, known, 0.25, types, {}, {}, ("INFO: done",))

    def graph(self, name="linear", seed=0):
        return small_graphs.linear(self.folder / f"{name}.onnx", seed=seed)

    def plan_for(self, source, options=OPTIONS, target=TARGET, build=None):
        return self.store.plan_for(
            source,
            options,
            target,
            build=build or self.build,
            check=lambda plan, source: self.accuracy,
        )

    def files(self):
        return sorted(
            path.relative_to(self.store.root).as_posix()
            for path in self.store.root.rglob("*")
            if path.is_file() and path.parent.name != "locks"
        )


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_a_plan_is_built_once_and_found_again(bench):
    source = bench.graph()
    first, again = bench.plan_for(source), bench.plan_for(source)
    assert bench.built == ["linear.onnx"]
    assert first == again == open_plan(first.path)
    assert first.read() == b"plan 1 of linear.onnx".ljust(1000, b".")
    assert first.path.parent == bench.store.root / "tensorrt-rtx-1.7.1.116" / "sm86-sm89"
    assert first.path.name == f"linear-{first.meta.key[:16]}.plan"
    assert first.meta.bytes == 1000 and first.meta.log == ("INFO: done",)


def test_only_the_owner_can_read_or_write(bench):
    path = bench.plan_for(bench.graph()).path
    for made in (path, path.with_suffix(".json"), path.parent, bench.store.root):
        assert stat.S_IMODE(made.stat().st_mode) & 0o077 == 0


# The key


@pytest.mark.parametrize(
    ("options", "target"),
    [
        (structs.replace(OPTIONS, precision="fp16"), TARGET),
        (structs.replace(OPTIONS, profiles=(MANY_ROWS,)), TARGET),
        (structs.replace(OPTIONS, profiles=(ONE_ROW, MANY_ROWS)), TARGET),
        (structs.replace(OPTIONS, workspace_bytes=1 << 20), TARGET),
        (structs.replace(OPTIONS, level=5), TARGET),
        (OPTIONS, structs.replace(TARGET, runtime="tensorrt")),
        (OPTIONS, structs.replace(TARGET, version="1.7.1.117")),
        (OPTIONS, structs.replace(TARGET, platform="linux-aarch64")),
        (OPTIONS, structs.replace(TARGET, capabilities=(86,))),
        (OPTIONS, structs.replace(TARGET, gpu=GPU)),
    ],
)
def test_everything_that_determines_a_plan_is_in_its_key(bench, options, target):
    source = bench.graph()
    keys = {bench.plan_for(source).meta.key, bench.plan_for(source, options, target).meta.key}
    assert len(keys) == len(bench.built) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"name": "NVIDIA H100"},
        {"capability": 100},
        {"memory_bytes": 80 << 30},
        {"multiprocessors": 114},
        {"cuda": "13.1"},
    ],
)
def test_another_gpu_or_driver_is_another_key(bench, change):
    source, other = bench.graph(), structs.replace(GPU, **change)
    keys = {
        key_fields(source, OPTIONS, structs.replace(TARGET, gpu=gpu)).digest for gpu in (GPU, other)
    }
    assert len(keys) == 2


def test_another_graph_of_the_same_name_is_another_plan(bench):
    paths = {bench.plan_for(bench.graph(seed=seed)).path for seed in (0, 1)}
    assert len(paths) == len(bench.built) == 2


def test_weights_in_other_files_are_part_of_the_key(bench):
    path = bench.folder / "outside.onnx"
    first = key_fields(small_graphs.linear_outside(path, seed=0), OPTIONS, TARGET)
    graph = path.read_bytes()
    second = key_fields(small_graphs.linear_outside(path, seed=1), OPTIONS, TARGET)
    assert path.read_bytes() == graph  # the graph is the same, to the byte
    assert first.graph == second.graph and first.weights != second.weights
    assert first.digest != second.digest
    assert bench.plan_for(path).meta.fields.weights[0][0] == "weights.bin"


@pytest.mark.parametrize("location", ["../weights.bin", "a/../../weights.bin", "/dev/zero"])
def test_weights_outside_the_folder_of_a_graph_are_refused(bench, location):
    (bench.folder / "in").mkdir()
    source = small_graphs.linear_outside(bench.folder / "in" / "outside.onnx")
    graph = onnx.load(str(source), load_external_data=False)
    graph.graph.initializer[0].external_data[0].value = location
    source.write_bytes(graph.SerializeToString())
    with pytest.raises(EngineError, match="outside its folder"):
        bench.plan_for(source)
    assert bench.built == []


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_a_graph_with_a_name_that_is_not_utf8_gets_no_plan(bench, precision):
    source = bench.folder / "square.onnx"
    source.write_bytes(SQUARE_GRAPH.replace(b"\x01x", b"\x01\xff"))
    with pytest.raises(EngineError, match="not UTF-8"):
        bench.plan_for(source, structs.replace(OPTIONS, precision=precision))
    assert bench.built == []


# Which plans can replace another


def usable(bench, source, capability=86, options=OPTIONS, target=None):
    target = target or structs.replace(TARGET, capabilities=(80, 86, 89, 120, 121))
    return bench.store.find_usable(source, options, target, capability)


@pytest.mark.parametrize(
    "options",
    [
        structs.replace(OPTIONS, level=5),
        structs.replace(OPTIONS, workspace_bytes=1 << 20),
        structs.replace(OPTIONS, profiles=(MANY_ROWS,)),
    ],
)
def test_a_plan_that_admits_more_can_replace_another(bench, options):
    source = bench.graph()
    plan = bench.plan_for(source, options)
    assert usable(bench, source) == plan


@pytest.mark.parametrize(
    ("options", "target"),
    [
        (structs.replace(OPTIONS, precision="fp16"), TARGET),
        (structs.replace(OPTIONS, profiles=()), TARGET),
        (OPTIONS, structs.replace(TARGET, version="1.7.1.117")),
        (OPTIONS, structs.replace(TARGET, runtime="tensorrt")),
        (OPTIONS, structs.replace(TARGET, platform="linux-aarch64")),
        (OPTIONS, structs.replace(TARGET, capabilities=(89, 120))),
        (OPTIONS, structs.replace(TARGET, gpu=GPU)),
    ],
)
def test_a_plan_of_other_options_or_targets_cannot(bench, options, target):
    source = bench.graph()
    bench.plan_for(source, options, target)
    assert usable(bench, source) is None


def test_a_plan_of_another_graph_or_fewer_profiles_cannot(bench):
    source = bench.graph()
    bench.plan_for(bench.graph("other", seed=1))
    bench.plan_for(source)
    assert (
        usable(bench, source, options=structs.replace(OPTIONS, profiles=(ONE_ROW, MANY_ROWS)))
        is None
    )
    assert usable(bench, source) is not None


def test_a_tensorrt_plan_is_for_its_own_gpu_only(bench):
    source = bench.graph()
    target = structs.replace(TARGET, runtime="tensorrt", capabilities=(90,), gpu=GPU)
    bench.plan_for(source, structs.replace(OPTIONS, level=5), target)
    assert usable(bench, source, 90, target=target)
    other = structs.replace(target, gpu=structs.replace(GPU, name="NVIDIA H100"))
    assert usable(bench, source, 90, target=other) is None


# Plans that are not trusted


def spoil_plan(path):
    path.write_bytes(path.read_bytes()[:-1])


def spoil_meta(path):
    beside = path.with_suffix(".json")
    beside.write_text(beside.read_text()[:50])


def swap_key(path):
    beside = path.with_suffix(".json")
    meta = json.loads(beside.read_text())
    meta["fields"]["options"]["level"] = 0
    beside.write_text(json.dumps(meta))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_plan, "was changed: SHA-256 is"),
        (lambda path: path.unlink(), "cannot be read"),
        (spoil_meta, "cannot be read"),
        (swap_key, "its key does not match its fields"),
        (lambda path: path.with_suffix(".json").unlink(), "is not a plan of the cache"),
        (lambda path: path.chmod(0o620), "can be written by other users"),
    ],
    ids=["cut", "gone", "meta-cut", "meta-edited", "meta-gone", "open-to-others"],
)
def test_a_damaged_plan_is_quarantined_and_built_again(bench, spoil, reason):
    source = bench.graph()
    spoil(bench.plan_for(source).path)
    again = bench.plan_for(source)
    assert bench.built == ["linear.onnx", "linear.onnx"]
    assert again.read().startswith(b"plan 2")
    [note] = (bench.store.root / "quarantine").glob("*.txt")
    assert reason in note.read_text()


def test_a_plan_that_a_runtime_refuses_is_built_again(bench):
    source = bench.graph()
    refused = bench.plan_for(source)
    bench.store.quarantine(refused, "expecting compute 8.6 got compute 8.9, please rebuild")
    assert bench.plan_for(source).read().startswith(b"plan 2")
    assert "quarantine holds 1 unusable plans" in bench.store.faults()[0]


def test_a_plan_that_another_process_replaced_is_not_quarantined(bench):
    source = bench.graph()
    refused = bench.plan_for(source)
    for _ in range(2):  # the second finds nothing there
        bench.store.quarantine(refused, "refused")
    again = bench.plan_for(source)
    bench.store.quarantine(refused, "refused")  # and this one what was built since
    assert bench.plan_for(source) == again
    assert len(list((bench.store.root / "quarantine").glob("*.txt"))) == 1


def test_quarantine_waits_for_the_lock(bench):
    refused = bench.plan_for(bench.graph())
    with ThreadPoolExecutor(1) as threads:
        with bench.store._locked(refused.meta.key[:16]):
            waiting = threads.submit(bench.store.quarantine, refused, "refused")
            with pytest.raises(TimeoutError):
                waiting.result(0.3)
            assert refused.path.exists()
        waiting.result(30)
    assert not refused.path.exists()


def test_the_quarantine_keeps_the_newest(bench):
    source = bench.graph()
    for number in range(6):
        bench.store.quarantine(bench.plan_for(source), f"reason {number}")
    notes = (bench.store.root / "quarantine").glob("*.txt")
    assert sorted(note.read_text()[:-1] for note in notes) == [f"reason {n}" for n in range(2, 6)]
    assert len(bench.files()) == 4 * 3


def test_a_plan_that_changes_after_it_was_opened_is_not_loaded(bench):
    plan = bench.plan_for(bench.graph())
    spoil_plan(plan.path)
    with pytest.raises(PlanError, match=r"was changed: SHA-256 is \w+\.\.\., it was built with"):
        plan.read()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_folder_that_others_can_write_is_refused_and_nothing_is_built(bench, mode):
    bench.store.root.mkdir(mode=0o700)
    bench.store.root.chmod(mode)
    with pytest.raises(
        PlanError, match=rf"can be written by other users \(mode {mode:o}\).*chmod go-w"
    ):
        bench.plan_for(bench.graph())
    assert bench.built == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
@pytest.mark.parametrize("mode", [0o770, 0o702])
@pytest.mark.parametrize("linked", [False, True])
def test_a_folder_above_that_others_can_write_is_refused(tmp_path, mode, linked):
    above = tmp_path / "shared"
    (above / "home").mkdir(parents=True)
    (tmp_path / "link").symlink_to(above / "home")
    bench = Bench(tmp_path / "link" if linked else above / "home")
    plan = bench.plan_for(bench.graph())
    above.chmod(mode)
    for attempt in (plan.read, lambda: bench.plan_for(bench.graph()), bench.store.plans):
        with pytest.raises(
            PlanError, match=rf"shared can be written by .*\(mode {mode:o}\), who can"
        ):
            attempt()
    above.chmod(mode | stat.S_ISVTX)  # as /tmp: nobody else renames our folder in it
    assert plan.read()


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root can give files away"
)
def test_a_folder_above_of_another_user_is_refused(tmp_path):
    (tmp_path / "theirs" / "home").mkdir(parents=True)
    bench = Bench(tmp_path / "theirs" / "home")
    os.chown(tmp_path / "theirs", 12345, -1)
    with pytest.raises(PlanError, match=r"theirs belongs to user 12345, who can replace"):
        bench.plan_for(bench.graph())
    assert bench.built == []


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root can give files away"
)
def test_a_folder_of_another_user_is_refused(bench):
    plan = bench.plan_for(bench.graph())
    os.chown(plan.path.parent, 12345, -1)
    with pytest.raises(PlanError, match="belongs to user 12345, you are 0: a plan is code"):
        plan.read()
    with pytest.raises(PlanError, match="belongs to user 12345"):
        bench.plan_for(bench.graph())


def test_an_unwritable_cache_folder_is_an_error_that_names_the_variable(tmp_path):
    (tmp_path / "file").write_text("in the way")
    bench = Bench(tmp_path / "file")
    source = small_graphs.linear(tmp_path / "linear.onnx")
    with pytest.raises(PlanError, match=r"cannot be created: .*AFFECTSTREAM_HOME"):
        bench.plan_for(source)


# Nothing half-written


@pytest.mark.parametrize("error", [KeyboardInterrupt, BuildError("no"), MemoryError])
def test_a_build_that_ends_early_leaves_nothing(bench, error):
    def build(*args, **kwargs):
        raise error

    with pytest.raises(error if isinstance(error, type) else type(error)):
        bench.plan_for(bench.graph(), build=build)
    assert bench.files() == []
    assert bench.plan_for(bench.graph()).read()


def test_a_plan_that_fails_the_accuracy_check_is_not_kept(bench):
    bench.accuracy = AccuracyCheck("failed", "largest error 3 in logits")
    with pytest.raises(
        BuildError,
        match="does not compute what its graph computes: largest error 3 in logits; nothing",
    ):
        bench.plan_for(bench.graph())
    assert bench.files() == []


def test_the_accuracy_check_comes_before_the_plan_is_visible(bench):
    seen = []

    def check(plan, source):
        seen.append((plan.read(), source.name, bench.store.plans()))
        return AccuracyCheck("passed", "largest error 0")

    plan = bench.store.plan_for(bench.graph(), OPTIONS, TARGET, build=bench.build, check=check)
    assert seen == [(plan.read(), "linear.onnx", [])]
    assert open_plan(plan.path).meta.accuracy.state == "passed"


def test_concurrent_requests_wait_for_one_build(bench):
    source = bench.graph()
    first = threading.Event()

    def build(*args, **kwargs):
        assert not first.is_set()  # a second build would find it set
        first.set()
        return bench.build(*args, **kwargs)

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: bench.plan_for(source, build=build), range(8)))
    assert len(bench.built) == 1
    assert {plan.path for plan in found} == {found[0].path}


def test_the_timing_cache_goes_from_build_to_build_of_one_gpu(bench):
    target = structs.replace(TARGET, runtime="tensorrt", capabilities=(90,), gpu=GPU)
    assert target.device == "nvidia-h200-sm90"
    for name in ("one", "two"):
        bench.plan_for(bench.graph(name), target=target)
    bench.plan_for(bench.graph("three"), target=structs.replace(target, version="11.5"))
    assert bench.timings == [b"", b"t", b""]


# Size, listing and cleaning


def aged(bench, *names):
    """Plans of these names, the first used longest ago."""
    found = []
    for age, name in enumerate(reversed(names)):
        plan = bench.plan_for(bench.graph(name, seed=age))
        os.utime(plan.path, (1e9 - age, 1e9 - age))
        found.append(plan)
    return found[::-1]


def names(found):
    return [plan.meta.name for plan in found]


def test_the_least_recently_used_are_deleted_for_room(bench):
    bench.size = 4000
    first, _ = aged(bench, "first", "second")
    bench.plan_for(bench.folder / "first.onnx")  # used now
    bench.plan_for(bench.graph("third", seed=9))
    assert sorted(names(bench.store.plans())) == ["first", "third"]
    assert first.read()


def test_a_plan_larger_than_the_limit_is_kept_as_long_as_it_is_the_newest(bench):
    bench.size = 20_000
    assert bench.plan_for(bench.graph()).read()
    assert names(bench.store.plans()) == ["linear"]


def test_removing_plans_returns_the_bytes_freed(bench):
    aged(bench, "first", "second", "third")
    going = least_recently_used(bench.store.plans(), 2500)
    assert names(going) == ["first"]
    size = sum(p.stat().st_size for p in (going[0].path, going[0].path.with_suffix(".json")))
    assert bench.store.remove(going) == size
    assert bench.store.remove(going) == 0
    assert names(bench.store.plans()) == ["third", "second"]


def test_sweep_deletes_the_files_of_killed_processes_only(bench):
    kept, cut = bench.plan_for(bench.graph("kept")), bench.plan_for(bench.graph("cut", seed=1))
    cut.path.with_suffix(".json").unlink()
    for name in (f".{kept.path.name}", f"..{kept.path.name}.77.tmp"):
        (kept.path.parent / name).write_bytes(b"12345")
    bench.store.quarantine(bench.plan_for(bench.graph("bad", seed=2)), "why")
    assert bench.store.sweep() > 2010
    short = kept.path.relative_to(bench.store.root).as_posix()
    assert bench.files() == [short.replace(".plan", ".json"), short]
    assert bench.store.faults() == []


@pytest.fixture
def command(bench, monkeypatch):
    """Run `affectstream engines` on the bench's store."""
    monkeypatch.setenv("AFFECTSTREAM_HOME", str(bench.folder))

    def run(*arguments, answer=None):
        return CliRunner().invoke(application, arguments, input=answer)

    return run


def test_list_shows_every_plan_and_what_is_wrong_with_the_rest(bench, command):
    good, bad = aged(bench, "good", "bad")
    spoil_meta(bad.path)
    shown = command("list").output
    [line] = [line for line in shown.splitlines() if " good " in line]
    assert line.split()[:5] == [
        good.meta.key[:12],
        "good",
        "tensorrt-rtx",
        "1.7.1.116",
        "sm86-sm89",
    ]
    assert "1000 B" in line and "2001-09-09 01:46" in line
    assert "1 plans, 1000 B" in shown
    assert "warning: " in shown and "cannot be read" in shown


def test_inspect_takes_a_file_or_a_key(bench, command):
    plan = bench.plan_for(bench.graph())
    by_key = command("inspect", plan.meta.key[:6]).output
    assert by_key == command("inspect", str(plan.path)).output
    for part in (plan.meta.key, "hash       agrees, 1000 B", '"multiprocessors"', "INFO: done"):
        assert (part in by_key) == (part != '"multiprocessors"')
    missing = command("inspect", "0" * 64)
    assert isinstance(missing.exception, UsageError)
    assert "0 plans have a key that begins with '000" in str(missing.exception)
    spoil_plan(plan.path)
    assert "was changed" in str(command("inspect", plan.meta.key[:6]).exception)


def test_clean_asks_before_it_deletes(bench, command):
    aged(bench, "first", "second")
    assert command("clean").exit_code == 2
    refused = command("clean", "--all", answer="n\n")
    assert (
        "delete these 2 plans and 0 FP16 graphs, 2.0 KiB?" in refused.output
        and refused.exit_code == 0
    )
    assert refused.output.endswith("nothing deleted\n")
    assert command("clean", "--all", answer="").output.endswith("nothing deleted\n")
    assert len(bench.store.plans()) == 2
    assert "2 plans and 0 FP16 graphs deleted" in command("clean", "--all", answer="y\n").output
    assert bench.files() == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_at_the_question_deletes_nothing(bench):
    bench.plan_for(bench.graph())
    code = "from affectstream.stream.cli import main; main(['engines', 'clean', '--all'])"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"AFFECTSTREAM_HOME": str(bench.folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        output = b""
        while not output.endswith(b"[y/N]: "):
            byte = process.stdout.read(1)
            assert byte, process.stderr.read()
            output += byte
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert len(bench.store.plans()) == 1


def test_clean_deletes_what_meets_every_condition(bench, command):
    aged(bench, "old", "older")
    bench.plan_for(bench.graph("new", seed=5))
    command("clean", "--older-than", "1", "--runtime", "tensorrt", "--yes")
    assert len(bench.store.plans()) == 3
    command("clean", "--to-size", "2kib", "--older-than", "1", "--yes")
    assert names(bench.store.plans()) == ["new", "older"]
    command("clean", "--older-than", "1", "--yes")
    assert names(bench.store.plans()) == ["new"]


# With the real builder


def test_pocket_is_built_listed_and_kept(bench, command):
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT for RTX is not installed")
    arguments = ("build", "--runtime", "tensorrt-rtx", "--role", "fusion", "--role", "face_encoder")
    first = command(*arguments, "--compute-capability", "86,89", "--profile", "1-8")
    assert first.exit_code == 0, first.exception
    assert "for sm86-sm89, fp16" in first.output
    found = PlanStore().plans()
    assert sorted(names(found)) == ["face_encoder", "fusion"]
    for plan in found:
        assert plan.meta.types.precision == "fp16"
        assert plan.read().startswith(b"vtrt")
    again = command(*arguments, "--compute-capability", "89,86", "--profile", "1-8")
    assert again.output.count("kept") == 2
    spoil_plan(found[0].path)
    rebuilt = command(*arguments, "--compute-capability", "86,89", "--profile", "1-8")
    assert rebuilt.output.count("kept") == 1
    assert command("list").output.count("tensorrt-rtx") == 2


def test_ctrl_c_reports_what_is_kept_and_exits_with_130(bench, command, monkeypatch):
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT for RTX is not installed")
    real, pressed = PlanStore.plan_for, []

    def plan_for(store, source, options, target, *, progress):
        def press(fraction):
            if source.stem == "face_encoder" and not pressed:
                pressed.append(fraction)
                os.kill(os.getpid(), signal.SIGINT)

        return real(store, source, options, target, progress=press)

    monkeypatch.setattr(PlanStore, "plan_for", plan_for)
    arguments = ("--runtime", "tensorrt-rtx", "--role", "fusion", "--role", "face_encoder")
    done = command("build", *arguments)
    assert pressed and done.exit_code == 130
    assert "interrupted; finished plans are kept, nothing half-built is" in done.output
    assert names(PlanStore().plans()) == ["fusion"]
    assert len(bench.files()) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--role", "nose"), "bundle pocket has no nose"),
        (("--profile", "8-1"), "expected rising sizes"),
        (("--profile", "abc"), "'abc' is not a range"),
        (("--workspace", "much"), "size 'much' is not understood"),
        (("--workspace", "-5"), "size '-5' is not understood"),
        (("--compute-capability", "99"), "builds for no compute capability 99"),
    ],
)
def test_a_mistake_on_the_command_line_is_explained(bench, command, arguments, message):
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT for RTX is not installed")
    done = command("build", "--runtime", "tensorrt-rtx", *arguments)
    assert message in str(done.exception)
    assert isinstance(done.exception, UsageError)
    assert not (bench.folder / "plans").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("inspect", "nothing"), 2),
        (("clean", "--to-size", "abc"), 2),
        (("pull", "nothere"), 2),
        (("build", "--role", "foo"), 2),
        (("build", "--bundle", "nowhere"), 4),
    ],
)
def test_a_wrong_command_line_exits_with_2(bench, command, capsys, arguments, code):
    from affectstream.stream.cli import main

    with pytest.raises(SystemExit) as left:
        main(["engines", *arguments])
    assert left.value.code == code
    assert capsys.readouterr().err.count("\n") == 1


def test_the_real_builder_fills_the_store(bench):
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT for RTX is not installed")
    target = target_for("tensorrt-rtx", (86,))
    plan = bench.store.plan_for(bench.graph(), OPTIONS, target)
    assert plan.read().startswith(b"vtrt")
    assert [tensor.name for tensor in plan.meta.inputs + plan.meta.outputs] == ["x", "y"]
    assert plan.meta.accuracy.state in ("passed", "not run") and plan.meta.accuracy.reason
    assert plans.PlanStore(bench.store.root).plans() == [plan]
