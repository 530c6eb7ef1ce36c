"""`affectstream live` as a person starts and ends it."""

import json
import os
import signal
import subprocess
import sys
import time
from typing import get_args

import av
import pytest
from rich.console import Console

from affectstream.stream import Recognizer, parse_event
from affectstream.stream.cli import dashboard as dashboard_module
from affectstream.stream.cli.dashboard import WHY, Dashboard
from affectstream.stream.events import Attention, Emotion, Reason, Stream
from affectstream.stream.live.sink_thread import SinkThread
from affectstream.stream.results.interpret import HopResult
from tests.support.live_media import write_face

CODE = "from affectstream.stream.cli import main; main()"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    pytest.importorskip("skimage", reason="the portrait comes with the 'demo' extra")
    return write_face(tmp_path_factory.mktemp("live") / "face.mp4", 4)


def start(*arguments, **more):
    command = [sys.executable, "-c", CODE, "live", "--device", "cpu", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
    )


def test_json_lines_until_the_time_is_over(clip):
    process = start("--source", clip, "--duration", "1.6s")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    events = [parse_event(line) for line in out.splitlines()]
    assert (events[0].what, events[-1].what) == ("started", "ended")
    assert any(event.type == "emotion" and event.latency_ms >= 0 for event in events)
    assert f"{len(events)} events delivered" in err


def test_a_timeline_shows_the_wait_for_the_worker_too(clip, tmp_path):
    process = start("--source", clip, "--duration", "1.6s", "--trace", tmp_path / "out.json")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    events = json.loads((tmp_path / "out.json").read_text())["traceEvents"]
    lanes = {event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert lanes >= {"queue", "decode", "convert", "detect", "fuse", "emit"}


def test_results_go_to_a_folder(clip, tmp_path):
    process = start(
        "--source",
        clip,
        "--duration",
        "1.6",
        "--output",
        tmp_path,
        "--format",
        "jsonl,parquet,csv,vtt",
    )
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out == ""
    folder = tmp_path / "face.mp4"  # as of `score`
    assert sorted(path.name for path in folder.iterdir()) == [
        "events.jsonl",
        "readings.csv",
        "readings.parquet",
        "run.json",
        "segments.vtt",
    ]
    assert json.loads((folder / "run.json").read_text())["source"] == "face.mp4"
    assert len((folder / "readings.csv").read_text().splitlines()) >= 3


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_it_within_two_seconds_and_nothing_is_lost(clip, number, code):
    process = start("--source", clip)
    first = process.stdout.readline()
    assert parse_event(first).what == "started"
    time.sleep(1.0)
    began = time.monotonic()
    process.send_signal(number)
    process.send_signal(number)  # impatience changes nothing
    out, err = process.communicate(timeout=30)
    took_s = time.monotonic() - began
    assert process.returncode == code, err
    events = [parse_event(line) for line in (first + out).splitlines()]
    assert events[-1].what == "ended"
    assert f"{len(events)} events delivered" in err
    assert took_s < 4  # two seconds, and Python's own end on a busy machine


def test_a_reader_that_goes_away_ends_it_quietly(clip):
    process = start("--source", clip)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=30) == 0
    assert "Traceback" not in process.stderr.read()


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sets the size of a pipe")
def test_a_reader_that_is_stuck_does_not_hold_up_the_end(clip):
    import fcntl

    reading, writing = os.pipe()
    fcntl.fcntl(writing, 1031, 4096)  # F_SETPIPE_SZ: a dozen events
    command = [sys.executable, "-c", CODE, "live", "--device", "cpu", "--source", str(clip)]
    with subprocess.Popen(command, stdout=writing, stderr=subprocess.PIPE, text=True) as process:
        os.close(writing)
        time.sleep(6)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=6) in (3, 130)  # the clip may have ended by then
        assert "their reader is stuck" in process.stderr.read()
    os.close(reading)


