"""Pictures, sound and words that a program pushes itself."""

import asyncio
import subprocess
import sys
import threading

import av
import msgspec
import numpy as np
import pytest

from affectstream.stream import Assignment, OptionError, Recognizer, SourceOptions
from tests.support.live_media import write_face
from tests.support.media import Sound, write_video

SECONDS = 5
LIVE_ONLY = ("emitted_at", "age_ms", "latency_ms")


@pytest.fixture(scope="module")
def recognizer():
    with Recognizer.open(device="cpu", threads=2) as opened:
        yield opened


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    pytest.importorskip("skimage", reason="the portrait comes with the 'demo' extra")
    return write_face(tmp_path_factory.mktemp("push") / "face.mp4", SECONDS)


def media(clip, seconds=SECONDS):
    """What PyAV decodes from a file: ("video", rgb, t) and ("audio", samples, t, rate), in its order.

    Sound after the stated end of the file is the codec's padding.
    """
    with av.open(str(clip)) as container:
        for frame in container.decode(video=0, audio=0):
            if isinstance(frame, av.VideoFrame):
                rgb = frame.to_ndarray(format="rgb24", interpolation="FAST_BILINEAR")
                yield "video", rgb, frame.time
            else:
                rate = frame.sample_rate
                left = round((seconds - frame.time) * rate)
                yield "audio", frame.to_ndarray()[0][:left], frame.time, rate


def push_all(stream, pushes):
    for kind, *values in pushes:
        getattr(stream, kind)(*values)


def bare(events):
    left_out = (*LIVE_ONLY, "stream")
    return [
        {k: v for k, v in msgspec.structs.asdict(event).items() if k not in left_out}
        for event in events
    ]


def black(size=(64, 48)):
    return np.zeros((size[1], size[0], 3), np.uint8)


# --- every window ---


def test_what_is_pushed_gives_the_events_of_the_file_it_was_decoded_from(recognizer, clip):
    with recognizer.stream(policy="all", name=clip.name, modalities=("video", "voice")) as stream:
        push_all(stream, media(clip))
    assert tuple(stream) == recognizer.score(clip).events


def test_the_order_of_sound_and_pictures_changes_nothing(recognizer, clip):
    with recognizer.stream(policy="all", name=clip.name) as stream:
        push_all(stream, (push for push in media(clip) if push[0] == "audio"))
        push_all(stream, (push for push in media(clip) if push[0] == "video"))
    filed = recognizer.score(clip).events
    assert bare(e for e in stream if e.type != "stream") == bare(
        e for e in filed if e.type != "stream"
    )


def test_words_count_as_those_of_a_transcript(recognizer, clip, tmp_path):
    srt = tmp_path / "words.srt"
    srt.write_text(
        "1\n00:00:00,500 --> 00:00:01,500\nI am so happy\n\n"
        "2\n00:00:02,000 --> 00:00:03,000\nreally\n"
    )
    options = SourceOptions(language="en")
    with recognizer.stream(policy="all", name=clip.name, options=options) as stream:
        stream.text("I am so  happy", 0.5, 1.5)
        for push in media(clip):
            if push[0] == "audio" and 2.9 < push[2] < 3.0:
                stream.text("really", 2.0, 3.0)
            push_all(stream, [push])
    filed = recognizer.score(clip, SourceOptions(language="en", transcript=srt)).events
    assert tuple(stream) == filed
    assert any("text" in event.modalities for event in filed if event.type == "emotion")


def test_stereo_with_a_speaker_a_side(recognizer, tmp_path):
    sides = np.random.default_rng(0).normal(0, 0.1, (3 * 16_000, 2)).astype(np.float32)
    call = write_video(tmp_path / "call.mkv", 0, sound=Sound(sides, 16_000, "pcm_f32le"))
    options = SourceOptions(assignment=Assignment(channels=(1, 2)))
    with recognizer.stream(
        policy="all", name="call.mkv", modalities=("voice",), options=options
    ) as stream:
        with pytest.raises(ValueError, match=r"one speaker a side needs \(n, 2\)"):
            stream.audio(sides[:, 0], 0.0, 16_000)
        stream.audio(sides, 0.0, 16_000)
    assert tuple(stream) == recognizer.score(call, options).events


