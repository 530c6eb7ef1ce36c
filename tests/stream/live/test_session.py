"""A live session on its own: pushed by hand, on a clock that the test moves."""

import threading
import time

import av
import jsonschema
import msgspec
import numpy as np
import pytest

from affectstream.stream import json_schema
from affectstream.stream.events import encode
from affectstream.stream.faces.face import FrameObservation
from affectstream.stream.faces.perceive import Perceiver
from affectstream.stream.live.callbacks import Callbacks
from affectstream.stream.live.queue.rate import Cost
from affectstream.stream.live.session import LiveSession
from affectstream.stream.media.types import Cue
from affectstream.stream.options import SourceOptions
from tests.support.live_media import ManualClock, write_face

LIVE_ONLY = ("emitted_at", "age_ms", "latency_ms")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    pytest.importorskip("skimage", reason="the portrait comes with the 'demo' extra")
    return write_face(tmp_path_factory.mktemp("live") / "face.mp4", 8)


@pytest.fixture(scope="module")
def media(clip):
    """(microseconds, decoded frame) of pictures and sound, in order of time."""
    with av.open(str(clip)) as container:
        items = [(round(f.pts * f.time_base * 1e6), f) for f in container.decode(video=0, audio=0)]
    return sorted(items, key=lambda item: item[0])


class Played:
    """A session with what came out of it; pushes in the order of time, waiting for the worker."""

    def __init__(self, recognizer, **more):
        self.clock, self.events, self.hops = ManualClock(), [], []
        self.start_s = self.clock.s
        self.session = LiveSession(
            recognizer,
            "test",
            Callbacks(event=self.events.append, hop=self.hops.append),
            clock=self.clock,
            **more,
        )

    def push(self, media, *, until_us=2**62, video=True, sound=True, delay_s=0.01):
        for t_us, frame in media:
            if t_us > until_us:
                return
            self.at(t_us / 1e6 + delay_s)
            if isinstance(frame, av.VideoFrame):
                if video:
                    self.session.push_video(frame, t_us, self.clock.s)
            elif sound:
                self.session.push_audio(frame, t_us, self.clock.s)
            self.idle()

    def at(self, t_s):
        """Move the clock to `t_s` of the session and let the worker see it."""
        self.clock.s = max(self.clock.s, self.start_s + t_s)

    def idle(self):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self.session.is_idle:
                return
            time.sleep(0.0002)
        raise AssertionError("the worker does not keep up")

    def of(self, kind):
        return [event for event in self.events if event.type == kind]


def bare(event):
    return {k: v for k, v in msgspec.structs.asdict(event).items() if k not in LIVE_ONLY}


def picture(t_us=0, size=(160, 120)):
    return av.VideoFrame.from_ndarray(np.zeros((size[1], size[0], 3), np.uint8), "rgb24")


def silence(milliseconds=20):
    frame = av.AudioFrame.from_ndarray(
        np.zeros((1, 48 * milliseconds), np.float32), format="fltp", layout="mono"
    )
    frame.sample_rate = 48_000
    return frame


# --- the same as in a file ---


def test_live_and_score_agree_on_the_same_input(recognizer, clip, media):
    played = Played(recognizer)
    played.push(media)
    ended = played.session.close()
    scored = recognizer.score(clip)
    live = [bare(event) for event in played.events if event.type != "stream"]
    filed = [bare(event) for event in scored.events if event.type != "stream"]
    for one in live + filed:
        one.pop("stream")
    assert live == filed
    assert ended.complete
    assert (ended.counts["dropped"], ended.counts["late"]) == (0, 0)
    assert ended.counts["frames"] == 200


def test_every_live_event_keeps_to_the_schema_and_says_how_old_it_is(recognizer, media):
    played = Played(recognizer)
    played.push(media, until_us=3_000_000, delay_s=0.03)
    played.session.close()
    schema = json_schema()
    for event in played.events:
        jsonschema.validate(msgspec.json.decode(encode(event)), schema)
        assert event.emitted_at.startswith("2026-01-01T")
    assert [e.what for e in played.of("stream")] == ["started", "ended"]
    assert played.of("stream")[0].detail == "t = 0 was at 2026-01-01T00:16:40.030Z"
    for event in played.of("emotion")[:5]:
        # Emitted with the sound that ends the hop: the newest looked-at picture is of 1/8 s before.
        assert event.latency_ms == 0.0  # the manual clock stands still while it works
        assert 60 <= event.age_ms <= 260
    assert [len(hop.readings) for hop in played.hops if hop.readings] == [1] * 7


