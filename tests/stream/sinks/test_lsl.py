"""Outlets of the Lab Streaming Layer, seen by a real inlet; and the schedule behind them."""

import json
import math
import os
import subprocess
import sys
import threading
import time
from itertools import pairwise

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectstream.engines.bundle.bundle import Bundle
from affectstream.stream import Recognizer
from affectstream.stream.cli import main
from affectstream.stream.errors import OptionError
from affectstream.stream.events import Attention, Emotion, Segment, Stream, parse_event
from affectstream.stream.fusion.reading import Reading
from affectstream.stream.live.callbacks import Callbacks
from affectstream.stream.live.session import LiveSession
from affectstream.stream.results.interpret import HopResult
from affectstream.stream.sinks.regular import CaptureClock, Schedule

HOP_US = 500_000

# --- the schedule ---


@given(
    st.lists(
        st.tuples(st.integers(1, 12), st.booleans(), st.floats(0.0, 3.0)),
        min_size=1,
        max_size=40,
    )
)
def test_every_hop_comes_out_once_and_in_order(steps):
    """Hops are pushed, or skipped over, while time goes on and overdue ones are asked for."""
    schedule, out, now_s, end_us, pushed = Schedule(HOP_US), [], 0.0, 0, []
    for hops, pushes, wait_s in steps:
        end_us += hops * HOP_US
        now_s = max(now_s, end_us / 1e6) + wait_s
        out += schedule.overdue(now_s * 1e6)
        if pushes:
            before = schedule.late
            out += schedule.push(end_us, ([end_us],))
            if schedule.late == before:
                pushed.append(end_us)
    ends = [sample.end_us for sample in out]
    assert ends == list(range(ends[0], ends[-1] + 1, HOP_US)) if ends else True
    assert [s.end_us for s in out if s.values is not None] == pushed
    assert all(s.values == ([s.end_us],) for s in out if s.values is not None)
    assert schedule.missing == len(out) - len(pushed)


def test_a_hop_is_missing_only_after_it_is_overdue():
    schedule = Schedule(HOP_US, patience_us=2_000_000)
    assert schedule.due_us is None
    assert schedule.overdue(9e9) == []
    schedule.push(500_000, ([1.0],))
    assert schedule.due_us == 3_000_000
    assert schedule.overdue(2_999_999) == []
    assert [(s.end_us, s.values) for s in schedule.overdue(3_000_000)] == [(1_000_000, None)]
    assert schedule.push(1_000_000, ([2.0],)) == []
    assert (schedule.missing, schedule.late) == (1, 1)


def stamps_of(wander_s):
    clock = CaptureClock()
    return [clock.follow(100.0 + off_s, n * 0.5) + n * 0.5 for n, off_s in enumerate(wander_s)]


@given(st.lists(st.floats(-60.0, 60.0), min_size=2, max_size=60))
def test_timestamps_increase_whatever_the_arrival_times(wander_s):
    assert all(0.249 <= b - a <= 0.751 for a, b in pairwise(stamps_of(wander_s)))


@given(st.lists(st.floats(-0.005, 0.005), min_size=2, max_size=60))
def test_timestamps_stay_regular_when_arrivals_jitter(wander_s):
    stamps = stamps_of(wander_s)
    assert all(abs(b - a - 0.5) <= 0.001 + 1e-9 for a, b in pairwise(stamps))
    assert all(abs(at - 100.0 - n * 0.5) <= 0.005 + 1e-9 for n, at in enumerate(stamps))


def test_the_clock_corrects_a_slow_first_arrival():
    stamps = stamps_of([0.2] + [0.0] * 60)
    assert stamps[0] == pytest.approx(100.2)
    assert abs(stamps[40] - 120.0) < 0.005


def test_the_clock_follows_the_crystal_of_the_sender():
    clock = CaptureClock()
    for n in range(7200):  # an hour, 200 ppm: 0.72 s
        clock.follow(100.0 + 200e-6 * n * 0.5, n * 0.5)
    assert abs(clock.zero_s - (100.0 + 200e-6 * 3600)) < 0.001


# --- a real inlet ---


@pytest.fixture(scope="module")
def lsl(tmp_path_factory):
    """pylsl, told to look for streams on this machine alone, as a machine with only `lo` needs."""
    config = tmp_path_factory.mktemp("lsl") / "lsl.cfg"
    config.write_text("[multicast]\nResolveScope = machine\n[log]\nlevel = -3\n")
    os.environ.setdefault("LSLAPICFG", str(config))
    return pytest.importorskip("pylsl", reason="the Lab Streaming Layer comes with the 'lsl' extra")