def test_sound_may_run_minutes_ahead_of_the_pictures(recognizer):
    seconds = 330  # the windows themselves keep five minutes
    with recognizer.stream(policy="all") as stream:
        stream.audio(np.zeros(seconds * 1000, np.float32), 0.0, 1000)
        for n in range(seconds):
            stream.video(black(), float(n))
    events = list(stream)
    assert events[-1].complete
    assert events[-1].t_end == seconds
    assert len([e for e in events if e.type == "emotion"]) == 2 * seconds


def test_results_begin_with_the_first_picture(recognizer):
    with recognizer.stream(policy="all", modalities=("video",)) as stream:
        for n in range(20):
            stream.video(black(), 3600.2 + n / 10)
    first, *between, ended = stream
    assert (first.what, first.t_start) == ("started", 3600.0)
    assert [e.t_start for e in between if e.type == "emotion"] == [3600, 3600.5, 3601, 3601.5, 3602]
    assert (ended.t_start, ended.t_end, ended.counts["frames"]) == (3600.0, 3602.2, 20)


def test_pictures_that_go_back_are_counted_and_left_out(recognizer):
    with recognizer.stream(policy="all", modalities=("video",)) as stream:
        for t in (0.0, 0.1, 0.05, 0.1, 0.2):
            stream.video(black(), t)
    counts = stream.close().counts
    assert (counts["frames"], counts["wrong_times"]) == (3, 2)


def test_a_stream_without_anything_begins_and_ends(recognizer):
    with recognizer.stream(policy="all") as stream:
        stream.text("well", 0.0, 1.0)
    assert [event.what for event in stream] == ["started", "ended"]


def test_leaving_by_an_exception_gives_up(recognizer):
    stream = recognizer.stream(policy="all", modalities=("video",))

    def program():
        with stream:
            stream.video(black(), 0.0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        program()
    assert not stream._thread.is_alive()
    with pytest.raises(ValueError, match="nothing can be pushed after close"):
        stream.video(black(), 1.0)
    with pytest.raises(ValueError, match="given up"):
        stream.close()


def test_an_error_of_an_engine_reaches_the_program(recognizer, monkeypatch):
    from affectstream.stream.faces.perceive import Perceiver

    def broken(self, frames):
        raise RuntimeError("the engine broke")

    monkeypatch.setattr(Perceiver, "perceive", broken)
    stream = recognizer.stream(policy="all", modalities=("video",))
    with pytest.raises(RuntimeError, match="the engine broke"):
        push_all(stream, (("video", black(), n / 8) for n in range(10_000)))
    with pytest.raises(RuntimeError, match="the engine broke"):
        stream.close()
    with pytest.raises(RuntimeError, match="the engine broke"):
        list(stream)


# --- the newest window ---


def test_a_live_stream_drops_nothing_that_there_is_time_for(recognizer, clip):
    pushes = [push for push in media(clip) if push[2] < 1.2]
    with recognizer.stream(policy="newest", modalities=("video", "voice")) as stream:
        push_all(stream, pushes)
    first, *between, ended = stream
    assert (first.what, ended.what, ended.complete) == ("started", "ended", True)
    assert {e.t_start for e in between if e.type == "emotion"} >= {0.0, 0.5, 1.0}
    assert all(e.latency_ms >= 0 for e in between if e.type == "emotion")
    assert stream.close() is ended


def test_events_that_nobody_reads_are_lost_and_counted(recognizer, monkeypatch):
    monkeypatch.setattr("affectstream.stream.push.MAX_WAITING", 2)
    with recognizer.stream(policy="newest", modalities=("video",)) as stream:
        for n in range(30):
            stream.video(black(), n / 10)
        stream._session._queue.close()
        stream._session._thread.join(20)
    assert len(list(stream)) == 2
    assert stream._events.lost > 0


def test_events_in_an_event_loop(recognizer, clip):
    async def program(policy):
        events = []
        async with recognizer.stream(policy=policy, modalities=("video", "voice")) as stream:

            async def read():
                async for event in stream:
                    events.append(event)

            reader = asyncio.create_task(read())
            await asyncio.to_thread(push_all, stream, media(clip))
        await asyncio.wait_for(reader, 20)
        return events

    for policy in ("all", "newest"):
        events = asyncio.run(program(policy))
        assert (events[0].what, events[-1].what) == ("started", "ended")
        assert any(event.type == "emotion" for event in events)


def test_events_on_another_thread_and_between_pushes(recognizer):
    events = []
    with recognizer.stream(policy="all", modalities=("video",)) as stream:
        reader = threading.Thread(target=lambda: events.extend(stream))
        reader.start()
        for n in range(20):
            stream.video(black(), n / 8)
    reader.join(20)
    assert events[-1].what == "ended"
    with recognizer.stream(policy="all", modalities=("video",)) as stream:
        for n in range(40):
            stream.video(black(), n / 8)
        events = stream.ready()
        with pytest.raises(RuntimeError, match=r"call ready\(\) between pushes|ready\(\) between"):
            iter(stream)
    events += stream
    assert (events[0].what, events[-1].what) == ("started", "ended")
    assert stream.ready() == []


# --- what does not fit ---


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("video", np.zeros((4, 4, 3)), 0.0), "expected an array of uint8, found float64"),
        (("video", [[0]], 0.0), "expected an array of uint8, found list"),
        (("video", np.zeros((4, 4), np.uint8), 0.0), r"expected \(height, width, 3\), found"),
        (("video", black(), float("nan")), "t=nan: expected seconds from 0"),
        (("video", black(), -0.1), "t=-0.1: expected seconds from 0"),
        (("video", black(), 1.7e12), "subtract the time of the first picture"),
        (("audio", np.zeros(9, np.int16), 0.0, 16_000), "found int16; divide int16 by 32768"),
        (("audio", np.zeros((9, 6), np.float32), 0.0, 16_000), r"expected \(n,\) or \(n, 2\)"),
        (("audio", np.zeros(9, np.float32), 0.0, 5), "rate=5: expected a whole number of Hz"),
        (("text", "well", 2.0, 1.0), r"t_end=1.0: expected t_start=2.0 or later"),
    ],
)
@pytest.mark.parametrize("policy", ["all", "newest"])
def test_what_cannot_be_pushed_is_refused(recognizer, policy, values, message):
    kind, *rest = values
    with recognizer.stream(policy=policy) as stream, pytest.raises(ValueError, match=message):
        getattr(stream, kind)(*rest)
    with pytest.raises(ValueError, match="after close"):
        stream.video(black(), 0.0)


