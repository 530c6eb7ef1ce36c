"""`--record`: what is stored of a session, and that nothing is stored without it."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

for module in ("starlette", "uvicorn", "aiortc", "prometheus_client", "websockets", "httpx"):
    pytest.importorskip(module, reason="the server comes with the 'serve' extra")

from websockets.sync.client import connect

from affectstream.stream.recognizer import Recognizer
from affectstream.stream.serve import record
from affectstream.stream.serve.record import SessionRecorder
from tests.support.serving import MESSAGE_TYPES, last_event, receive, running, send, until


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

    def test_sound_that_changes_its_format_is_stored_to_its_end(self, tmp_path: Path) -> None:
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

    def test_pictures_that_come_late_are_stored_in_a_second_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As of a camera that is allowed long after the microphone."""
        monkeypatch.setattr(record, "_FIRST_WAITING", 5)
        recorder = SessionRecorder(tmp_path, "a", ["video", "voice"])
        for number in range(20):
            recorder.push_frame(self.tone(48_000, "stereo", 400.0), number * 100_000)
        for number in range(20, 30):
            recorder.push_frame(av.VideoFrame(64, 48, "yuv420p"), number * 100_000)
            recorder.push_frame(self.tone(48_000, "stereo", 400.0), number * 100_000)
        recorder.close(20.0)
        assert recorder.failure is None and recorder.dropped == 0
        with av.open(str(recorder.folder / "media.mkv")) as file:
            assert [stream.type for stream in file.streams] == ["audio"]
            assert sum(f.samples for f in file.decode(audio=0)) == pytest.approx(96_000, abs=2_000)
        with av.open(str(recorder.folder / "media-2.mkv")) as file:
            times = [frame.time for frame in file.decode(video=0)]
        assert times == pytest.approx([2.0 + number / 10 for number in range(10)], abs=0.01)
        with av.open(str(recorder.folder / "media-2.mkv")) as file:
            sound = [frame.time for frame in file.decode(audio=0)]
        assert sound[0] == pytest.approx(2.0, abs=0.05), "the session's times go on"

    def test_a_failure_ends_the_recording_and_is_reported_once(self, tmp_path: Path) -> None:
        recorder, reasons = SessionRecorder(tmp_path, "a", ["voice"]), list[str]()
        recorder.on_failure = reasons.append
        (recorder.folder / "media.mkv").mkdir()  # so that it cannot be written
        recorder.push_event(b"first")
        recorder.push_frame(self.tone(48_000, "stereo", 400.0), 0)
        recorder._thread.join(20.0)
        for number in range(200):
            recorder.push_frame(self.tone(48_000, "stereo", 400.0), number * 100_000)
        recorder.push_event(b"not any more")
        recorder.close(20.0)
        assert reasons == [recorder.failure] == ["Is a directory"]
        assert (recorder.folder / "events.jsonl").read_bytes() == b"first\n"


def test_a_recording_holds_the_media_and_the_events(
    recognizer: Recognizer, clip: bytes, tmp_path: Path
) -> None:
    with running(recognizer, record=tmp_path) as one:
        assert one.get("/about").json()["recording"] is True
        with connect(f"{one.ws}/ingest?name=kept") as socket:
            send(socket, clip)
            socket.send('{"type":"end"}')
            found = receive(socket)
        assert found[0]["recording"] is True
        until(lambda: not one.sessions(), "the session to end")
    (folder,) = tmp_path.iterdir()
    assert folder.stat().st_mode & 0o077 == 0, "faces and voices are for nobody else"
    lines = (folder / "events.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        f for f in found if f["type"] not in MESSAGE_TYPES
    ]
    with av.open(str(folder / "media.mkv")) as media:
        assert media.streams.video[0].width == 256
        assert sum(1 for _ in media.decode(video=0)) >= 20
    with av.open(str(folder / "media.mkv")) as media:
        loud = [float(np.abs(frame.to_ndarray()).max()) for frame in media.decode(audio=0)]
        assert max(loud) > 0.1


def test_a_failed_recording_is_reported_and_no_longer_shown(
    recognizer: Recognizer, clip: bytes, tmp_path: Path
) -> None:
    with running(recognizer, record=tmp_path) as one, connect(f"{one.ws}/ingest") as socket:
        assert receive(socket, "session")[0]["recording"] is True
        (folder,) = tmp_path.iterdir()
        (folder / "media.mkv").mkdir()  # so that it cannot be written
        send(socket, clip)
        lines = receive(socket, "state")
        while lines[-1]["recording"]:
            lines += receive(socket, "state")
        socket.send('{"type":"end"}')
        lines += receive(socket)
    warnings = [line["detail"] for line in lines if line.get("what") == "warning"]
    assert warnings == ["nothing is stored any more: Is a directory"]
    assert last_event(lines)["complete"], "the session itself goes on"


def test_nothing_is_stored_unless_asked_for(
    recognizer: Recognizer, clip: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with running(recognizer) as one, connect(f"{one.ws}/ingest") as socket:
        send(socket, clip)
        socket.send('{"type":"end"}')
        receive(socket)
    assert list(tmp_path.iterdir()) == []
