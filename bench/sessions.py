"""Many live sessions on one machine: latency against their number, and what gives where it is full.

A server is started (`affectstream serve`), and each session sends the same recording, as WebM at 640x360
and 30 pictures a second, at its own pace over a WebSocket of its own. Latency is that of the events; the
processor time is the server's, decoding included. Network, camera and browser are not in it.

    affectstream bench sessions --counts 1,2,4,8 --seconds 30
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import numpy as np

from affectstream.bench.machine import describe
from affectstream.bench.material import demo_recording
from affectstream.stream.errors import SourceError

_SIZE, _FPS, _RATE = (640, 360), 30, 48_000
_CHUNK_S = 0.1
_WARM_S = 5.0
"""Events of the first seconds do not count."""
_AIM_MS = 150.0


@dataclass(frozen=True, slots=True)
class Row:
    """What one number of sessions gave, all sessions together. Milliseconds; `cpu` in cores."""

    sessions: int
    events_per_s: float
    latency_p50: float
    latency_p95: float
    latency_p99: float
    age_p50: float
    frame_hz: float
    dropped_share: float
    cpu: float


def main(
    file: Path | None, bundle: str, device: str, counts: Sequence[int], seconds: float
) -> None:
    """Measure and print."""
    with TemporaryDirectory() as scratch:
        path = file or demo_recording(seconds, Path(scratch))
        chunks = webm(path, seconds + _WARM_S)
    rows = []
    print("sessions  events/s  latency p50   p95   p99 ms  age p50  frame Hz  dropped  CPU cores")
    for count in counts:
        with serving(bundle, device, count) as (process, address):
            row = _measure(process, address, chunks, count)
        rows.append(row)
        print(
            f"{count:8d}  {row.events_per_s:8.1f}  {row.latency_p50:11.0f} {row.latency_p95:5.0f} "
            f"{row.latency_p99:5.0f}     {row.age_p50:7.0f}  {row.frame_hz:8.1f}  "
            f"{row.dropped_share:6.1%}  {row.cpu:9.2f}"
        )
    full_hz = max(row.frame_hz for row in rows)
    good = [row for row in rows if row.latency_p95 <= _AIM_MS and row.frame_hz == full_hz]
    within = [row.sessions for row in good]
    print(f"p95 under {_AIM_MS:g} ms at the full rate: up to {max(within, default=0)} sessions")
    figures = [{name: getattr(row, name) for name in Row.__slots__} for row in rows]
    print(json.dumps({"bench": "sessions", "rows": figures, "machine": describe()}))


@contextmanager
def serving(bundle: str, device: str, count: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server for `count` sessions on a free port: its process and its address."""
    code = "from affectstream.stream.cli import main; main()"
    options = ["--port", "0", "--bundle", bundle, "--device", device, "--max-sessions", str(count)]
    command = [sys.executable, "-c", code, "serve", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.terminate()


def _measure(
    process: subprocess.Popen[str], address: str, chunks: Sequence[tuple[float, bytes]], count: int
) -> Row:
    import psutil

    clients = [_Client(address, chunks) for _ in range(count)]
    watched = psutil.Process(process.pid)
    before, start_s = sum(watched.cpu_times()[:2]), time.monotonic()
    for number, client in enumerate(clients):
        client.thread.start()
        time.sleep(0.5 / count if number + 1 < count else 0.0)  # so that hops do not coincide
    for client in clients:
        client.thread.join()
    wall_s = time.monotonic() - start_s
    cpu = (sum(watched.cpu_times()[:2]) - before) / wall_s
    events = [event for client in clients for event in client.events if event["t_end"] > _WARM_S]
    if not events:
        raise SourceError(f"{count} sessions gave no events: is the server all right?")
    latency = np.percentile([event["latency_ms"] for event in events], [50, 95, 99])
    states = [client.state for client in clients]
    frames = sum(state.get("frames_used", 0) + state.get("frames_dropped", 0) for state in states)
    dropped = sum(state.get("frames_dropped", 0) for state in states)
    return Row(
        sessions=count,
        events_per_s=round(len(events) / (wall_s - _WARM_S), 2),
        latency_p50=round(float(latency[0]), 1),
        latency_p95=round(float(latency[1]), 1),
        latency_p99=round(float(latency[2]), 1),
        age_p50=round(float(np.median([event["age_ms"] for event in events])), 1),
        frame_hz=round(float(np.mean([state.get("frame_hz", 0) for state in states])), 1),
        dropped_share=round(dropped / max(1, frames), 4),
        cpu=round(cpu, 3),
    )


class _Client:
    """One session: sends at the pace of the recording, and keeps the emotion events."""

    def __init__(self, address: str, chunks: Sequence[tuple[float, bytes]]) -> None:
        self._address, self._chunks = address.replace("http", "ws", 1), chunks
        self.events: list[dict[str, Any]] = []
        self.state: dict[str, Any] = {}
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        from websockets.sync.client import connect

        with connect(f"{self._address}/ingest?format=webm") as socket:
            reading = threading.Thread(target=self._read, args=(socket,))
            reading.start()
            start_s = time.monotonic()
            for at_s, data in self._chunks:
                time.sleep(max(0.0, start_s + at_s - time.monotonic()))
                socket.send(data)
            socket.send('{"type":"end"}')
            reading.join()

    def _read(self, socket: Any) -> None:
        for line in socket:
            message = json.loads(line)
            if message["type"] == "emotion":
                self.events.append(message)
            elif message["type"] == "state":
                self.state = message


def webm(path: Path, seconds: float) -> list[tuple[float, bytes]]:
    """`seconds` of the recording, repeated as needed: what a browser's recorder would have sent, when."""
    out, chunks, sent = io.BytesIO(), [], 0
    live = {"cluster_time_limit": "100", "live": "1"}
    with av.open(out, "w", format="webm", options=live) as file:
        options = {"deadline": "realtime", "cpu-used": "8", "g": "60", "b": "1000000"}
        video = file.add_stream("libvpx", rate=_FPS, options=options)
        video.width, video.height, video.pix_fmt = *_SIZE, "yuv420p"
        sound = file.add_stream("libopus", rate=_RATE, layout="mono")
        count, samples, due_s = 0, 0, _CHUNK_S
        for picture, voice in _repeated(path):
            t_s = count / _FPS
            if t_s >= seconds:
                break
            frame = picture.reformat(*_SIZE, format="yuv420p")
            frame.pts, frame.time_base, frame.pict_type = count, Fraction(1, _FPS), 0
            file.mux(video.encode(frame))
            heard = av.AudioFrame.from_ndarray(voice[None], format="s16", layout="mono")
            heard.sample_rate, heard.pts, heard.time_base = _RATE, samples, Fraction(1, _RATE)
            file.mux(sound.encode(heard))
            count, samples = count + 1, samples + len(voice)
            if t_s >= due_s:
                data = out.getvalue()
                chunks.append((t_s, data[sent:]))
                sent, due_s = len(data), due_s + _CHUNK_S
    return [chunk for chunk in chunks if chunk[1]]


def _repeated(path: Path) -> Iterator[tuple[av.VideoFrame, np.ndarray[Any, np.dtype[np.int16]]]]:
    """Pictures at 30 a second, each with its sound, over and over."""
    pictures, voice = _decoded(path)
    per = _RATE // _FPS
    count = 0
    while True:
        at = count % len(pictures)
        start = at * per
        piece = voice[start : start + per]
        yield pictures[at], np.pad(piece, (0, per - len(piece)))
        count += 1


def _decoded(path: Path) -> tuple[list[av.VideoFrame], np.ndarray[Any, np.dtype[np.int16]]]:
    pictures: list[av.VideoFrame] = []
    voice: list[np.ndarray[Any, np.dtype[np.int16]]] = []
    resampler = av.AudioResampler("s16", "mono", _RATE)
    with av.open(str(path)) as file:
        if not file.streams.video:
            raise SourceError(f"{path}: has no pictures: give a recording with a face in it")
        streams = [*file.streams.video[:1], *file.streams.audio[:1]]
        for frame in file.decode(streams):
            if isinstance(frame, av.AudioFrame):
                voice += [part.to_ndarray()[0] for part in resampler.resample(frame)]
            elif isinstance(frame, av.VideoFrame):
                while len(pictures) <= (frame.time or 0.0) * _FPS:
                    pictures.append(frame)
            if len(pictures) > 20 * _FPS:  # as much as is worth holding
                break
    return pictures, np.concatenate(voice) if voice else np.zeros(0, np.int16)
