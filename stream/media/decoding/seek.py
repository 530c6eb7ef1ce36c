"""Seeking to a position from which a recording can be decoded."""

from __future__ import annotations

import av
from av.container import InputContainer

from affectstream.stream.media.decoding.stream_decoder import StreamDecoder

_SEEK_BACK_US = (200_000, 5_000_000, 30_000_000)
"""How far before the start to look for a key frame, in turn; after these from the beginning."""


def seek_before(container: InputContainer, decoder: StreamDecoder, start_us: int) -> bool:
    """Go to where `decoder` can start, at or before `start_us`, or stay at the beginning.

    False where the beginning can only be reached by opening the file again.
    """
    origin = container.start_time or 0
    for back_us in _SEEK_BACK_US:
        offset = start_us - back_us
        if offset <= 0:
            return back_us == _SEEK_BACK_US[0]
        try:
            container.seek(offset + origin)
            if _decodable_from_here(container, decoder, start_us):
                container.seek(offset + origin)
                return True
        except (av.FFmpegError, OSError):
            break
    return False


def _decodable_from_here(container: InputContainer, decoder: StreamDecoder, start_us: int) -> bool:
    """Whether a key frame at or before `start_us` comes next. A transport stream has no index of key
    frames, so a seek may end anywhere."""
    for packet in container.demux(decoder.stream):
        if packet.pts is None:
            continue
        if packet.is_keyframe or decoder.time_us(packet.pts) > start_us:
            return decoder.time_us(packet.pts) <= start_us
    return False
