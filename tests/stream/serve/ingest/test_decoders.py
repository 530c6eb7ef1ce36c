"""The limit on pictures that come by WebRTC."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import pytest

pytest.importorskip("aiortc", reason="the server comes with the 'serve' extra")

import av
from aiortc import rtcrtpreceiver
from aiortc.codecs import get_decoder
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from affectstream.stream.serve.ingest import decoders
from affectstream.stream.serve.ingest.decoders import limit_decoders


@pytest.fixture(autouse=True)
def _restore_decoders() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rtcrtpreceiver, "get_decoder", get_decoder)
        yield


def first_packet(codec: str, width: int, height: int) -> bytes:
    """A picture of this size."""
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base = Fraction(1, 30)
    frame = av.VideoFrame(width, height, "yuv420p")
    frame.pts = 0
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    return bytes(packets[0])


@pytest.mark.parametrize(
    ("mime_type", "encoder"), [("video/VP8", "libvpx"), ("video/H264", "libx264")]
)
def test_a_picture_above_the_limit_is_not_decoded(mime_type: str, encoder: str) -> None:
    limit_decoders(192 * 112)
    codec = RTCRtpCodecParameters(mimeType=mime_type, clockRate=90_000, payloadType=96)
    for width, fits in ((192, True), (208, False)):
        decoder = rtcrtpreceiver.get_decoder(codec)  # type: ignore[attr-defined]
        packet = JitterFrame(data=first_packet(encoder, width, 112), timestamp=0)
        if fits:
            decoder.decode(packet)
        else:
            with pytest.raises(av.FFmpegError):
                decoder.decode(packet)


@pytest.mark.parametrize("data", [b"", b"\x01" * 20, b"\0" * 20, b"\0\0\0\x9d\x01\x2a\xff"])
def test_only_a_key_frame_states_a_size(data: bytes) -> None:
    assert decoders._vp8_size(data) == (0, 0)
