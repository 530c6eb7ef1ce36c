"""Every kind of network source, sent on this machine: where it is read, and what plays the clip there."""

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
"""A machine that is busy starts Python slowly."""
_SEGMENTS = 3


class Sender:
    """`bench.live.sender` in another process. `began_s` is when it began to send, once it has."""

    def __init__(self, clip: Path, url: str, format_name: str, options: Sequence[str]) -> None:
        """Starts it, and returns when it is about to connect. Raises `Unmeasured` where it does not come
        so far."""
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
        told = threading.Event()
        threading.Thread(target=self._follow, args=(told,), daemon=True).start()
        told.wait(_START_S)
        if not self._ready:
            self.close()
            raise Unmeasured(f"the sender did not start within {_START_S:g} s")

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def _follow(self, told: threading.Event) -> None:
        assert self._process.stdout is not None
        self._ready = self._process.stdout.readline() == "ready\n"  # nothing where it ended
        told.set()
        with suppress(ValueError):  # it ended before it began
            self.began_s = float(self._process.stdout.readline())


@dataclass(frozen=True, slots=True)
class NetworkSource:
    """One kind of source: how it is read, and how it is sent there (`send` None: it is a file).

    `options` are FFmpeg's for the sender, `beside` commands that run meanwhile, `there` tells when the
    source can be opened, and `lacks` names what this machine has not got.
    """

    name: str
    live: LiveOptions
    send: str | None = None
    format: str = "mpegts"
    options: tuple[str, ...] = ()
    beside: tuple[tuple[str, ...], ...] = ()
    there: Callable[[], bool] = lambda: True
    lacks: str | None = None

    @contextmanager
    def playing(self, clip: Path) -> Iterator[Sender | None]:
        """Send the clip, over and over. Raises `Unmeasured` where that cannot be."""
        if self.lacks is not None:
            raise Unmeasured(self.lacks)
        with ExitStack() as stack:
            for command in self.beside:
                stack.enter_context(_running(command))
            if self.send is None:
                yield None
                return
            sender = Sender(clip, self.send, self.format, self.options)
            stack.enter_context(closing(sender))
            end_s = time.monotonic() + _START_S
            while not self.there():
                if time.monotonic() > end_s:
                    raise Unmeasured(f"what the sender writes did not appear in {_START_S:g} s")
                time.sleep(0.05)
            yield sender


def network_sources(clip: Path, scratch: Path) -> tuple[NetworkSource, ...]:
    """A played file and every network source of `docs/guides/live.md`, on free ports of this machine."""
    udp, tcp, rtmp, rtsp, rtsp_udp, flv, ts = (f"127.0.0.1:{_free()}" for _ in range(7))
    rtp_ts = f"rtp://127.0.0.1:{_free_pair()}"
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
    """A source that waits for its publisher; both take the options."""
    ffmpeg = dict(option.split("=", 1) for option in options)
    return NetworkSource(
        name, LiveOptions(url, listen=True, ffmpeg=ffmpeg), url, format_name, options
    )


def _hls(scratch: Path) -> NetworkSource:
    """Segments of a second in a folder, and a web server for it."""
    folder, port = scratch / "hls", _free()
    folder.mkdir()
    serve = (sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1")
    return NetworkSource(
        "HLS, segments of 1 s",
        LiveOptions(f"http://127.0.0.1:{port}/live.m3u8"),
        str(folder / "live.m3u8"),
        "hls",
        ("hls_time=1", "hls_list_size=5", "hls_flags=delete_segments"),
        beside=((*serve, "--directory", str(folder)),),
        there=lambda: len(list(folder.glob("*.ts"))) > _SEGMENTS and _answers(port),
    )


def _rtp(clip: Path, scratch: Path) -> NetworkSource:
    """H.264 and AAC as two streams, and the file that describes them."""
    port, described = _free_pair(4), scratch / "clip.sdp"
    described.write_text(sdp(clip, port))
    return NetworkSource(
        "RTP, .sdp file", LiveOptions(str(described)), f"rtp://127.0.0.1:{port}", "rtp"
    )


def _srt() -> NetworkSource:
    """MPEG-TS over SRT: FFmpeg takes it from the sender and relays it (`docs/guides/live.md`)."""
    sent, srt, read = _free(), _free(), _free()
    ffmpeg = ("ffmpeg", "-nostdin", "-loglevel", "error", "-analyzeduration", "500000")
    copied = ("-c", "copy", "-f", "mpegts")
    relay = (*ffmpeg, "-i", f"srt://127.0.0.1:{srt}?mode=listener", *copied)
    over = (*ffmpeg, "-i", f"udp://127.0.0.1:{sent}", *copied, f"srt://127.0.0.1:{srt}")
    return NetworkSource(
        "MPEG-TS, SRT relayed",
        LiveOptions(f"udp://127.0.0.1:{read}"),
        f"udp://127.0.0.1:{sent}?pkt_size=1316",
        beside=((*relay, f"udp://127.0.0.1:{read}?pkt_size=1316"), over),
        lacks=None
        if _speaks_srt()
        else "needs the program ffmpeg with SRT: apt-get install ffmpeg",
    )


def _speaks_srt() -> bool:
    if shutil.which("ffmpeg") is None:
        return False
    told = subprocess.run(
        ["ffmpeg", "-hide_banner", "-protocols"], capture_output=True, text=True, check=False
    )
    return "srt" in told.stdout.split()


@contextmanager
def _running(command: Sequence[str]) -> Iterator[None]:
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free() -> int:
    """A port that is free for TCP and for UDP."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            if _are_free([port]):
                return port


def _free_pair(count: int = 2) -> int:
    """An even port that is free for UDP with those that follow it, as RTP wants them."""
    while True:
        port = _free() // 2 * 2  # Linux gives odd ones
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