@pytest.fixture(scope="module")
def bundle():
    with Bundle.open("pocket", device="cpu") as opened:
        yield opened


class Inlets:
    """The streams of one session, as a recorder opens them."""

    def __init__(self, lsl, name):
        found = {s.name(): s for s in lsl.resolve_bypred(f"starts-with(name, '{name}-')", 3, 10)}
        self.found = {key.removeprefix(f"{name}-"): lsl.StreamInlet(s) for key, s in found.items()}
        for inlet in self.found.values():
            inlet.open_stream(timeout=10)

    def __getitem__(self, what):
        return self.found[what]

    def pull(self, what, count):
        pairs = [self.found[what].pull_sample(timeout=5) for _ in range(count)]
        assert all(sample is not None for sample, _ in pairs), f"{what}: fewer than {count}"
        return [sample for sample, _ in pairs], [at for _, at in pairs]


def reading(track, end_us):
    fields = dict.fromkeys(Reading.__dataclass_fields__)
    return Reading(**{**fields, "track": track, "start_us": end_us - HOP_US, "end_us": end_us})


def hop(number, *people, labels=(), abstain=None):
    """Hop `number` with the same scores for each of `people`, told by how many there are."""
    end_us = (number + 1) * HOP_US
    times = {"stream": "s", "t_start": number * 0.5, "t_end": end_us / 1e6}
    events = []
    for track in people:
        scores = None if abstain else dict.fromkeys(labels, (track or 0) / 100)
        events.append(
            Emotion(
                **times,
                track=track,
                modalities=("video",),
                label=None if abstain else labels[0],
                confidence=None if abstain else 0.5,
                scores=scores,
                abstain=abstain,
                assigned_by=None,
                valence=0.25,
                engagement=0.75,
            )
        )
        events.append(
            Attention(
                **times,
                track=track,
                modalities=("video",),
                state="attentive",
                score=0.9,
                yaw=10.0,
                pitch=-5.0,
                roll=1.0,
                method="head_pose",
            )
        )
    return HopResult(tuple((reading(track, end_us), None) for track in people), tuple(events))


@pytest.fixture
def outlets(lsl, bundle):
    from affectstream.stream.sinks.lsl import LslOutlets

    opened = LslOutlets(f"test{time.monotonic_ns()}", bundle)
    yield opened
    opened.close()


def test_a_recorder_finds_labeled_regular_streams(lsl, bundle, outlets):
    inlets = Inlets(lsl, outlets.name)
    assert inlets.found.keys() == {"emotion", "attention", "markers"}
    labels = list(bundle.manifest.labels)
    info = inlets["emotion"].info(10)
    assert (info.type(), info.nominal_srate()) == ("Emotion", 2.0)
    named = info.get_channel_labels()
    assert named[: len(labels)] == labels
    assert named[-2:] == ["confidence", "track"]
    assert info.get_channel_units()[0] == "probability"
    assert info.get_channel_types()[0] == "Emotion"
    assert info.desc().child("acquisition").child_value("manufacturer") == "Affectstream"
    assert info.desc().child("acquisition").child_value("model").startswith("pocket")
    assert info.source_id().endswith(f"{outlets.name}:emotion:pocket")
    attention = inlets["attention"].info(10)
    eyes = ["gaze_yaw", "gaze_pitch", "eyes_open", "mouth_open"]
    assert attention.get_channel_labels() == ["attention", "yaw", "pitch", "roll", *eyes, "track"]
    assert attention.get_channel_units()[1] == "degrees"
    markers = inlets["markers"].info(10)
    assert (markers.type(), markers.nominal_srate()) == ("Markers", 0.0)


def test_a_bundle_with_geometry_has_channels_for_eyes_and_mouth():
    from affectstream.stream.sinks.lsl import Attentions

    attention = Attentions(with_geometry=True)
    names = [name for name, _, _ in attention.channels]
    assert names[4:] == ["gaze_yaw", "gaze_pitch", "eyes_open", "mouth_open", "track"]
    values = attention.sample(hop(0, 1, labels=("neutral",)))
    assert values[:4] == [0.9, 10.0, -5.0, 1.0]
    assert all(math.isnan(value) for value in values[4:8])  # not measured
    assert values[8] == 1.0