STALLED = """
import os, sys
from affectstream.stream.cli import main
from affectstream.stream.sinks.jsonl import JsonlFile

class Stalled(JsonlFile):
    def __init__(self, folder, origin):
        super().__init__(folder, origin)
        # As Path.open makes it, on a pipe that is full: every write that reaches the storage hangs.
        _, writing = os.pipe()
        os.set_blocking(writing, False)
        try:
            while True:
                os.write(writing, bytes(4096))
        except BlockingIOError:
            os.set_blocking(writing, True)
        self._file = os.fdopen(writing, "wb")

from affectstream.stream.sinks import by_format
by_format.FILE_SINKS["jsonl"] = Stalled
main(["live", "--device", "cpu", "--duration", "1.6", "--source", sys.argv[1], "--output", sys.argv[2]])
"""


@pytest.mark.slow
def test_storage_that_stalls_does_not_hold_up_the_end(clip, tmp_path):
    """Closing a file waits for its buffer, and Python waits for open buffers when it exits."""
    done = subprocess.run(
        [sys.executable, "-c", STALLED, str(clip), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 3, done.stderr
    assert "is incomplete: its storage does not answer" in done.stderr
    assert not (tmp_path / "face" / "run.json").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--source", "97"], 4, "camera /dev/video97: not found"),
        (["--source", "gone.mp4"], 4, "gone.mp4: no such file"),
        (["--source", "srt://h:1"], 4, "relay it with FFmpeg's own program"),
        (["--source", "rtsp://a:hunter2@127.0.0.1:1/x"], 4, "refused the connection"),
        (["--source", "rtsp://a:hunter2#2@127.0.0.1:1/x"], 4, "written %2F"),
        (["--source", "udp://127.0.0.1:1", "--listen"], 2, "cannot wait for a publisher"),
        (["--duration", "soon"], 2, "expected seconds such as 10s"),
        (["--source", "gone.mp4", "--duration", "0"], 2, "--duration 0: expected more than 0"),
        (["--duration", "-3"], 2, "expected seconds such as 10s"),
        (["--source", "foo://a:hunter2@h/x"], 4, "foo:// is not known; expected one of rtsp"),
        (["--source", "http://a:hunter2@127.0.0.1:1/?key=hunter2"], 4, "refused the connection"),
        (["--source", "rtmp://127.0.0.1:1/live/hunter2"], 4, "refused the connection"),
        (["--source", "rtsp://a:hunter2@h.invalid/x"], 4, "the host is unknown"),
        (["--option", "fast"], 2, "expected NAME=VALUE"),
        (["--format", "csv"], 2, "needs --output"),
    ],
)
def test_what_is_wrong_is_reported_without_a_traceback(arguments, code, message):
    process = start(*arguments, env={**os.environ, "COLUMNS": "200"})
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert message in err
    assert "Traceback" not in err
    assert "hunter2" not in err + out


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("empty.mp4", b"", "is empty (0 bytes)"),
        ("words.mp4", b"no film\n" * 99, "holds text and is not a media file"),
        ("words.txt", b"no film\n" * 99, "holds text and is not a media file"),
        ("junk.mp4", bytes(range(256)) * 99, "is not a media file that FFmpeg can read"),
    ],
)
def test_a_file_that_is_no_recording_is_reported_as_score_reports_it(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    process = start("--source", tmp_path / name, env={**os.environ, "COLUMNS": "200"})
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (4, "")
    assert message in err and "expected a video or sound recording" in err


def test_a_file_that_is_cut_off_is_played_and_reported_as_score_reports_it(clip, tmp_path):
    with av.open(str(clip)) as whole, av.open(str(tmp_path / "whole.mkv"), "w") as copy:
        streams = {s.index: copy.add_stream_from_template(s) for s in whole.streams}
        for packet in whole.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                copy.mux(packet)
    data = (tmp_path / "whole.mkv").read_bytes()
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(data[: len(data) // 2])
    out, err = start("--source", broken).communicate(timeout=60)
    ended = parse_event(out.splitlines()[-1])
    assert (ended.what, ended.complete) == ("ended", False)
    with Recognizer.open(device="cpu") as recognizer:
        scored = recognizer.score(broken)
    assert not scored.complete
    for message in (scored.detail, ended.detail):
        assert " s of 4." in message and message.endswith("the file is cut off or damaged there")
    assert ended.detail in err
    assert 1.0 < ended.t_end < 3.0


# --- the pieces ---


def emotion(**more):
    common = {
        "stream": "s",
        "track": 1,
        "t_start": 1.0,
        "t_end": 1.5,
        "modalities": ("video",),
        "label": "joy",
        "confidence": 0.75,
        "scores": {"joy": 0.75, "anger": 0.25},
        "abstain": None,
        "assigned_by": None,
    }
    return Emotion(**{**common, **more})


def shown(dashboard):
    console = Console(record=True, width=100, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    console.print(dashboard.render(None))
    return console.export_text()


def test_the_dashboard_shows_who_feels_what():
    dashboard = Dashboard("camera 0")
    assert "waiting" in shown(dashboard)
    dashboard.push(emotion())
    dashboard.push(
        Attention(
            stream="s",
            track=1,
            t_start=1.0,
            t_end=1.5,
            modalities=("video",),
            state="attentive",
            score=0.9,
            yaw=0.0,
            pitch=0.0,
            roll=0.0,
            method="head_pose",
        )
    )
    dashboard.push(emotion(track=None, label=None, scores=None, abstain="no_speech"))
    text = shown(dashboard)
    for part in (
        "person 1  joy  attentive 0.90",
        "0.75",
        "recording  no speech",
        "camera 0  1.0 s",
    ):
        assert part in text
    dashboard.push(emotion(track=2, t_start=1.5, t_end=2.0))
    assert "person 1" not in shown(dashboard)


@pytest.mark.parametrize("reason", get_args(Reason))
def test_the_dashboard_has_words_for_every_reason(reason):
    dashboard = Dashboard("camera 0")
    dashboard.push(emotion(label=None, scores=None, abstain=reason))
    assert WHY[reason] in shown(dashboard)


SLOW_TO_OPEN = """
import sys, time
from affectstream.stream.cli import main

def open_slowly(language=None):  # as if a model were downloaded
    print("opening", flush=True)
    time.sleep(60)

main(["live", "--device", "cpu", "--source", sys.argv[1], "--words", "__main__:open_slowly"])
"""


def test_ctrl_c_does_not_wait_for_a_model_that_is_being_opened(clip):
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_TO_OPEN, str(clip)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "opening\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_people_may_come_and_go_while_the_dashboard_is_drawn(monkeypatch):
    """Rich draws on a thread of its own, which would end for good with the first error."""
    dashboard, name_of = Dashboard("camera 0"), dashboard_module._who

    def meanwhile(track):
        dashboard.push(emotion(t_start=2.0, track=7))
        return name_of(track)

    for track in (1, 2, 3):
        dashboard.push(emotion(track=track))
    monkeypatch.setattr(dashboard_module, "_who", meanwhile)
    assert "person 3" in shown(dashboard)
    assert "person 7" in shown(dashboard)


def test_the_dashboard_says_what_happened_to_the_stream():
    dashboard = Dashboard("camera 0")
    for n in range(9):
        dashboard.push(
            Stream(
                stream="s",
                t_start=n,
                t_end=n,
                modalities=(),
                what="warning",
                detail=f"trouble {n} [bold]",
            )
        )
    text = shown(dashboard)
    assert "trouble 8 [bold]" in text  # as it is, no markup
    assert "trouble 4" not in text


def test_a_stuck_sink_holds_nothing_up():
    import threading

    free = threading.Event()

    class Stuck:
        def push(self, hop, end_us):
            free.wait(10)

    sink = SinkThread(Stuck(), lambda: 0)
    for _ in range(5000):
        sink.put(HopResult((), (emotion(),)))
    began = time.monotonic()
    assert not sink.finish(0.2)
    assert time.monotonic() - began < 1
    assert sink.lost + sink.delivered >= 4999
    free.set()
