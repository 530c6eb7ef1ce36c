"""Timelines of what each stage did when."""

import json
import threading

import pytest

from affectstream.engines.spans import STAGES, Timeline, current, recording, span, waited


def test_nothing_is_recorded_unless_asked():
    assert current() is None
    with span("decode"):
        pass
    waited("queue", 1.0)
    assert current() is None


def test_a_lane_for_each_stage_and_for_each_further_thread(tmp_path):
    with recording(Timeline()) as timeline:
        with span("detect", rows=4), span("convert"):
            pass

        def work():
            with span("detect", 2):
                pass

        thread = threading.Thread(target=work, name="perceive_1")
        thread.start()
        thread.join()
        waited("queue", 0.25)
    timeline.write(tmp_path / "out.json")
    document = json.loads((tmp_path / "out.json").read_text())
    events = document["traceEvents"]
    lanes = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert set(lanes.values()) == {"detect", "detect 2", "convert", "queue"}
    order = [lanes[tid] for tid in sorted(lanes)]
    assert order == ["queue", "convert", "detect", "detect 2"]  # as STAGES
    spans = [e for e in events if e["ph"] == "X"]
    assert [(e["name"], e["args"].get("rows")) for e in spans if lanes[e["tid"]] == "detect 2"] == [
        ("detect", 2)
    ]
    (queued,) = [e for e in spans if e["name"] == "queue"]
    assert queued["dur"] == pytest.approx(250_000, rel=0.01)
    assert {e["name"] for e in spans} <= set(STAGES)


def test_a_stage_that_raises_is_recorded_too():
    with recording(Timeline()) as timeline, pytest.raises(ValueError, match="broken"), span("fuse"):
        raise ValueError("broken")
    assert [s.stage for s in timeline.spans] == ["fuse"]


def test_one_timeline_at_a_time():
    with (
        recording(Timeline()),
        pytest.raises(RuntimeError, match="another timeline"),
        recording(Timeline()),
    ):
        pass
    assert current() is None


def test_beyond_the_limit_spans_are_counted(monkeypatch):
    monkeypatch.setattr("affectstream.engines.spans.MOST", 2)
    with recording(Timeline()) as timeline:
        for _ in range(5):
            with span("decode"):
                pass
    assert len(timeline.spans) == 2 and timeline.document()["otherData"] == {"lost": 3}