def test_samples_have_the_time_of_capture_and_nan_for_missing_values(lsl, bundle, outlets):
    inlets = Inlets(lsl, outlets.name)
    labels = bundle.manifest.labels
    zero_s = time.monotonic() - 0.5
    outlets.push(hop(0, 2, 1, labels=labels), zero_s)
    outlets.push(hop(1, None, labels=labels), zero_s + 0.004)  # an arrival that was slower
    outlets.push(hop(2, 1, labels=labels, abstain="blurred_face"), zero_s)
    outlets.push(hop(4, 1, labels=labels), zero_s)  # hop 3 was dropped
    samples, stamps = inlets.pull("emotion", 5)
    n = len(labels)
    assert samples[0][:n] == pytest.approx([0.01] * n)  # of track 1, who was there first
    assert [s[-1] for s in samples[:3]] == [1.0, 0.0, 1.0]
    assert samples[1][:n] == [0.0] * n
    assert all(math.isnan(value) for value in samples[2][:-1])
    assert all(math.isnan(value) for value in samples[3])
    assert samples[4][:n] == pytest.approx([0.01] * n)
    shift_s = lsl.local_clock() - time.monotonic()
    for number, at in enumerate(stamps):
        assert abs(at - (zero_s + (number + 1) * 0.5 + shift_s)) < 0.005
    assert all(abs(b - a - 0.5) < 0.005 for a, b in pairwise(stamps))
    attention, also = inlets.pull("attention", 5)
    assert also == stamps
    unknown = [math.nan] * 4  # eyes and mouth, which `hop` does not measure
    turned = pytest.approx([0.9, 10.0, -5.0, 1.0, *unknown, 1.0], nan_ok=True)
    assert attention[0] == turned
    assert attention[2] == turned  # the head was turned all the same
    assert math.isnan(attention[3][0])
    assert outlets.missing == 1


def test_samples_of_a_session_have_its_capture_times(lsl, outlets):
    """Pictures that were taken at known moments, each 30 to 34 ms on its way."""
    inlets = Inlets(lsl, outlets.name)
    taken_s = time.monotonic() - 1.5
    with Recognizer.open(device="cpu", threads=1) as recognizer:
        session = LiveSession(
            recognizer,
            "s",
            Callbacks(
                event=lambda event: outlets.mark(event, session.zero_s),
                hop=lambda hop: outlets.push(hop, session.zero_s),
            ),
            modalities=("video",),
        )
        for n in range(45):
            picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")
            session.push_video(
                picture, n * 40_000, taken_s + n * 0.04 + 0.030 + 0.004 * (n % 3) / 2
            )
        _, stamps = inlets.pull("emotion", 3)
        session.close()
    shift_s = lsl.local_clock() - time.monotonic() + 0.030  # the least delay cannot be seen
    for number, at in enumerate(stamps):
        assert abs(at - (taken_s + (number + 1) * 0.5 + shift_s)) < 0.005
    assert parse_event(inlets.pull("markers", 1)[0][0][0]).what == "started"


def test_a_hop_that_never_comes_is_sent_as_missing(lsl, bundle, outlets):
    inlets = Inlets(lsl, outlets.name)
    zero_s = time.monotonic() - 4.0
    outlets.push(
        hop(0, 1, labels=bundle.manifest.labels), zero_s
    )  # hops 1 to 3 are overdue at once
    samples, stamps = inlets.pull("emotion", 4)
    assert [math.isnan(s[0]) for s in samples] == [False, True, True, True]
    assert [round(b - a, 6) for a, b in pairwise(stamps)] == [0.5, 0.5, 0.5]
    outlets.push(hop(2, 1, labels=bundle.manifest.labels), zero_s)
    assert outlets.late == 1


def test_events_are_markers(lsl, outlets):
    inlets = Inlets(lsl, outlets.name)
    zero_s = time.monotonic() - 2.0
    common = {"stream": "s", "modalities": ("video",)}
    segment = Segment(
        **common,
        track=1,
        t_start=0.5,
        t_end=1.5,
        of="emotion",
        state="happiness",
        mean=0.7,
        peak=0.9,
    )
    gone = Stream(**common, t_start=1.0, t_end=1.0, what="warning", detail="größer")
    for event in (segment, gone, hop(0, 1, labels=("a",)).events[0]):
        outlets.mark(event, zero_s)
    (first, second), stamps = inlets.pull("markers", 2)
    assert parse_event(first[0]) == segment
    assert json.loads(second[0])["detail"] == "größer"
    shift_s = lsl.local_clock() - time.monotonic()
    assert stamps[0] == pytest.approx(zero_s + 1.5 + shift_s, abs=0.005)
    assert stamps[1] == pytest.approx(zero_s + 1.0 + shift_s, abs=0.005)
    assert inlets["markers"].pull_sample(timeout=0.05)[0] is None  # emotions have their own stream


