"""Every kind of network source on this machine: how it is opened, and the sender that plays the clip."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from affectstream.bench.live.row import Unmeasured
from affectstream.bench.live.rtp import sdp
from affectstream.stream.live.source import LiveOptions

_START_S = 60.0
"""Long, because a busy machine starts Python slowly."""
_SEGMENTS = 3


class Sender:
    """`bench.live.sender` in another process. `began_s` is when it began to send, None before."""

    def __init__(self, clip: Path, url: str, format_name: str, options: Sequence[str]) -> None:
        """Start it and return when it is about to connect. Raises `Unmeasured` if it does not start."""
        self.began_s: float | None = None
        command = [
            sys.executable,
            "-m",
            "affectstream.bench.live.sender",
            str(clip),
            url,
            format_name,
        ]
        self._process = subprocess.Popen(
            [*command, "3600", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._ready = False
        reported = threading.Event()
        threading.Thread(target=self._follow, args=(reported,), daemon=True).start()
        reported.wait(_START_S)
        if not self._ready:
            self.close()
            raise Unmeasured(f"the sender did not start within {_START_S:g} s")

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def _follow(self, reported: threading.Event) -> None:
        assert self._process.stdout is not None
        self._ready = self._process.stdout.readline() == "ready\n"  # "" if it ended
        reported.set()
        with suppress(ValueError):  # it ended before it began to send
            self.began_s = float(self._process.stdout.readline())


@dataclass(frozen=True, slots=True)
class NetworkSource:
    """One kind of source: how it is opened, and how the clip gets there."""

    name: str
    live: LiveOptions
    url: str | None = None
    """Where the sender sends to; None for a file."""
    format: str = "mpegts"
    options: tuple[str, ...] = ()
    """``NAME=VALUE`` for FFmpeg, of the sender."""
    commands: tuple[tuple[str, ...], ...] = ()
    """Programs that run at the same time."""
    is_ready: Callable[[], bool] = lambda: True
    """Whether the source can be opened."""
    missing: str | None = None
    """What this machine lacks."""

    @contextmanager
    def playing(self, clip: Path) -> Iterator[Sender | None]:
        """Send the clip in a loop. Raises `Unmeasured` if that is not possible here."""
        if self.missing is not None:
            raise Unmeasured(self.missing)
        with ExitStack() as stack:
            for command in self.commands:
                stack.enter_context(_running(command))
            if self.url is None:
                yield None
                return
            sender = Sender(clip, self.url, self.format, self.options)
            stack.enter_context(closing(sender))
            end_s = time.monotonic() + _START_S
            while not self.is_ready():
                if time.monotonic() > end_s:
                    raise Unmeasured(
                        f"the output of the sender did not appear within {_START_S:g} s"
                    )
                time.sleep(0.05)
            yield sender


def network_sources(clip: Path, scratch: Path) -> tuple[NetworkSource, ...]:
    """A played file and every network source of `docs/guides/live.md`, on free ports of this machine."""
    udp, tcp, rtmp, rtsp, rtsp_udp, flv, ts = (f"127.0.0.1:{_free_port()}" for _ in range(7))
    rtp_ts = f"rtp://127.0.0.1:{_free_ports()}"
    return (
        NetworkSource("file, played", LiveOptions(str(clip))),
        NetworkSource("MPEG-TS, UDP", LiveOptions(f"udp://{udp}"), f"udp://{udp}?pkt_size=1316"),
        NetworkSource("MPEG-TS, TCP", LiveOptions(f"tcp://{tcp}"), f"tcp://{tcp}?listen=1"),
        _published("RTMP, published", f"rtmp://{rtmp}/live/a", "flv"),
        _published("RTSP, published", f"rtsp://{rtsp}/a", "rtsp", "rtsp_transport=tcp"),
        _published("RTSP, UDP, published", f"rtsp://{rtsp_udp}/a", "rtsp", "rtsp_transport=udp"),
        _published("HTTP-FLV, published", f"http://{flv}/a", "flv"),
        _published("HTTP-TS, published", f"http://{ts}/a", "mpegts"),
        _hls(scratch),
        NetworkSource("MPEG-TS, RTP", LiveOptions(rtp_ts), rtp_ts, "rtp_mpegts"),
        _rtp(clip, scratch),
        _srt(),
    )


def _published(name: str, url: str, format_name: str, *options: str) -> NetworkSource:
    """A source that waits for a publisher; both get the options."""
    ffmpeg = dict(option.split("=", 1) for option in options)
    return NetworkSource(
        name, LiveOptions(url, listen=True, ffmpeg=ffmpeg), url, format_name, options
    )


def _hls(scratch: Path) -> NetworkSource:
    """Segments of one second in a folder, and a web server for it."""
    folder, port = scratch / "hls", _free_port()
    folder.mkdir()
    serve = (sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1")
    return NetworkSource(
        "HLS, segments of 1 s",
        LiveOptions(f"http://127.0.0.1:{port}/live.m3u8"),
        str(folder / "live.m3u8"),
        "hls",
        ("hls_time=1", "hls_list_size=5", "hls_flags=delete_segments"),
        commands=((*serve, "--directory", str(folder)),),
        is_ready=lambda: len(list(folder.glob("*.ts"))) > _SEGMENTS and _is_open(port),
    )


def _rtp(clip: Path, scratch: Path) -> NetworkSource:
    """H.264 and AAC as two RTP streams, and a file that describes them."""
    port, description = _free_ports(4), scratch / "clip.sdp"
    description.write_text(sdp(clip, port))
    return NetworkSource(
        "RTP, .sdp file", LiveOptions(str(description)), f"rtp://127.0.0.1:{port}", "rtp"
    )


def _srt() -> NetworkSource:
    """MPEG-TS over SRT: FFmpeg takes it from the sender and relays it (`docs/guides/live.md`)."""
    sent, srt, read = _free_port(), _free_port(), _free_port()
    ffmpeg = ("ffmpeg", "-nostdin", "-loglevel", "error", "-analyzeduration", "500000")
    copied = ("-c", "copy", "-f", "mpegts")
    relay = (*ffmpeg, "-i", f"srt://127.0.0.1:{srt}?mode=listener", *copied)
    over = (*ffmpeg, "-i", f"udp://127.0.0.1:{sent}", *copied, f"srt://127.0.0.1:{srt}")
    return NetworkSource(
        "MPEG-TS, SRT relayed",
        LiveOptions(f"udp://127.0.0.1:{read}"),
        f"udp://127.0.0.1:{sent}?pkt_size=1316",
        commands=((*relay, f"udp://127.0.0.1:{read}?pkt_size=1316"), over),
        missing=None
        if _ffmpeg_has_srt()
        else "needs the program ffmpeg with SRT: apt-get install ffmpeg",
    )


def _ffmpeg_has_srt() -> bool:
    if shutil.which("ffmpeg") is None:
        return False
    done = subprocess.run(
        ["ffmpeg", "-hide_banner", "-protocols"], capture_output=True, text=True, check=False
    )
    return "srt" in done.stdout.split()


@contextmanager
def _running(command: Sequence[str]) -> Iterator[None]:
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    """A port that is free for TCP and UDP."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            if _are_free([port]):
                return port


def _free_ports(count: int = 2) -> int:
    """An even port, free for UDP like the `count` - 1 ports after it, as RTP needs."""
    while True:
        port = _free_port() // 2 * 2  # Linux prefers odd ones
        if _are_free(range(port, port + count)):
            return port


def _are_free(ports: Sequence[int]) -> bool:
    with ExitStack() as stack:
        for port in ports:
            probe = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True