def test_faces_that_cannot_be_used_are_counted_in_the_last_event(recognizer, monkeypatch):
    def perceive(self, frames):
        return [FrameObservation(frame.pts_us, (160, 120), (), bad_faces=2) for frame in frames]

    monkeypatch.setattr(Perceiver, "perceive", perceive)
    played = Played(recognizer, modalities=("video",))
    played.push([(0, picture()), (500_000, picture())])
    assert played.session.close().counts["bad_faces"] == 2 * played.session.stats.frames_used > 0


def test_words_count_from_their_end(recognizer, media):
    played = Played(recognizer, modalities=("video", "voice", "text"))
    played.session.push_text(Cue(500_000, 1_500_000, "I am so happy"))
    played.push(media, until_us=3_000_000)
    played.session.close()
    by_start = {event.t_start: event.modalities for event in played.of("emotion")}
    assert "text" not in by_start[0.5]
    assert "text" in by_start[1.0]
    assert by_start[2.0] == ("video", "voice", "text")


def test_words_far_ahead_are_left_out_and_others_are_forgotten(recognizer, media):
    """A client that sends words of the year 33658 fills no memory."""
    played = Played(recognizer, modalities=("video", "voice", "text"))
    for n in range(20):
        played.session.push_text(Cue(0, 10**15, "x" * 2000))
        played.session.push_text(Cue(0, 100_000 + n, "well"))
    played.push(media)
    held = played.session._worker._interpreter._windower._utterances._cues
    assert not held
    assert played.session.close().counts["wrong_times"] == 20


def test_a_transcript_is_known_in_advance(recognizer, media):
    cues = [Cue(500_000, 1_500_000, "I am so happy"), Cue(10**10, 10**10, "the end")]
    played = Played(recognizer, modalities=("video", "voice", "text"), transcript=cues)
    played.push(media, until_us=3_000_000)
    assert played.session.close().counts["wrong_times"] == 0
    by_start = {event.t_start: event.modalities for event in played.of("emotion")}
    assert "text" not in by_start[0.5]
    assert "text" in by_start[1.0]


def test_a_session_may_begin_at_any_time_of_its_clock(recognizer, media):
    played = Played(recognizer)
    shifted = [(t_us + 3_600_200_000, frame) for t_us, frame in media[:200]]
    played.start_s -= 3600
    played.push(shifted)
    played.session.close()
    assert played.of("emotion")[0].t_start == 3600.0
    assert len(played.of("emotion")) < 12


# --- what is missing ---


def test_a_silent_microphone_costs_80_ms_and_its_modality(recognizer, media):
    played = Played(recognizer)
    played.push(media, until_us=2_000_000, delay_s=0.0)
    silent = [item for item in media if 2_000_000 < item[0] <= 4_000_000]
    played.push(silent, sound=False, delay_s=0.0)
    played.session.close()
    late = [event for event in played.of("emotion") if 2.5 <= event.t_start < 3.5]
    assert len(late) == 2
    for event in late:
        assert "video" in event.modalities
        # Pictures come every 40 ms, and only they move the test's clock.
        assert event.latency_ms <= 40


def test_a_frozen_camera_does_not_stall(recognizer, media):
    played = Played(recognizer)
    played.push(media, until_us=2_000_000)
    played.push([item for item in media if item[0] > 2_000_000], until_us=6_000_000, video=False)
    played.session.close()
    by_start = {
        event.t_start: event for event in played.of("attention") if event.track in (1, None)
    }
    assert by_start[1.5].state == "attentive"
    assert by_start[4.5].state == "absent"
    assert {event.t_start for event in played.of("emotion")} >= {n / 2 for n in range(12)}
    assert all(event.latency_ms <= 100 for event in played.of("emotion"))


def test_a_microphone_that_never_begins_is_waited_for_a_second_at_first(recognizer, media):
    played = Played(recognizer)
    played.push(media, until_us=3_000_000, sound=False)
    played.session.close()
    emotions = played.of("emotion")
    assert {event.t_start for event in emotions} >= {0.0, 0.5, 1.0, 1.5, 2.0}
    assert emotions[0].latency_ms <= 40