def test_closing_sends_the_last_sample_and_leaves_no_thread(lsl, bundle):
    from affectstream.stream.sinks.lsl import LslOutlets

    before = set(threading.enumerate())
    outlets = LslOutlets(f"last{time.monotonic_ns()}", bundle)
    inlets = Inlets(lsl, outlets.name)
    zero_s = time.monotonic() - 3.0
    for number in range(5):
        outlets.push(hop(number, 1, labels=bundle.manifest.labels), zero_s)
    outlets.close()
    outlets.close()
    samples, _ = inlets.pull("emotion", 5)
    assert len(samples) == 5
    outlets.push(hop(6, 1, labels=bundle.manifest.labels), zero_s)  # nothing happens
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 300])
def test_an_invalid_name_is_refused(lsl, bundle, name):
    from affectstream.stream.sinks.lsl import LslOutlets

    with pytest.raises(OptionError, match="expected a name"):
        LslOutlets(name, bundle)


@pytest.mark.slow
def test_the_command_has_outlets(lsl, tmp_path):
    """Started as a person does; found, recorded, and ended, by another program."""
    from tests.support.media import Sound, write_video

    wave = np.zeros((16_000 * 4, 1), np.float32)
    pictures = [np.zeros((120, 160, 3), np.uint8)] * 100
    clip = write_video(
        tmp_path / "dark.mp4", pictures, size=(160, 120), rate=25, sound=Sound(wave, 16_000)
    )
    code = "from affectstream.stream.cli import main; main()"
    name = f"lab{time.monotonic_ns()}"
    arguments = ["live", "--device", "cpu", "--source", str(clip), "--lsl", name]
    command = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        inlets = Inlets(lsl, name)
        samples, stamps = inlets.pull("emotion", 4)
        markers, _ = inlets.pull("markers", 1)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert f"{name}-emotion, {name}-attention, {name}-markers; every machine" in err
    assert all(math.isnan(sample[0]) for sample in samples)  # nobody is seen or heard
    assert all(abs(b - a - 0.5) < 0.005 for a, b in pairwise(stamps))
    assert parse_event(markers[0][0]).type in ("segment", "stream")
    assert f"{len(out.splitlines())} events delivered" in err


def test_without_the_extra_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pylsl", None)
    with pytest.raises(SystemExit) as left:
        main(["live", "--device", "cpu", "--source", "x.mp4", "--lsl", "lab"])
    assert left.value.code == 2
    assert "this needs 'pylsl': pip install 'affectstream[lsl]'" in capsys.readouterr().err


def test_a_library_that_cannot_be_loaded_is_reported(lsl, tmp_path):
    """PYLSL_LIB comes first in pylsl's search; this file is no library."""
    (tmp_path / "liblsl.so").write_text("nothing")
    code = (
        "from affectstream.stream.sinks.lsl import check_name\n"
        "from affectstream.stream.errors import OptionError\n"
        "try: check_name('lab')\n"
        "except OptionError as error: print(error)"
    )
    environment = {**os.environ, "PYLSL_LIB": str(tmp_path / "liblsl.so")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60
    )
    assert "pylsl cannot load liblsl" in done.stdout, done.stderr
    assert "pip install --force-reinstall pylsl" in done.stdout


@pytest.mark.slow
def test_each_session_of_a_server_has_outlets(lsl):
    for module in ("starlette", "uvicorn", "aiortc", "prometheus_client", "httpx"):
        pytest.importorskip(module, reason="the server comes with the 'serve' extra")
    sync = pytest.importorskip("websockets.sync.client", reason="comes with the 'serve' extra")
    from tests.support.serving import recording, running

    name = f"lab{time.monotonic_ns()}"
    with (
        Recognizer.open(device="cpu", threads=1) as recognizer,
        running(recognizer, lsl=name) as server,
        sync.connect(f"{server.ws}/ingest?name=desk") as socket,
    ):
        inlets = Inlets(lsl, f"{name}-desk")
        socket.send(recording(np.zeros((64, 64, 3), np.uint8), 3.0))
        _, stamps = inlets.pull("attention", 3)
    assert all(abs(b - a - 0.5) < 0.005 for a, b in pairwise(stamps))
