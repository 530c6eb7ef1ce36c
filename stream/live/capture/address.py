"""The address of a live source and how it is opened: one table for all schemes.

Events and messages call a source by its `name`, which holds no credentials: user and password, the
query, and the last part of an RTMP address (a stream key) are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from affectstream.engines.labels import Modality
from affectstream.stream.errors import OptionError, SourceError
from affectstream.stream.options import MAX_PIXELS, valid_name

LOW_DELAY: Mapping[str, str] = {
    "fflags": "nobuffer",
    "flags": "low_delay",
    "probesize": "65536",
    "analyzeduration": "0",
}
"""Begin with the newest data; what comes before the next key frame is lost."""

_HTTP = "http,https,tcp,tls,httpproxy,crypto"
_NAME_LENGTH = 255


@dataclass(frozen=True, slots=True)
class Opening:
    """Everything that opening a source needs, once or many times."""

    name: str
    url: str
    format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    open_s: float = 10.0
    """The time limit for opening."""
    read_s: float = 5.0
    """After this long without data the source is opened again."""
    is_paced: bool = False
    """It can be read faster than it plays: its own times say when each frame is due."""
    is_recording: bool = False
    """A file: its times are kept, and it is not opened again after its end."""
    wants: tuple[Modality, ...] = ("video", "voice")
    max_pixels: int = MAX_PIXELS
    """Larger pictures are refused before they are decoded."""
    is_device: bool = False
    """A camera or microphone of this machine."""
    hint: str = ""
    """What a person can do if it cannot be opened."""
    plugin: str | None = None
    """The live source of another package that opens it, in place of FFmpeg; `url` is its address then."""

    @property
    def path(self) -> Path:
        """The path of a recording."""
        return Path(self.url.removeprefix("file:"))


@dataclass(frozen=True, slots=True)
class Scheme:
    """How URLs of one scheme are opened. `listen` are the options that wait for a publisher."""

    format: str | None
    options: Mapping[str, str]
    listen: Mapping[str, str] | None = None
    is_paced: bool = False


SCHEMES: Mapping[str, Scheme] = {
    "rtsp": Scheme(
        "rtsp",
        {**LOW_DELAY, "rtsp_transport": "tcp"},
        {"rtsp_flags": "listen", "listen_timeout": "30"},
    ),
    "rtsps": Scheme("rtsp", {**LOW_DELAY, "rtsp_transport": "tcp"}),
    "rtmp": Scheme(None, LOW_DELAY, {"listen": "1"}),
    "rtmps": Scheme(None, LOW_DELAY),
    "http": Scheme(None, {**LOW_DELAY, "protocol_whitelist": _HTTP}, {"listen": "1"}),
    "https": Scheme(None, {**LOW_DELAY, "protocol_whitelist": _HTTP}),
    "udp": Scheme("mpegts", LOW_DELAY),
    "tcp": Scheme("mpegts", LOW_DELAY, {"listen": "1"}),
    "rtp": Scheme("rtp", {**LOW_DELAY, "protocol_whitelist": "rtp,udp"}),
}
"""Tried with senders of FFmpeg: see `docs/guides/live.md`. RTSP over UDP: ``--option rtsp_transport=udp``."""

_HLS = Scheme("hls", {"live_start_index": "-1", "protocol_whitelist": _HTTP}, is_paced=True)
_SDP = Scheme("sdp", {**LOW_DELAY, "protocol_whitelist": "file,udp,rtp"})

_RELAY = (
    "SRT is not in PyAV's FFmpeg: relay it with FFmpeg's own program,\n"
    "  ffmpeg -i 'srt://HOST:PORT' -c copy -f mpegts 'udp://127.0.0.1:5600?pkt_size=1316'\n"
    "and read it here with --source udp://127.0.0.1:5600"
)
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://", re.ASCII)


def is_url(source: str) -> bool:
    """Whether `source` is an address rather than a file or a device."""
    return _URL.match(source) is not None


def redact(url: str) -> str:
    """`url` without anything that may be a credential.

    A password with a bare ``/``, ``?`` or ``#`` is parsed as the host or the path. So only the scheme is
    left of a URL with an ``@`` after the host.
    """
    scheme, _, rest = url.partition("://")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return f"{scheme}://..."
    if "@" in rest[len(parts.netloc) :]:
        return f"{scheme}://..."
    path = parts.path
    if parts.scheme.startswith("rtmp") and path.count("/") > 1:
        path = path.rpartition("/")[0] + "/..."
    host = f"[{host}]" if ":" in host else host
    where = host if port is None else f"{host}:{port}"
    return f"{parts.scheme}://{where}{path}"[:_NAME_LENGTH]


def opening_of(
    source: str, *, options: Mapping[str, str] | None = None, listen: bool = False
) -> Opening:
    """How a URL or a file is opened; devices are in `devices`.

    `options` of FFmpeg take precedence over those of the table. With `listen` a publisher is waited for
    at the address. Raises `SourceError` for an unknown scheme, `OptionError` for one that cannot listen.
    """
    if is_url(source):
        return _of_url(source, dict(options or {}), listen)
    if not source:
        raise OptionError("--source is empty: give a camera (0), a URL or a file")
    if listen:
        raise OptionError(
            f"{source}: --listen needs an address such as rtmp://127.0.0.1:1935/live/a"
        )
    return _of_file(Path(source), dict(options or {}))


def _of_url(url: str, options: dict[str, str], listen: bool) -> Opening:
    name = redact(url)
    kind = url.partition("://")[0].lower()
    if kind == "srt":
        raise SourceError(f"{name}: {_RELAY}")
    if kind == "file":
        raise SourceError(f"{name}: give the path of the file itself")
    if kind not in SCHEMES:
        known = ", ".join(SCHEMES)
        raise SourceError(
            f"{name}: {kind}:// is not known; expected one of {known}, srt, or a file"
        )
    if not _has_port(url):
        raise SourceError(
            f"{name}: what follows the host is not a port; special characters in a user name or password "
            "are written %2F (/), %40 (@), %23 (#), %3F (?), %3A (:)"
        )
    if name == f"{kind}://":
        raise SourceError(f"{name}: names no host; expected such as {kind}://HOST:PORT/PATH")
    scheme = SCHEMES[kind]
    if kind in ("http", "https") and urlsplit(url).path.lower().endswith((".m3u8", ".m3u")):
        scheme = _HLS
    found = Opening(
        name=name,
        url=url,
        format=scheme.format,
        options={**scheme.options, **options},
        is_paced=scheme.is_paced,
    )
    if not listen:
        return found
    if scheme.listen is None:
        able = ", ".join(name for name, one in SCHEMES.items() if one.listen)
        raise OptionError(f"{name}: {kind}:// cannot wait for a publisher; those that can: {able}")
    # A publisher may take longer to come than a server to answer.
    return replace(found, options={**found.options, **scheme.listen, **options}, open_s=30.0)


def _has_port(url: str) -> bool:
    """Whether what follows the host is a port, or nothing."""
    try:
        urlsplit(url).port  # noqa: B018 - it raises
    except ValueError:
        return False
    return True


def _of_file(path: Path, options: dict[str, str]) -> Opening:
    if path.suffix.lower() == ".sdp":
        return Opening(path.name, f"file:{path}", _SDP.format, {**_SDP.options, **options})
    # As for recordings: "file:" keeps 12:30.mp4 from being a protocol, the list keeps files that
    # point elsewhere from reaching the network.
    return Opening(
        name=valid_name(path),
        url=f"file:{path}",
        options={"protocol_whitelist": "file", **options},
        is_paced=True,
        is_recording=True,
    )