def test_streams_that_cannot_be_opened(recognizer):
    for more, message in (
        ({"policy": "some"}, "expected 'all' or 'newest'"),
        ({"policy": "all", "name": ""}, "1 to 255 characters"),
        ({"policy": "all", "modalities": ("audio",)}, "'audio' is not one of video, voice, text"),
        ({"policy": "all", "modalities": ("text",)}, "scored as a .srt file"),
        ({"policy": "all", "options": SourceOptions(start_us=5)}, "start_us is an option of files"),
    ):
        with pytest.raises(OptionError, match=message):
            recognizer.stream(**more)
    with (
        recognizer.stream(policy="all", modalities=("voice",)) as stream,
        pytest.raises(ValueError, match="video: this stream was opened with modalities voice"),
    ):
        stream.video(black(), 0.0)


def test_a_picture_after_a_gap_does_not_last_as_long_as_the_gap(recognizer):
    with recognizer.stream(policy="all", modalities=("video",)) as stream:
        for t in (0.0, 0.5, 30.0):
            stream.video(black(), t)
    assert list(stream)[-1].t_end == 31.0


@pytest.mark.parametrize("policy", ["all", "newest"])
def test_a_program_that_ends_without_closing_its_stream_does_not_abort(policy):
    code = (
        "import numpy as np\n"
        "from affectstream.stream import Recognizer\n"
        "recognizer = Recognizer.open(device='cpu', threads=2)\n"
        f"stream = recognizer.stream(policy={policy!r}, modalities=('voice',))\n"
        "noise = np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * 0.1\n"
        "for second in range(6):\n    stream.audio(noise, second, 16_000)\n"
        "raise SystemExit(7)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 7, done.stderr
