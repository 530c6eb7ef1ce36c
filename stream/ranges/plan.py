"""Where a long recording is cut into ranges.

The recording is read once without decoding. Only if its times and the order of its packets are regular does
each range decode what one process decodes there; other recordings are not cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av

from affectstream.stream.errors import SourceError
from affectstream.stream.faces.perceive import BATCH
from affectstream.stream.media.grid import first_point, time_of_point
from affectstream.stream.media.opening import discard_others, open_container
from affectstream.stream.media.probe import choose_audio, choose_video

RUN_UP_US = 1_000_000
"""A range decodes at least so much before its beginning, which is compared with the range before."""
_KEY_FRAME_US = 300_000
"""The run-up begins so long after a key frame, which a seek then finds."""
_MAX_STEP_US = 5_000_000
"""A longer stretch without pictures is no regular recording: one process may wait or drop there."""
_MAX_BACK_US = 1_000_000
_MAX_APART_US = 8_000_000
"""Pictures that come later than this after the sound of their time may be dropped by one process."""


def plan_ranges(
    path: Path,
    *,
    frame_hz: int,
    range_us: int,
    audio_track: int | str | None = None,
    start_us: int = 0,
    end_us: int | None = None,
    max_pixels: int,
) -> tuple[int, ...]:
    """The first grid point of each range after the first; empty where the recording must not be cut."""
    try:
        with open_container(path, max_pixels) as container:
            video, audio = choose_video(container), choose_audio(container, audio_track, path)
            if video is None:
                return ()
            used = [stream for stream in (video, audio) if stream is not None]
            discard_others(container, used)
            keys, last_us = _key_frames(container, video.index)
    except (SourceError, av.FFmpegError, OSError, IndexError, _Irregular):
        return ()
    if end_us is not None:
        last_us = min(last_us, end_us)
    cuts: list[int] = []
    before_us = start_us
    for key_us in keys:
        point = first_point(key_us + _KEY_FRAME_US + RUN_UP_US, frame_hz)
        point = -(-point // BATCH) * BATCH
        cut_us = time_of_point(point, frame_hz)
        if cut_us >= before_us + range_us and cut_us + range_us // 2 <= last_us:
            cuts.append(point)
            before_us = cut_us
    return tuple(cuts)


class _Irregular(Exception):
    """One process may do with this recording what ranges cannot."""


def _key_frames(container: av.container.InputContainer, video_index: int) -> tuple[list[int], int]:
    """The times of all key frames and of the last picture. Raises `_Irregular`."""
    keys: list[int] = []
    last_us, decode_us, sound_us = 0, None, 0
    for index, is_key, pts_us, dts_us in _packets(container):
        if index != video_index:
            sound_us = max(sound_us, dts_us)
            continue
        if pts_us is None or (
            decode_us is not None and not -_MAX_BACK_US <= dts_us - decode_us <= _MAX_STEP_US
        ):
            raise _Irregular
        if dts_us < sound_us - _MAX_APART_US:
            raise _Irregular
        decode_us, last_us = dts_us, max(last_us, pts_us)
        if is_key:
            keys.append(pts_us)
    return keys, last_us


def _packets(
    container: av.container.InputContainer,
) -> Iterator[tuple[int, bool, int | None, int]]:
    """Stream, whether it is a key frame, display time and decode time of each packet, in microseconds."""
    origin_us = container.start_time or 0
    for packet in container.demux(
        [stream for stream in container.streams if stream.discard != av.stream.Discard.all]
    ):
        if packet.size == 0:
            continue
        dts = packet.dts if packet.dts is not None else packet.pts
        if dts is None:
            raise _Irregular
        base = packet.time_base
        scale, per = 1_000_000 * base.numerator, base.denominator
        pts_us = None if packet.pts is None else packet.pts * scale // per - origin_us
        yield packet.stream_index, packet.is_keyframe, pts_us, dts * scale // per - origin_us