def test_newest_frames_make_results_of_live_sources_younger(recognizer, media):
    """Without work, whose time the test's clock does not count, and with sound that comes at its end."""
    arrivals = sorted(
        (
            (t_us / 1e6 + getattr(frame, "samples", 0) / 48_000, t_us, frame)
            for t_us, frame in media
        ),
        key=lambda item: item[0],
    )
    ages, used = {}, {}
    for newest in (False, True):
        played = Played(recognizer, newest=newest)
        for at_s, t_us, frame in arrivals:
            played.at(at_s + 0.01)
            push = played.session.push_video
            if isinstance(frame, av.AudioFrame):
                push = played.session.push_audio
            push(frame, t_us, played.clock.s)
            played.idle()
        used[newest] = played.session.close().counts["used"]
        ages[newest] = [event.age_ms for event in played.of("emotion")]
        assert all(event.latency_ms == 0 for event in played.of("emotion"))
    assert np.quantile(ages[False], 0.95) > 150
    assert np.quantile(ages[True], 0.95) < 100
    assert abs(used[True] - used[False]) <= 1, "at no cost"


def test_pictures_alone_wait_for_nothing(recognizer, media):
    played = Played(recognizer, modalities=("video",))
    played.push(media, until_us=2_040_000, sound=False)
    played.session.close()
    assert {event.modalities for event in played.of("emotion")} == {("video",)}
    assert all(event.age_ms < 100 for event in played.of("emotion")[:3])


