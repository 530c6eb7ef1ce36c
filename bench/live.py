"""How quickly live sources of each kind become events, and how far sound and pictures are apart.

A sender in a process of its own plays a clip (640x360, 30 frames a second, H.264 without delay, AAC): a face
before a wall that flashes once a second, with a beep. For each kind of source:

    opens_s     from the start of opening to the first picture that is used
    way_ms      from a flash at the sender to its picture decoded here (median)
    age_ms      from the arrival of the newest picture that was used to the event (see `docs/live.md`)
    latency_ms  from the completion of the window to the event
    skew_ms     how much later the flash is than the beep, on the session's clock (median)

Not covered: a real camera's and microphone's own delays, browsers (`docs/serve.md`).

    affectstream bench live --seconds 20
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import av
import numpy as np

from affectstream.bench.machine import describe
from affectstream.stream.demo import HEIGHT, WIDTH, babble, portrait, render
from affectstream.stream.events import Attention, Emotion, Event
from affectstream.stream.live.attempt import Delivery
from affectstream.stream.live.latency import quantile
from affectstream.stream.live.skew import FlashBeep
from affectstream.stream.live.source import LiveOptions, LiveSource
from affectstream.stream.media import SAMPLE_RATE, Kind
from affectstream.stream.recognizer import Recognizer
from affectstream.stream.resample import SoundResampler

FPS = 30
CLIP_S = 4
_FLASH_S = 0.1
_WALL = np.array((52, 58, 66), np.uint8)
_JUMP = 40.0


@dataclass(frozen=True, slots=True)
class Way:
    """One kind of source: where it is read, and how it is sent there."""

    name: str
    url: str
    send: str | None = None
    format: str = "mpegts"
    listen: bool = False
    options: tuple[str, ...] = ()


def kinds(clip: Path) -> tuple[Way, ...]:
    """Every kind that PyAV alone can both send and read, on free ports of this machine."""
    udp, tcp, rtmp, rtsp, http = (f"127.0.0.1:{_port()}" for _ in range(5))
    return (
        Way("file, played", str(clip)),
        Way("MPEG-TS, UDP", f"udp://{udp}", f"udp://{udp}?pkt_size=1316"),
        Way("MPEG-TS, TCP", f"tcp://{tcp}", f"tcp://{tcp}?listen=1"),
        Way("RTMP, published", f"rtmp://{rtmp}/live/a", f"rtmp://{rtmp}/live/a", "flv", True),
        Way(
            "RTSP, published",
            f"rtsp://{rtsp}/a",
            f"rtsp://{rtsp}/a",
            "rtsp",
            True,
            ("rtsp_transport=tcp",),
        ),
        Way("HTTP-FLV, published", f"http://{http}/a", f"http://{http}/a", "flv", True),
    )


@dataclass(slots=True)
class Tap:
    """What is seen and heard on the way in."""

    first_s: float | None = None
    flashes_s: list[float] = field(default_factory=list)
    meter: FlashBeep = field(default_factory=FlashBeep)
    _sound: SoundResampler = field(default_factory=lambda: SoundResampler(gather=50))
    _level: float | None = None

    def __call__(self, delivery: Delivery, t_us: int) -> None:
        """Look at the brightness of each picture, listen to all sound."""
        if isinstance(delivery.frame, av.VideoFrame):
            self.first_s = self.first_s or delivery.arrived_s
            grey = np.asarray(delivery.frame.to_ndarray(format="gray"), np.uint8)
            level = float(grey[::8, ::8].mean())
            if self._level is not None and level - self._level > _JUMP:
                self.flashes_s.append(delivery.arrived_s)
            self._level = level
            self.meter.see(grey, t_us)
        elif delivery.kind is Kind.AUDIO:
            # A copy: the resampler takes the time off the frame that it is given.
            frame = av.AudioFrame.from_ndarray(
                delivery.frame.to_ndarray(),
                format=delivery.frame.format.name,
                layout=delivery.frame.layout.name,
            )
            frame.sample_rate = delivery.frame.sample_rate
            for run in self._sound.push(frame, t_us):
                self.meter.hear(run)


def main(seconds: float, bundle: str) -> None:
    """Measure each kind in turn and print the table."""
    rows: list[dict[str, Any]] = []
    heads = ("opens_s", "events_s", "way_ms", "age_ms", "latency_ms", "skew_ms", "lost", "cpu")
    print(f"{'source':22}" + "".join(f"{head:>17}" for head in heads))
    with TemporaryDirectory() as scratch, Recognizer.open(bundle, device="cpu") as recognizer:
        clip = write_flashes(Path(scratch) / "flashes.mp4")
        for kind in kinds(clip):
            row = measure_kind(recognizer, kind, clip, seconds)
            rows.append(row)
            print(f"{row['source']:22}" + "".join(f"{_shown(row[head]):>17}" for head in heads))
    print(
        json.dumps(
            {
                "bench": "live",
                "seconds": seconds,
                "bundle": bundle,
                "load_before": round(os.getloadavg()[0], 2),
                "sources": rows,
                "machine": describe(),
            }
        )
    )


def measure_kind(recognizer: Recognizer, kind: Way, clip: Path, seconds: float) -> dict[str, Any]:
    """One row of the table; three quantiles (50, 95, 99 %) for the delays of events."""
    events: list[Event] = []
    tap = Tap()
    live = LiveOptions(source=kind.url, listen=kind.listen)
    source = LiveSource(recognizer, live, emit=events.append, tap=tap)
    sender = None if kind.listen else _sender(kind, clip)
    began_s = time.monotonic()
    if kind.listen:
        # The publisher comes when someone waits for it: the wait is not part of opening.
        sender, began_s = _published(source, kind, clip)
    else:
        source.open()
    started, cpu = time.monotonic(), time.process_time()
    while time.monotonic() - started < seconds and not source.wait(0.1):
        pass
    used_s, cpu_s = time.monotonic() - started, time.process_time() - cpu
    ended = source.close()
    sent_s = None
    if sender is not None:
        assert sender.stdout is not None
        sent_s = float(sender.stdout.readline())
        sender.kill()
        sender.wait()
    assert ended is not None
    timed = [event for event in events if isinstance(event, Emotion | Attention)]
    return {
        "source": kind.name,
        "opens_s": round((tap.first_s or began_s) - began_s, 2),
        "events_s": round(len(timed) / used_s, 1),
        "way_ms": _way(tap.flashes_s, sent_s),
        "age_ms": _quantiles([event.age_ms for event in timed]),
        "latency_ms": _quantiles([event.latency_ms for event in timed]),
        "skew_ms": None if tap.meter.skew_ms is None else round(tap.meter.skew_ms, 1) + 0.0,
        "lost": ended.counts["dropped"] + ended.counts["late"],
        "cpu": round(cpu_s / used_s, 2),
        "pairs": len(tap.meter.pairs_us),
    }


def write_flashes(path: Path) -> Path:
    """The clip: each whole second begins with a flash of the wall and a beep of a tenth of a second."""
    face = portrait()
    with av.open(str(path), "w") as container:
        video = container.add_stream(
            "libx264",
            rate=FPS,
            options={"preset": "ultrafast", "tune": "zerolatency", "g": str(FPS // 2)},
        )
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sound = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        for index in range(CLIP_S * FPS):
            rgb = render(face, index / FPS / 2)
            if index % FPS < _FLASH_S * FPS:
                rgb[(rgb == _WALL).all(axis=2)] = 245
            container.mux(video.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        for frame in _beeps():
            container.mux(sound.encode(frame))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return path


def _beeps() -> list[av.AudioFrame]:
    """Quiet babble, so that there is a voice, with a loud tone at each whole second."""
    times = np.arange(CLIP_S * SAMPLE_RATE) / SAMPLE_RATE
    quiet = babble(CLIP_S)
    data = 0.02 * quiet / np.abs(quiet).max()
    data += 0.5 * np.sin(2 * np.pi * 1000 * times) * (times % 1.0 < _FLASH_S)
    frames = []
    for first in range(0, len(data), 1024):
        block = np.ascontiguousarray(data[None, first : first + 1024], np.float32)
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, first
        frame.time_base = Fraction(1, SAMPLE_RATE)
        frames.append(frame)
    return frames


def _sender(kind: Way, clip: Path) -> subprocess.Popen[str] | None:
    if kind.send is None:
        return None
    command = [sys.executable, "-m", "affectstream.bench.sender", str(clip), kind.send, kind.format]
    process = subprocess.Popen(
        [*command, "3600", *kind.options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    time.sleep(2.0)  # Python has to start
    return process


def _published(
    source: LiveSource, kind: Way, clip: Path
) -> tuple[subprocess.Popen[str] | None, float]:
    """Wait for a publisher and start it; when it was there."""
    failed: list[BaseException] = []

    def opening() -> None:
        try:
            source.open()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=opening, daemon=True)
    thread.start()
    time.sleep(1.0)
    sender = _sender(kind, clip)
    began_s = time.monotonic() - 2.0
    thread.join(20)
    if failed:
        raise failed[0]
    return sender, began_s


def _way(flashes_s: list[float], sent_s: float | None) -> float | None:
    """Each flash leaves at a whole second of the sender; less than a second passes on the way."""
    if sent_s is None or not flashes_s:
        return None
    return round(median((flash - sent_s) % 1.0 for flash in flashes_s) * 1e3, 1)


def _quantiles(values: list[Any]) -> list[float] | None:
    found = [quantile(values, share) for share in (0.5, 0.95, 0.99)]
    return [round(value, 1) for value in found if value is not None] or None


def _shown(value: object) -> str:
    return " ".join(map(_shown, value)) if isinstance(value, list) else str(value)


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
