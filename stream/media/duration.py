"""How long a recording says that it is, and whether its end is missing.

`score` and `live` use the same rules, so that both report a cut-off file in the same words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from av.container import InputContainer
from av.stream import Stream

from affectstream.stream.media.types import FOREVER_US

_STATES_DURATION = frozenset({"mov", "mp4", "matroska", "avi", "wav", "w64", "flac", "asf", "ogg"})
"""Formats whose header or index states the duration. Of others FFmpeg guesses it from the bit rate, or
takes it from the last packet in the file."""
_DURATION_TAG = re.compile(r"(\d{1,9}):(\d\d):(\d\d(?:\.\d{1,12})?)")


def container_duration_us(container: InputContainer) -> int | None:
    """How long the recording is, stated or guessed; Matroska counts from 0, wherever it starts."""
    duration, start = container.duration, container.start_time or 0
    if duration is None or "matroska" not in container.format.name:
        return duration
    return duration - start if 0 < start < duration else duration


def stream_end_us(stream: Stream, origin_us: int) -> int | None:
    """Where the container says that `stream` ends, counted from `origin_us`; None if it does not say."""
    if not stream.duration or stream.time_base is None:
        return None
    ticks, per = 1_000_000 * stream.time_base.numerator, stream.time_base.denominator
    end = (stream.start_time or 0) + stream.duration
    return (2 * end * ticks + per) // (2 * per) - origin_us


def stated_end_us(container: InputContainer, streams: Sequence[Stream]) -> int | None:
    """Where `streams` end by what the file itself states, counted from its beginning; None if it
    states nothing."""
    if not _STATES_DURATION & set(container.format.name.split(",")):
        return None
    ends = [stream_end_us(stream, container.start_time or 0) for stream in streams]
    known = [end for end in ends if end is not None]
    if len(known) == len(ends):
        return max(known)
    if any(stream.type == "subtitle" for stream in container.streams):
        # The container's duration includes words that outlast the video.
        tags = [_duration_tag_us(stream) for stream in streams]
        return None if None in tags else max(tag for tag in tags if tag is not None)
    return container_duration_us(container)


def _duration_tag_us(stream: Stream) -> int | None:
    """The duration of one stream of a Matroska file, which muxers write as a tag: 00:01:02.500000000."""
    match = _DURATION_TAG.fullmatch(stream.metadata.get("DURATION", ""))
    if match is None:
        return None
    hours, minutes, seconds = match.groups()
    return (int(hours) * 60 + int(minutes)) * 60_000_000 + round(float(seconds) * 1_000_000)


def describe_truncation(
    path: Path, reached_us: int, stated_us: int | None, until_us: int = FOREVER_US
) -> str | None:
    """A message for a file that gave nothing after `reached_us`; None where nothing is missing.

    `stated_us` is where the file should end by `stated_end_us`, and `until_us` where the requested part
    ends. More than a second and a fiftieth must be missing: stated durations are not exact.
    """
    if stated_us is None:
        return f"ended at {reached_us / 1e6:.1f} s: the file is cut off or damaged there"
    if path.is_file():
        stated_us = max(stated_us, round(reached_us / _fraction_present(path)))
    wanted_us = min(stated_us, until_us)
    if reached_us >= wanted_us - max(1_000_000, wanted_us // 50):
        return None
    return (
        f"ended at {reached_us / 1e6:.1f} s of {stated_us / 1e6:.1f} s: "
        "the file is cut off or damaged there"
    )


def _fraction_present(path: Path) -> float:
    """How much of its stated size a RIFF file (wav, avi) has; 1.0 for all other files.

    FFmpeg computes the duration of a wav file that was cut off from what is left of it.
    """
    with path.open("rb") as file:
        head = file.read(8)
    stated = int.from_bytes(head[4:8], "little") + 8
    # Recorders that cannot seek back write 0 or the largest number that they can.
    if head[:4] != b"RIFF" or not 8 < stated < 0x7FFF_0000:
        return 1.0
    return min(1.0, path.stat().st_size / stated)
