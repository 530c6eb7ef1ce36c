"""`bench engines`: every engine and the hop, against the ceilings of the machine."""

import json
from itertools import pairwise

import pytest

pytest.importorskip("onnx", reason="the ceilings are measured with graphs of the package onnx")
pytest.importorskip("skimage", reason="the demo's clip comes with the 'demo' extra")

from affectstream.bench.engines.hop_calls import HopCalls
from affectstream.bench.engines.roofline import Roofline
from affectstream.bench.engines.speed import Row, main
from affectstream.bench.engines.timing import Times, repeat, time_engine
from affectstream.engines.bundle.folder import POCKET
from affectstream.engines.graphs.feeds import random_feeds
from affectstream.engines.graphs.work import Work
from affectstream.engines.runtimes.onnx import OnnxEngine
from affectstream.engines.spec import Steps
from affectstream.stream import Recognizer
from affectstream.stream.demo import write_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip"))


class Staged:
    """An engine that times its steps: 1 ms there, 4 ms of which 3.5 to enqueue, 0.5 ms back."""

    runtime = "stand-in fp16, CUDA graphs"

    def run_timed(self, feeds):
        return {}, Steps(0.001, 0.0035, 0.004, 0.0005)

    def run(self, feeds):
        return {}


@pytest.mark.slow
def test_all_engines_and_the_hop_end_in_one_line_of_json(clip, tmp_path, capsys):
    main("pocket", "cpu", clip, [1, 4], 3.0, tmp_path / "out")
    lines = capsys.readouterr().out.splitlines()
    result = json.loads(lines[-1])
    assert json.loads((tmp_path / "out" / "engines.json").read_text()) == result
    assert [(row["engine"], row["batch"]) for row in result["rows"]][-4:] == [
        *(("text_encoder", 1), ("text_encoder", 4)),
        *(("hop", 1), ("hop", 4)),
    ]
    assert len(result["rows"]) == 14
    assert result["hop_rows"]["fusion"] == 3  # both modalities, and each alone: do they contradict?
    assert result["roofline"]["tflops"] > 0 and result["roofline"]["gb_per_s"] > 0
    encoder = next(row for row in result["rows"] if row["engine"] == "face_encoder")
    assert encoder["precision"] == "fp32" and encoder["gflops"] > 0.01
    assert encoder["bound"] in ("compute", "memory") and encoder["host"]["n"] >= 6
    assert "enqueue" not in encoder  # only a GPU has these steps


def test_the_hop_of_many_sessions_holds_their_rows_in_batches_of_64(clip):
    with Recognizer.open("pocket", device="cpu") as recognizer:
        calls = HopCalls(recognizer, clip)
        one, many = calls.hop_rows(), calls.hop(40)
        rows = {}
        for engine, feeds in many:
            count = len(next(iter(feeds.values())))
            assert count <= 64
            rows[id(engine)] = rows.get(id(engine), 0) + count
        for role, count in one.items():
            assert rows[id(calls.engines[role])] == 40 * count


def test_a_warning_where_launches_take_most_of_the_time():
    times = time_engine(Staged(), {}, warm_s=0.0, window_s=0.0)
    row = Row("face_encoder", Staged.runtime, 1, times)
    assert any("launches" in warning for warning in row.warnings())
    document = row.document()
    assert document["precision"] == "fp16" and document["cuda_graphs"]
    assert document["latency"]["median"] == 5.5 and document["gpu_compute"]["median"] == 4.0


def test_windows_that_differ_are_unstable():
    times = Times(windows=[[1.0], [2.0], [1.0]], wall_s=4.0, compute=[1.0, 2.0, 1.0])
    assert "unstable" in Row("fusion", "cpu", 1, times).warnings()[0]
    assert "unstable" in Row("fusion", "cpu", 1, times).line()


def test_an_engine_above_the_ceilings_is_a_warning():
    work = Work(rows=1, flops=2e9, weights=0, numbers=0)
    roofline = Roofline("fp32", 1e9, 1e9, side=8, copied=8, waits=True)
    times = Times(windows=[[1.0], [1.0], [1.0]], wall_s=3.0, compute=[1.0, 1.0, 1.0])
    row = Row("fusion", "cpu", 1, times, work, roofline)
    assert row.document()["roofline_share"] == 2.0 and row.document()["bound"] == "compute"
    assert row.warnings() == ["200% of the ceilings: the machine was busy as they were measured"]


def test_a_slow_engine_is_not_run_ten_times():
    clock = repeat(lambda: None, 0.0)
    assert len(clock) == 2 and all(seconds >= 0 for seconds in clock)


def test_random_feeds_of_any_size():
    with OnnxEngine(POCKET / "face_encoder.onnx") as engine:
        sizes = [len(random_feeds(engine.inputs, 1, 0, n)[0]["pixels"]) for n in (1, 2, 64)]
    assert sizes == [1, 2, 64] and all(a < b for a, b in pairwise(sizes))
