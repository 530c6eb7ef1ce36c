"""Programs that send a file over a WebSocket, and listeners: real recordings, real sockets."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

for module in ("starlette", "uvicorn", "aiortc", "prometheus_client", "websockets", "httpx"):
    pytest.importorskip(module, reason="the server comes with the 'serve' extra")

import httpx
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from affectstream.stream.errors import OptionError
from affectstream.stream.events import Emotion, Stream, parse_event
from affectstream.stream.recognizer import Recognizer
from affectstream.stream.serve.clients import subscribers
from affectstream.stream.serve.http import guard
from affectstream.stream.serve.ingest import container, upload
from affectstream.stream.serve.limits import MAX_MESSAGE_BYTES
from affectstream.stream.serve.options import ServeOptions
from affectstream.stream.serve.server import build
from affectstream.stream.serve.session import ServedSession
from tests.support.serving import (
    MESSAGE_TYPES,
    TOKEN,
    RunningServer,
    last_event,
    receive,
    recording,
    running,
    send,
    until,
)
from tests.support.small_bundles import plain


@pytest.fixture(scope="module", autouse=True)
def _many_sessions() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guard, "OPENINGS_BURST", 1e6)  # these tests ask faster than a person may
        yield


@pytest.fixture(scope="module")
def server(recognizer: Recognizer) -> Iterator[RunningServer]:
    with running(recognizer, max_sessions=3) as one:
        yield one


@pytest.mark.parametrize("container", ["webm", "mpegts"])
def test_a_recording_comes_back_as_events(
    server: RunningServer, face: NDArray[np.uint8], container: str
) -> None:
    clip = recording(face, 2.0, container)
    with connect(f"{server.ws}/ingest?format={container}&name=lab") as socket:
        send(socket, clip)
        socket.send('{"type":"end"}')
        found = receive(socket)
    assert found[0]["type"] == "session" and found[0]["recording"] is False
    events = [parse_event(json.dumps(line)) for line in found if line["type"] not in MESSAGE_TYPES]
    assert all(event.stream == "lab" for event in events)
    assert isinstance(events[0], Stream) and events[0].what == "started"
    assert isinstance(events[-1], Stream) and events[-1].what == "ended" and events[-1].complete
    assert events[-1].t_end - events[0].t_start == pytest.approx(2.0, abs=0.1), "none is squeezed"
    emotions = [event for event in events if isinstance(event, Emotion)]
    assert any(event.track == 1 and event.scores for event in emotions)
    for event in emotions:
        assert isinstance(event.latency_ms, float) and event.latency_ms >= 0
    faces = [line for line in found if line["type"] == "faces" and line["faces"]]
    assert faces and faces[-1]["faces"][0]["track"] == 1
    x0, y0, x1, y1 = faces[-1]["faces"][0]["box"]
    assert 0 < x0 < 0.5 < x1 < 1 and 0 < y0 < y1 < 1
    assert len(faces[-1]["faces"][0]["landmarks"]) == 32
    until(lambda: not server.sessions(), "the session to end")


def test_sessions_have_the_options_of_the_server(recognizer: Recognizer, clip: bytes) -> None:
    options = {"neutral_us": 1_000_000, "purpose": "a study of laughter", "consent": "form 12"}
    with running(recognizer, **options) as one, connect(f"{one.ws}/ingest") as socket:
        socket.send(clip)
        socket.send('{"type": "end"}')
        found = receive(socket)
    (started,) = [line for line in found if line.get("what") == "started"]
    assert (started["purpose"], started["consent"]) == ("a study of laughter", "form 12")
    first = next(line for line in found if line["type"] == "emotion" and line["track"])
    # Whatever the face looks like, it is this person's neutral one in the first second.
    assert max(first["scores"], key=first["scores"].get) == "neutral"


def test_a_bundle_without_neutral_samples_is_refused_before_it_listens(tmp_path: Path) -> None:
    bundle = plain(tmp_path / "b", takes=("text",), answers=("logits",))
    refused = pytest.raises(OptionError, match=r"neutral: bundle .* does not say what neutral")
    with Recognizer.open(bundle, device="cpu") as one, refused:
        build(one, ServeOptions(neutral_us=1_000_000))


def test_listeners_get_the_same_json(server: RunningServer, clip: bytes) -> None:
    with connect(f"{server.ws}/ingest?name=shared") as sender:
        number = json.loads(sender.recv(timeout=20))["session"]
        assert [s["session"] for s in server.sessions()] == [number]
        with (
            connect(f"{server.ws}/events/{number}") as plain,
            connect(f"{server.ws}/events/{number}?everything=1") as everything,
        ):
            send(sender, clip)
            sender.send('{"type":"words","t_start":0.1,"t_end":0.4,"text":"how lovely"}')
            sender.send('{"type":"end"}')
            own, events, all_of_it = receive(sender), receive(plain), receive(everything)
    assert events == [line for line in own if line["type"] not in MESSAGE_TYPES]
    assert events[-1]["what"] == "ended"
    assert {"session", "faces", "words"} <= {line["type"] for line in all_of_it}
    assert any("text" in line["modalities"] for line in events if line["type"] == "emotion")


def test_a_late_listener_gets_the_started_event(server: RunningServer, clip: bytes) -> None:
    with connect(f"{server.ws}/ingest", close_timeout=0.5) as sender:
        number = json.loads(sender.recv(timeout=20))["session"]
        send(sender, clip)
        own = receive(sender, "emotion")
        with connect(f"{server.ws}/events/{number}") as late:
            first = json.loads(late.recv(timeout=20))
            sender.send('{"type":"end"}')
            rest = receive(late)
    assert first == next(line for line in own if line["type"] == "stream")
    assert first["what"] == "started"
    assert "started" not in [line.get("what") for line in rest]
    until(lambda: not server.sessions(), "the session to end")


def test_another_client_can_end_a_session(server: RunningServer) -> None:
    with connect(f"{server.ws}/ingest") as socket:
        number = receive(socket, "session")[-1]["session"]
        assert httpx.delete(f"{server.address}/sessions/{number}").json()["session"] == number
        assert receive(socket)[-1]["what"] == "ended"
    assert httpx.delete(f"{server.address}/sessions/{number}").status_code == 404


def test_pings_and_nonsense_are_answered(server: RunningServer) -> None:
    with connect(f"{server.ws}/ingest") as socket:
        receive(socket, "session")
        socket.send('{"type":"ping","t":5}')
        assert receive(socket, "pong")[-1]["t"] == 5
        socket.send("nonsense")
        assert "not a message" in receive(socket, "error")[-1]["error"]
        socket.send("x" * 100_000)
        assert "characters" in receive(socket, "error")[-1]["error"]


@pytest.mark.parametrize(
    ("container", "junk", "found"),
    [
        ("webm", os.urandom(60_000), "is not webm and not known (it begins with "),
        ("webm", b"\0" * 60_000, "is not webm and not known (it begins with 00 00 00"),
        ("webm", b"\x1a\x45\xdf\xa3" * 9000, "begins as webm and cannot be read"),
        ("webm", b"This is no film. " * 2000, "is text"),
        ("webm", b"hi", "is text"),
        ("webm", b"", "nothing was sent"),
        ("webm", b"\0\0\0\x20ftypisom" + b"\0" * 5000, "is an MP4 or MOV file"),
        ("webm", b"\x47" + b"\x1f" * 187 + b"\x47" + b"\x1f" * 187, "/ingest?format=mpegts"),
        ("mpegts", os.urandom(200_000), "is not mpegts and not known"),
        ("mpegts", b"This is no film. " * 2000, "is text"),
        ("mpegts", b"", "nothing was sent"),
    ],
)
def test_an_upload_that_is_no_media_is_answered_and_closed(
    server: RunningServer, container: str, junk: bytes, found: str
) -> None:
    with connect(f"{server.ws}/ingest?format={container}&name=odd") as socket:
        send(socket, junk)
        socket.send('{"type":"end"}')
        lines = receive(socket)
        (error,) = [line["error"] for line in lines if line["type"] == "error"]
        assert found in error
        assert f"?format={container}" in error or "expected " in error or "ask for" in error
        assert socket.close_code == 1003
    last = last_event(lines)
    assert (last["what"], last["complete"]) == ("ended", False)
    assert last["detail"] == f"odd: {error}"
    until(lambda: not server.sessions(), "the session to end")


@pytest.mark.parametrize("container", ["webm", "mpegts"])
def test_a_truncated_upload_is_processed_and_reported(
    server: RunningServer, face: NDArray[np.uint8], container: str
) -> None:
    whole = recording(face, 2.0, container)
    with connect(f"{server.ws}/ingest?format={container}") as socket:
        send(socket, whole[: len(whole) * 3 // 5 + 1])
        socket.send('{"type":"end"}')
        lines = receive(socket)
        assert socket.close_code == 1000
    assert any(line["type"] == "emotion" and line["scores"] for line in lines)
    last = last_event(lines)
    assert (last["what"], last["complete"]) == ("ended", False)
    assert "what was sent is cut off" in last["detail"]
    assert 0.5 < last["t_end"] < 1.9
    until(lambda: not server.sessions(), "the session to end")


def upload_result(
    server: RunningServer, sent: bytes, container: str
) -> tuple[dict[str, Any], list[str]]:
    """The last event of a session that was sent this, and its warnings."""
    with connect(f"{server.ws}/ingest?format={container}&name=odd") as socket:
        send(socket, sent)
        socket.send('{"type":"end"}')
        lines = receive(socket)
    until(lambda: not server.sessions(), "the session to end")
    return last_event(lines), [line["detail"] for line in lines if line.get("what") == "warning"]


def test_damage_within_an_upload_is_counted(server: RunningServer, face: NDArray[np.uint8]) -> None:
    """The warning counts what FFmpeg reports when it reads the same bytes here."""
    broken = bytearray(recording(face, 2.0, "mpegts"))
    for start in range(len(broken) // 2, len(broken), 1500):
        broken[start : start + 40] = bytes(range(40))
    bad = 0
    with av.open(io.BytesIO(broken), "r", format="mpegts", options=container._OPTIONS) as file:
        for packet in file.demux():
            try:
                bad += sum(frame.is_corrupt or frame.pts is None for frame in packet.decode())
            except av.FFmpegError:
                bad += 1
    assert bad > 5
    last, warnings = upload_result(server, bytes(broken), "mpegts")
    assert last["what"] == "ended"
    assert f"{bad} packets or pictures could not be decoded" in warnings


@pytest.mark.slow
def test_skipped_bytes_of_a_webm_are_reported(
    server: RunningServer, face: NDArray[np.uint8]
) -> None:
    """FFmpeg searches for the next part that it knows, without a message."""
    whole = recording(face, 6.0)
    assert "damaged" not in " ".join(upload_result(server, whole, "webm")[1]), (
        "nothing is wrong with it"
    )
    holed = bytearray(whole)
    holed[60_000:110_000] = bytes(50_000)
    last, warnings = upload_result(server, bytes(holed), "webm")
    assert any(re.search(r"\d+ bytes are damaged and were skipped", w) for w in warnings)
    assert last["complete"]
    ruined = whole[:60_000] + bytes(len(whole) - 60_000)
    last, _ = upload_result(server, ruined, "webm")
    assert not last["complete"]
    assert re.search(r"damaged: nothing after \d+ of \d+ bytes was read", last["detail"])


@pytest.mark.parametrize(
    ("replace", "why"), [(b"V_VPX", "cannot decode here"), (b"", "are missing")]
)
def test_an_upload_without_pictures_says_why(
    server: RunningServer, clip: bytes, replace: bytes, why: str
) -> None:
    if replace:
        sent = clip.replace(b"V_VP8", replace)  # a codec that nobody knows
    else:
        sent = sound_only()
    last, warnings = upload_result(server, sent, "webm")
    assert last["complete"]
    (warning,) = warnings
    assert "the pictures" in warning and why in warning


@pytest.mark.parametrize("container", ["webm", "mpegts"])
def test_pictures_above_the_limit_are_refused_before_they_are_decoded(
    recognizer: Recognizer, face: NDArray[np.uint8], container: str
) -> None:
    sent = recording(face, 1.0, container)
    with running(recognizer, max_pixels=256 * 255) as one:
        last, warnings = upload_result(one, sent, container)
    assert last["counts"]["frames"] == 0
    # The head of a WebM states the size; of MPEG-TS only the sound is read.
    assert last["complete"] == (container == "mpegts")
    assert "65,280" in " ".join([str(last["detail"]), *warnings])


def test_pictures_that_grow_above_the_limit_are_not_decoded(
    recognizer: Recognizer, face: NDArray[np.uint8]
) -> None:
    """The head of the file states a smaller size than its pictures have."""
    sent = recording(face, 2.0)
    smaller = sent.replace(b"\xb0\x82\x01\x00\xba\x82\x01\x00", b"\xb0\x82\x00\x40\xba\x82\x00\x40")
    assert smaller != sent
    with running(recognizer, max_pixels=256 * 255) as one:
        last, warnings = upload_result(one, smaller, "webm")
    assert last["counts"]["frames"] == 0
    assert "30 packets or pictures could not be decoded" in warnings


def sound_only() -> bytes:
    """Two seconds of a tone as WebM."""
    out = io.BytesIO()
    with av.open(out, "w", format="webm") as file:
        stream = file.add_stream("libopus", rate=48_000, layout="mono")
        for number in range(100):
            frame = av.AudioFrame.from_ndarray(
                np.full((1, 960), 99, np.int16), format="s16", layout="mono"
            )
            frame.sample_rate, frame.pts = 48_000, number * 960
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return out.getvalue()


def test_a_server_error_makes_the_session_incomplete(
    recognizer: Recognizer, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr(ServedSession, "push_frame", fail)
    with running(recognizer) as one, connect(f"{one.ws}/ingest?name=odd") as socket:
        send(socket, clip)
        lines = receive(socket)
        assert socket.close_code == 1011
        assert "nobody thought of this" in str(socket.close_reason)
    (error,) = [line["error"] for line in lines if line["type"] == "error"]
    assert "an error of the server" in error
    assert (last_event(lines)["complete"], last_event(lines)["detail"]) == (False, f"odd: {error}")


@pytest.mark.parametrize("properly", [True, False])
def test_a_broken_connection_makes_the_session_incomplete(
    recognizer: Recognizer, clip: bytes, tmp_path: Path, properly: bool
) -> None:
    with running(recognizer, record=tmp_path) as one:
        with connect(f"{one.ws}/ingest", close_timeout=0.5) as socket:
            send(socket, clip)
            receive(socket, "emotion")
            until(lambda: one.sessions()[0]["frames_in"] == 30, "all of it to be read")
            if not properly:
                socket.socket.shutdown(2)
        until(lambda: not one.sessions(), "the session to end")
    (stored,) = tmp_path.glob("*/events.jsonl")
    last = json.loads(stored.read_text().splitlines()[-1])
    assert (last["what"], last["complete"]) == ("ended", properly)
    assert properly or "the connection broke off" in last["detail"]


def test_a_client_that_sends_fast_is_not_disconnected(
    recognizer: Recognizer, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answers to pings wait behind what it sent, and that is read at the pace of the recording."""
    monkeypatch.setattr(container, "_MAX_BUFFERED_BYTES", len(clip) // 8)
    with running(recognizer) as one:
        one.server.config.ws_ping_interval, one.server.config.ws_ping_timeout = 0.1, 0.1
        with connect(f"{one.ws}/ingest") as socket:
            send(socket, clip)
            socket.send('{"type":"end"}')
            lines = receive(socket)
            assert socket.close_code == 1000
    assert last_event(lines)["complete"] and last_event(lines)["t_end"] > 1.9


def test_a_huge_message_ends_the_connection(server: RunningServer) -> None:
    with connect(f"{server.ws}/ingest") as socket:
        socket.send(b"\x00" * (MAX_MESSAGE_BYTES + 1))
        receive(socket)
        assert socket.close_code == 1009, "too big"
    assert server.get("/healthz").status_code == 200
    until(lambda: not server.sessions(), "the session to end")


def test_a_client_that_vanishes_ends_its_session(server: RunningServer, clip: bytes) -> None:
    with connect(f"{server.ws}/ingest") as socket:
        send(socket, clip[: len(clip) // 2])
        until(server.sessions, "the session")
        socket.socket.shutdown(2)
    until(lambda: not server.sessions(), "the session to end")


def test_one_session_too_many_is_refused_with_the_reason(recognizer: Recognizer) -> None:
    with running(recognizer, max_sessions=1) as one, connect(f"{one.ws}/ingest") as first:
        receive(first, "session")
        with pytest.raises(InvalidStatus) as refused, connect(f"{one.ws}/ingest"):
            pass
        assert refused.value.response.status_code == 503
        assert "all 1 sessions" in json.loads(refused.value.response.body)["error"]
        assert refused.value.response.headers["retry-after"] == "5"
        assert one.get("/readyz").status_code == 503
        first.close()
        until(lambda: one.get("/readyz").status_code == 200, "the place to be free again")


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/events/0123456789ab", 404, "no such session"),
        ("/ingest?format=avi", 400, "expected one of webm, mpegts"),
        ("/ingest?modalities=smell", 400, "expected video, voice"),
        ("/ingest?modalities=", 422, "sends nothing"),
        ("/sessions", 404, "no WebSocket here"),
    ],
)
def test_invalid_websocket_requests_are_refused(
    server: RunningServer, path: str, status: int, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(InvalidStatus) as refused, connect(server.ws + path):
        pass
    assert refused.value.response.status_code == status
    assert error in json.loads(refused.value.response.body)["error"]
    assert not caplog.records, "what anyone can cause must not fill a log"


def test_websockets_need_the_token_and_an_allowed_origin(recognizer: Recognizer) -> None:
    with running(recognizer, token=TOKEN) as one:
        for path in ("/ingest", f"/ingest?token={TOKEN[:-1]}", "/events/x"):
            with pytest.raises(InvalidStatus) as refused, connect(one.ws + path):
                pass
            assert refused.value.response.status_code == 401
        with (
            pytest.raises(InvalidStatus) as refused,
            connect(f"{one.ws}/ingest?token={TOKEN}", origin=Origin("http://evil.example")),
        ):
            pass
        assert refused.value.response.status_code == 403
        with connect(f"{one.ws}/ingest?token={TOKEN}", origin=Origin(one.address)) as socket:
            assert receive(socket, "session")


def test_a_listener_that_never_reads_delays_nobody(
    recognizer: Recognizer, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One listener stops reading: its queue fills, drops and is given up; the other gets every event."""
    monkeypatch.setattr(upload, "TEXTS_BURST", 1e6)
    monkeypatch.setattr(
        subscribers.SendQueue.__init__, "__kwdefaults__", {"max_lines": 4, "observe": None}
    )
    monkeypatch.setattr(subscribers.SendQueue.deliver, "__kwdefaults__", {"patience_s": 1.0})
    with running(recognizer, max_sessions=2) as one, connect(f"{one.ws}/ingest") as sender:
        number = receive(sender, "session")[-1]["session"]
        port = int(one.address.rpartition(":")[2])
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        deaf.connect(("127.0.0.1", port))
        deaf.sendall(
            f"GET /events/{number}?everything=1 HTTP/1.1\r\nHost: localhost\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        until(lambda: one.sessions()[0]["listeners"] == 2, "both to listen")
        received: list[dict[str, Any]] = []
        reading = threading.Thread(target=lambda: received.extend(receive(sender)))
        reading.start()
        words = json.dumps({"type": "words", "t_start": 0, "t_end": 1, "text": "x" * 1900})
        for _ in range(4000):  # more than every buffer on the way holds
            sender.send(words)
            if one.server.hub.totals.dropped:
                break
        send(sender, clip)
        sender.send('{"type":"end"}')
        reading.join(30)
        assert not reading.is_alive()
        assert received[-1].get("what") == "ended"
        deaf.close()
        until(lambda: one.server.hub.totals.dropped > 0, "its drops to be counted")
        until(lambda: not one.sessions(), "the session to end")


def test_a_shutdown_sends_the_last_events(recognizer: Recognizer, clip: bytes) -> None:
    with running(recognizer) as one, connect(f"{one.ws}/ingest") as socket:
        send(socket, clip)
        receive(socket, "emotion")
        one.server.should_exit = True
        found = receive(socket)
        assert [line["what"] for line in found if line["type"] == "stream"][-1] == "ended"
    assert one.server.totals is not None and one.server.totals.delivered > 0
    names = [t.name for t in threading.enumerate()]
    assert not [n for n in names if n.startswith(("live", "ingest", "record"))]


@pytest.mark.slow
def test_the_programs_of_the_documentation_run(
    server: RunningServer, face: NDArray[np.uint8], tmp_path: Path
) -> None:
    clip = recording(face, 6.0)
    page = (Path(__file__).parents[4] / "docs/guides/serve.md").read_text()
    listening, sending, _ = re.findall(r"^```py\n(.*?)^```", page, re.M | re.S)
    file = tmp_path / "clip.webm"
    file.write_bytes(clip)

    def start(code: str, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, server.address, *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    sender = start(sending, file)
    until(server.sessions, "the session")
    listener = start(listening)
    sent, received = sender.communicate(timeout=60)[0], listener.communicate(timeout=60)[0]
    assert sender.returncode == listener.returncode == 0
    assert '"what":"ended"' in sent
    assert all(line.split()[1] in ("1", "None") for line in received.splitlines())
