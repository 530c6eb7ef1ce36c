"""The small parts of the server, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest

pytest.importorskip("prometheus_client", reason="the server comes with the 'serve' extra")
from hypothesis import given
from hypothesis import strategies as st

from affectstream.stream.errors import OptionError
from affectstream.stream.faces.face import Face, FrameObservation
from affectstream.stream.faces.quality import Quality
from affectstream.stream.fusion.fuse import Reading
from affectstream.stream.media.types import MediaKind
from affectstream.stream.serve.clients import messages
from affectstream.stream.serve.clients.overlay import FaceOverlay
from affectstream.stream.serve.clients.subscribers import SendQueue
from affectstream.stream.serve.hub import clean_name
from affectstream.stream.serve.limits import RateLimit
from affectstream.stream.serve.media.timing import (
    ContainerClock,
    DecodeSpeed,
    SenderClock,
    Throttle,
    TrackClock,
)
from affectstream.stream.serve.options import ServeOptions
from affectstream.stream.serve.record import SessionRecorder
from affectstream.stream.windowing.windows import TrackSample


class TestRateLimit:
    def test_a_burst_passes_and_then_the_rate(self) -> None:
        limit = RateLimit(rate=0.5, burst=3)
        assert [limit.take("a", 0.0) for _ in range(3)] == [0.0] * 3
        assert limit.take("a", 0.0) == 2.0
        assert limit.take("b", 0.0) == 0.0, "another address has a bucket of its own"
        assert limit.take("a", 2.0) == 0.0

    def test_a_flood_of_addresses_is_forgotten(self) -> None:
        limit = RateLimit(rate=0.1, burst=1)
        for number in range(5000):
            limit.take(str(number), 0.0)
        assert len(limit._buckets) <= 1024

    @given(st.lists(st.floats(0, 5), max_size=60), st.floats(0.1, 3), st.integers(1, 5))
    def test_no_more_than_the_rate_allows(
        self, pauses: list[float], rate: float, burst: int
    ) -> None:
        limit, now_s, granted = RateLimit(rate, burst), 0.0, 0
        for pause in pauses:
            now_s += pause
            granted += limit.take("a", now_s) == 0.0
        assert granted <= burst + rate * now_s + 1e-6


class TestSendQueue:
    def test_the_oldest_goes_and_is_counted(self) -> None:
        async def work() -> list[str]:
            queue, out = SendQueue(max_lines=3), []
            for number in range(5):
                queue.push(b"%d" % number)
            queue.close()
            queue.push(b"too late")

            async def send(line: str) -> None:
                out.append(line)

            await queue.deliver(send)
            assert (queue.delivered, queue.dropped) == (3, 2)
            return out

        assert asyncio.run(work()) == ["2", "3", "4"]

    def test_a_client_that_does_not_read_is_given_up(self) -> None:
        async def work() -> None:
            queue = SendQueue()
            queue.push(b"x")

            async def send(line: str) -> None:
                await asyncio.Event().wait()

            with pytest.raises(TimeoutError):
                await queue.deliver(send, patience_s=0.01)
            assert queue.delivered == 0

        asyncio.run(work())

    def test_needs_room(self) -> None:
        with pytest.raises(ValueError, match="at least 1"):
            SendQueue(max_lines=0)


class TestTrackClock:
    def test_the_least_delay_places_the_clock(self) -> None:
        clock = TrackClock(origin_s=100.0)
        assert clock.translate(MediaKind.VIDEO, 0, 100.30) == 300_000
        clock.translate(MediaKind.VIDEO, 500_000, 100.55)  # now only 0.05 s late
        assert clock.translate(MediaKind.VIDEO, 1_000_000, 101.20) == 1_050_000

    def test_a_clock_that_starts_anew_goes_on(self) -> None:
        clock = TrackClock(origin_s=0.0)
        clock.translate(MediaKind.AUDIO, 50_000_000, 10.0)
        assert clock.translate(MediaKind.AUDIO, 0, 12.0) == 12_000_000
        assert clock.translate(MediaKind.AUDIO, 900_000_000, 12.5) == 12_500_000

    def test_a_stall_of_the_network_is_no_jump(self) -> None:
        clock = TrackClock(origin_s=0.0)
        clock.translate(MediaKind.AUDIO, 0, 0.0)
        assert clock.translate(MediaKind.AUDIO, 20_000, 4.0) == 20_000

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(MediaKind),
                st.integers(-(10**12), 10**12),
                st.floats(0, 10, width=32),
            ),
            max_size=80,
        )
    )
    @pytest.mark.parametrize("make", [TrackClock, ContainerClock])
    def test_times_of_a_kind_increase_whatever_comes(
        self, make: Callable[[float], SenderClock], steps: list[tuple[MediaKind, int, float]]
    ) -> None:
        clock, now_s, before = make(0.0), 0.0, dict.fromkeys(MediaKind, -1)
        for kind, media_us, pause_s in steps:
            now_s += pause_s
            told = clock.translate(kind, media_us, now_s)
            assert told > before[kind]
            before[kind] = told


class TestContainerClock:
    def test_what_comes_in_one_go_keeps_its_times(self) -> None:
        clock = ContainerClock(origin_s=100.0)
        stamps = [clock.translate(MediaKind.VIDEO, n * 40_000, 100.0) for n in range(25)]
        assert stamps == [n * 40_000 for n in range(25)]
        assert clock.translate(MediaKind.AUDIO, 500_000, 100.0) == 500_000

    def test_another_recording_on_the_same_connection_goes_on(self) -> None:
        clock = ContainerClock(origin_s=0.0)
        clock.translate(MediaKind.VIDEO, 90_000_000, 0.0)
        assert clock.translate(MediaKind.VIDEO, 0, 4.0) == 4_000_000


class TestThrottle:
    def test_a_file_is_read_a_little_faster_than_it_plays_and_never_in_one_go(self) -> None:
        throttle, now_s, passed_s = Throttle(), 50.0, []
        for n in range(60 * 25):
            now_s += throttle.wait_s(n / 25, now_s)
            passed_s.append(now_s - 50.0)
        assert sum(passed < 0.01 for passed in passed_s) <= 0.25 * 25
        assert max(np.diff(passed_s)) == pytest.approx(0.04)
        assert passed_s[-1] == pytest.approx(60.0 - 1.0 - 0.04)

    def test_a_live_sender_whose_first_picture_was_slow_is_soon_not_held_back(self) -> None:
        throttle = Throttle()
        assert throttle.wait_s(0.0, 0.8) == 0.0  # 0.8 s on its way, all others none
        assert throttle.wait_s(1.0, 1.0) == pytest.approx(0.59)
        assert throttle.wait_s(16.0, 16.0) == 0.0

    def test_times_that_jump_far_start_anew(self) -> None:
        throttle = Throttle()
        assert throttle.wait_s(0.0, 0.0) == 0.0
        assert throttle.wait_s(3600.0, 1.0) == 0.0
        assert throttle.wait_s(3600.5, 1.0) == pytest.approx(0.3)


class TestDecodeSpeed:
    @pytest.mark.parametrize(("speed", "found"), [(1.0, False), (0.95, False), (0.7, True)])
    def test_media_that_goes_by_too_slowly_is_noticed(self, speed: float, found: bool) -> None:
        decoding = DecodeSpeed()
        told = [decoding.push(round(n * 33_333 * speed), n / 30) for n in range(40 * 30)]
        slow = [one for one in told if one is not None]
        assert bool(slow) is found
        assert all(one == pytest.approx(speed, abs=0.01) for one in slow)

    def test_a_camera_that_paused_is_not_slow(self) -> None:
        decoding = DecodeSpeed()
        assert decoding.push(0, 0.0) is None
        assert decoding.push(100_000, 100.0) is None
        assert decoding.push(200_000, 100.1) is None


def face_at(x: float, y: float, side: float = 40.0) -> Face:
    return Face(
        box=(x, y, x + side, y + side),
        landmarks=np.full((5, 2), x, np.float32),
        score=0.9,
        quality=Quality(1.0, 1.0, 1.0),
        embeddings=(np.zeros(4, np.float32),),
        appearance=np.zeros(4, np.float32),
    )


def reading(track: int | None, face: Face | None) -> Reading:
    return Reading(
        hop=0,
        start_us=0,
        end_us=500_000,
        track=track,
        modalities=("video",),
        scores=None,
        label=None,
        confidence=None,
        abstain="low_confidence",
        assigned_by=None,
        track_sample=None if face is None else TrackSample(0, 0, (400, 200), face, None),
        voiced=0.0,
    )


class TestOverlay:
    def test_numbers_stay_with_faces_that_move(self) -> None:
        overlay = FaceOverlay("cam")
        left, right = face_at(10, 10), face_at(200, 10)
        overlay.update_tracks([reading(1, left), reading(2, right), reading(None, None)])
        for step in range(1, 20):
            faces = face_at(200 - step * 3, 10), face_at(10 + step * 3, 10)
            seen = FrameObservation(step * 125_000, (400, 200), faces)
            assert [one.track for one in overlay.message(seen).faces] == [2, 1]

    def test_fractions_of_the_picture(self) -> None:
        overlay = FaceOverlay("cam")
        told = overlay.message(FrameObservation(1_500_000, (400, 200), (face_at(100, 50),)))
        line = msgspec.json.decode(messages.pack(told))
        assert line["type"] == "faces" and line["t"] == 1.5 and line["size"] == [400, 200]
        assert line["faces"][0]["box"] == [0.25, 0.25, 0.35, 0.45]
        assert line["faces"][0]["track"] is None, "no hop has told who this is"


class TestMessages:
    @given(st.text() | st.binary())
    def test_junk_is_refused_in_words(self, junk: str | bytes) -> None:
        with pytest.raises(ValueError, match=r"not a message|characters"):
            messages.unpack(junk)

    @pytest.mark.parametrize(
        "text",
        [
            '{"type":"ping","t":"x"}',
            '{"type":"words","t_start":0,"t_end":1e300,"text":"a"}',
            '{"type":"words","t_start":0,"t_end":1,"text":""}',
            '{"type":"shutdown"}',
            '{"type":"ping","more":1}',
            "[" * 4000,
            "{" + " " * 9000 + "}",
        ],
    )
    def test_what_does_not_fit_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"not a message|characters"):
            messages.unpack(text)

    def test_what_fits_is_read(self) -> None:
        words = messages.unpack('{"type":"words","t_start":1,"t_end":2,"text":"well done"}')
        assert words == messages.Words(1.0, 2.0, "well done")
        assert messages.unpack('{"type":"ping"}') == messages.Ping(0.0)


class TestOptions:
    @pytest.mark.parametrize(
        ("given", "error"),
        [
            ({"host": "0.0.0.0"}, "--token"),
            ({"host": "lab.example"}, "--token"),
            ({"token": "short"}, "expected 16 or more"),
            ({"token": "sixteen chars or more"}, "a URL cannot"),
            ({"port": 70000}, "--port 70000"),
            ({"max_sessions": 0}, "--max-sessions 0"),
            ({"stun": ("stun.example.org",)}, "stun:stun.example.org:3478"),
            ({"origins": ("lab.example",)}, "https://lab.example"),
            ({"origins": ("https://lab.example/page",)}, "https://lab.example"),
        ],
    )
    def test_what_cannot_be_is_refused(self, given: dict[str, object], error: str) -> None:
        with pytest.raises(OptionError, match=error):
            ServeOptions(**given)  # type: ignore[arg-type]

    def test_this_machine_needs_no_token(self) -> None:
        assert all(ServeOptions(host=h).loopback for h in ("127.0.0.1", "::1", "localhost"))

    @given(st.text())
    def test_names_of_clients_can_be_written(self, name: str) -> None:
        assert len(clean_name(name)) <= 80 and clean_name(name).isprintable()


class TestRecorder:
    @staticmethod
    def tone(rate: int, layout: str, hz: float) -> av.AudioFrame:
        """A tenth of a second."""
        channels = 2 if layout == "stereo" else 1
        wave = 0.5 * np.sin(2 * np.pi * hz * np.arange(rate // 10) / rate)
        samples = np.repeat((wave * 32767).astype(np.int16), channels)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout=layout)
        frame.sample_rate = rate
        return frame

    def test_sound_that_changes_in_mid_stream_is_stored_to_its_end(self, tmp_path: Path) -> None:
        recorder = SessionRecorder(tmp_path, "a", ["voice"])
        for number in range(10):
            recorder.push_frame(self.tone(48_000, "stereo", 400.0), number * 100_000)
        for number in range(10, 20):
            recorder.push_frame(self.tone(44_100, "mono", 1000.0), number * 100_000)
        recorder.close(20.0)
        assert recorder.failure is None and recorder.dropped == 0
        with av.open(str(recorder.folder / "media.mkv")) as file:
            stored = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])
        assert len(stored) == pytest.approx(96_000, abs=2_000)
        for second, hz in ((0, 400.0), (1, 1000.0)):
            middle = stored[second * 48_000 + 12_000 :][:24_000]
            assert abs(int(np.argmax(np.abs(np.fft.rfft(middle)))) * 2 - hz) <= 4

    def test_a_failure_ends_the_recording_and_is_told_once(self, tmp_path: Path) -> None:
        recorder, told = SessionRecorder(tmp_path, "a", ["voice"]), list[str]()
        recorder.on_failure = told.append
        (recorder.folder / "media.mkv").mkdir()  # so that it cannot be written
        recorder.push_event(b"first")
        recorder.push_frame(self.tone(48_000, "stereo", 400.0), 0)
        recorder._thread.join(20.0)
        for number in range(200):
            recorder.push_frame(self.tone(48_000, "stereo", 400.0), number * 100_000)
        recorder.push_event(b"not any more")
        recorder.close(20.0)
        assert told == [recorder.failure] == ["Is a directory"]
        assert (recorder.folder / "events.jsonl").read_bytes() == b"first\n"
