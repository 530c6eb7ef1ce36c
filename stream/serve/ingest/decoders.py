"""A limit on the pictures that aiortc decodes: one packet of a few bytes can ask for 400 MB otherwise.

aiortc has no such limit and no way to set one, so its choice of a decoder is replaced for this process;
pyproject.toml pins its version.
"""

from __future__ import annotations

import errno

import av
from aiortc import rtcrtpreceiver
from aiortc.codecs import get_decoder
from aiortc.codecs.base import Decoder
from aiortc.codecs.h264 import H264Decoder
from aiortc.codecs.vpx import Vp8Decoder
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from av.frame import Frame

from affectstream.stream.media.pixel_limit import probe_options

_VP8_START = b"\x9d\x01\x2a"


def limit_decoders(max_pixels: int) -> None:
    """From now on decode no picture with more pixels than this. aiortc then asks for another picture."""

    def get_limited_decoder(codec: RTCRtpCodecParameters) -> Decoder:
        decoder = get_decoder(codec)
        if isinstance(decoder, H264Decoder):
            decoder.codec.options = probe_options(max_pixels)
        return _LimitedVp8Decoder(max_pixels) if isinstance(decoder, Vp8Decoder) else decoder

    rtcrtpreceiver.get_decoder = get_limited_decoder  # type: ignore[attr-defined]


class _LimitedVp8Decoder(Vp8Decoder):
    """libvpx allocates a picture before FFmpeg can check its size, so it is read from the packet."""

    def __init__(self, max_pixels: int) -> None:
        super().__init__()
        self._max_pixels = max_pixels

    def decode(self, encoded_frame: JitterFrame) -> list[Frame]:
        """Raises `av.FFmpegError` if the picture is too large."""
        width, height = _vp8_size(encoded_frame.data)
        if width * height > self._max_pixels:
            reason = f"{width}x{height} is more than {self._max_pixels} pixels"
            raise av.FFmpegError(errno.EINVAL, reason)
        return super().decode(encoded_frame)


def _vp8_size(data: bytes) -> tuple[int, int]:
    """Width and height of a key frame (RFC 6386, 9.1); zeros for any other frame, which has none."""
    if len(data) < 10 or data[0] & 1 or data[3:6] != _VP8_START:
        return 0, 0
    width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    return width, height