def test_a_picture_of_another_size_in_mid_stream_is_no_trouble(recognizer, media):
    played = Played(recognizer, modalities=("video",))
    sizes = [(640, 360), (320, 180), (360, 640), (641, 361)]
    for n in range(60):
        t_us = n * 33_333
        played.at(t_us / 1e6)
        played.session.push_video(picture(size=sizes[n // 15]), t_us, played.clock.s)
        played.idle()
    ended = played.session.close()
    assert ended.complete
    assert played.session.error is None


def test_times_that_go_back_or_far_ahead_are_counted_and_left_out(recognizer):
    played = Played(recognizer, modalities=("video", "voice"))
    for t_us in (0, 40_000, 20_000, 7_200_000_000, 80_000):
        played.session.push_video(picture(), t_us, played.clock.s + 0.01)
        played.session.push_audio(silence(), t_us, played.clock.s + 0.01)
    ended = played.session.close()
    assert ended.counts["wrong_times"] == 3
    assert ended.t_end < 1
    assert played.session.error is None


# --- too slow ---


class Slow:
    """A perceiver that takes `s` longer, on the test's real time."""

    def __init__(self, perceiver, s):
        self.perceiver, self.s = perceiver, s

    def perceive(self, frames):
        time.sleep(self.s)
        return self.perceiver.perceive(frames)


@pytest.mark.slow
def test_a_slow_machine_drops_pictures_lowers_its_rate_and_says_so(recognizer, media):
    events = []
    session = LiveSession(recognizer, "slow", Callbacks(event=events.append))
    session._worker._perceiver = Slow(session._worker._perceiver, 0.4)
    began = time.monotonic()
    for t_us, frame in media:
        if t_us > 4_000_000:
            break
        time.sleep(max(0.0, began + t_us / 1e6 - time.monotonic()))
        push = session.push_video if isinstance(frame, av.VideoFrame) else session.push_audio
        before = time.monotonic()
        push(frame, t_us, time.monotonic())
        assert time.monotonic() - before < 0.3  # a push never waits for the worker
        assert session.stats.pictures_waiting <= 3
    stats = session.stats
    ended = session.close(timeout_s=5)
    changes = [event for event in events if event.type == "stream"]
    assert ended.counts["dropped"] >= 4
    assert stats.frame_hz < 8
    dropped = sum(event.counts["frames"] for event in changes if event.what == "dropped")
    assert 0 < dropped <= ended.counts["dropped"]
    assert any("instead of 8 frames a second" in (event.detail or "") for event in changes)
    starts = [event.t_start for event in events if event.type == "emotion"]
    assert starts == sorted(starts)
    assert set(starts) >= {n / 2 for n in range(7)}  # not one hop is missing


def test_a_measured_machine_begins_at_the_rate_it_can_hold(recognizer, media):
    played = Played(recognizer, cost=Cost(0.1, 0.05))
    played.push(media, until_us=1_000_000)
    played.session.close()
    warnings = [e.detail for e in played.of("stream") if e.what == "warning"]
    assert warnings == ["analyzes 4 instead of 8 frames a second: this machine is too slow"]
    assert 3 <= played.session.stats.frames_used <= 5
    assert played.of("emotion")[0].label is not None


# --- asides and ends ---


def test_warnings_and_reconnections_become_events(recognizer, media):
    played = Played(recognizer)
    played.push(media, until_us=200_000)
    played.session.warn("the camera was unplugged")
    played.session.reconnected("camera 0: is back")
    ended = played.session.close()
    changes = [(e.what, e.detail, e.counts.get("reconnects")) for e in played.of("stream")[1:3]]
    assert changes == [
        ("warning", "the camera was unplugged", None),
        ("reconnected", "camera 0: is back", 1),
    ]
    assert ended.counts["reconnects"] == 1


def test_the_purpose_and_the_consent_stand_in_the_first_event(recognizer):
    options = SourceOptions(purpose="a study of laughter", consent="form 12")
    played = Played(recognizer, options=options)
    played.session.close()
    first, last = played.events[0], played.events[-1]
    assert (first.what, first.purpose, first.consent) == (
        "started",
        "a study of laughter",
        "form 12",
    )
    assert last.what == "ended" and last.purpose is msgspec.UNSET


def test_a_session_that_got_nothing_ends_quietly(recognizer):
    played = Played(recognizer)
    ended = played.session.close()
    assert [event.what for event in played.events] == ["started", "ended"]
    assert ended.counts["frames"] == 0
    assert played.session.close() is ended
    played.session.push_video(picture(), 0, 0.0)  # nothing happens
    assert len(played.events) == 2


def test_why_a_source_ended_early_is_in_the_last_event(recognizer):
    played = Played(recognizer)
    played.session.warn("3 packets could not be decoded")
    ended = played.session.close(detail="talk.mp4: is cut off")
    assert (ended.complete, ended.detail) == (False, "talk.mp4: is cut off")
    assert [event.what for event in played.events] == ["started", "warning", "ended"]


def test_a_stuck_worker_is_abandoned_in_time_and_says_no_more(recognizer, media):
    played = Played(recognizer)
    stuck, free = threading.Event(), threading.Event()

    class Stuck:
        def perceive(self, frames):
            stuck.set()
            free.wait(20)
            return []

    played.session._worker._perceiver = Stuck()
    for t_us, frame in media[:20]:
        push = (
            played.session.push_video
            if isinstance(frame, av.VideoFrame)
            else played.session.push_audio
        )
        push(frame, t_us, played.clock.s + t_us / 1e6)
    assert stuck.wait(5)
    began = time.monotonic()
    ended = played.session.close(timeout_s=0.3)
    assert time.monotonic() - began < 2
    assert not ended.complete
    assert "abandoned" in ended.detail
    count = len(played.events)
    free.set()
    played.session._thread.join(5)
    assert len(played.events) == count


def test_an_error_in_the_pipeline_ends_the_session_and_is_kept(recognizer, media):
    played = Played(recognizer)

    class Broken:
        def perceive(self, frames):
            raise RuntimeError("the engine broke")

    played.session._worker._perceiver = Broken()
    for t_us, frame in media[:60]:
        push = (
            played.session.push_video
            if isinstance(frame, av.VideoFrame)
            else played.session.push_audio
        )
        push(frame, t_us, played.clock.s + t_us / 1e6)
    played.session._thread.join(5)
    assert isinstance(played.session.error, RuntimeError)
    ended = played.session.close()
    assert ended.detail == "ended by an error: the engine broke"
    assert [e.what for e in played.of("stream")].count("ended") == 1


def test_no_thread_is_left(recognizer, media):
    before = set(threading.enumerate())
    for _ in range(3):
        played = Played(recognizer)
        played.push(media[:40])
        played.session.close()
    assert set(threading.enumerate()) <= before
