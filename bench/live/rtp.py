"""The session description (SDP) of a clip that is sent as RTP, each stream to its own port.

It holds the parameters of H.264 (RFC 6184) and AAC (RFC 3640), so that a reader may join at any time.
"""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from affectstream.stream.errors import SourceError


def sdp(clip: Path, port: int) -> str:
    """The description of `clip`, whose streams are sent to `port`, `port` + 2 and so on.

    Raises `SourceError` for anything but H.264 and AAC in an MP4.
    """
    lines = ["v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=clip", "c=IN IP4 127.0.0.1", "t=0 0"]
    with av.open(str(clip)) as container:
        for number, stream in enumerate(container.streams):
            setup = bytes(stream.codec_context.extradata or b"")
            to = port + 2 * number
            if isinstance(stream, VideoStream) and stream.codec_context.name == "h264" and setup:
                sets = ",".join(b64encode(one).decode() for one in _parameter_sets(setup))
                lines += [
                    f"m=video {to} RTP/AVP 96",
                    "a=rtpmap:96 H264/90000",
                    f"a=fmtp:96 packetization-mode=1; sprop-parameter-sets={sets}",
                ]
            elif isinstance(stream, AudioStream) and stream.codec_context.name == "aac" and setup:
                lines += [
                    f"m=audio {to} RTP/AVP 97",
                    f"a=rtpmap:97 MPEG4-GENERIC/{stream.rate}/{stream.channels}",
                    "a=fmtp:97 profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;"
                    f"indexdeltalength=3; config={setup.hex()}",
                ]
            else:
                raise SourceError(f"{clip}: stream {number} is neither H.264 nor AAC in an MP4")
    return "\r\n".join(lines) + "\r\n"


def _parameter_sets(setup: bytes) -> list[bytes]:
    """SPS and PPS of H.264 in an MP4 (ISO 14496-15, 5.3.3): each has two bytes of length before it."""
    found, at = [], 5
    for mask in (0x1F, 0xFF):  # SPS, then PPS
        count, at = setup[at] & mask, at + 1
        for _ in range(count):
            size = int.from_bytes(setup[at : at + 2], "big")
            found.append(setup[at + 2 : at + 2 + size])
            at += 2 + size
    return found
