"""A recording that is played as if it were live: what is wrong with it is told as `score` tells it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
from av.container import InputContainer

from affectstream.stream.live.capture.address import Opening
from affectstream.stream.media.truncation import (
    STATES_DURATION,
    declared_us,
    describe_truncation,
    is_truncated,
)


def path_of(opening: Opening) -> Path:
    """The file that is played."""
    return Path(opening.url.removeprefix("file:"))


def stated_end_us(container: InputContainer, chosen: Sequence[av.stream.Stream]) -> int | None:
    """Where the streams `chosen` end by what the file states, on its own clock; None if it does not."""
    if not STATES_DURATION & set(container.format.name.split(",")):
        return None
    ends = [
        (stream.start_time or 0) + stream.duration
        for stream in chosen
        if stream.duration and stream.time_base
    ]
    if len(ends) < len(chosen):
        whole = container.duration
        return None if whole is None else (container.start_time or 0) + whole
    units = [stream.time_base or 0 for stream in chosen]
    return max(round(end * unit * 1_000_000) for end, unit in zip(ends, units, strict=True))


def what_is_missing(path: Path, reached_us: int, stated_us: int) -> str | None:
    """How a file that gave nothing after `reached_us`, both from its beginning on, is cut off."""
    stated_us = declared_us(path, reached_us, stated_us)
    if not is_truncated(reached_us, stated_us):
        return None
    return f"{path.name}: {describe_truncation(reached_us, stated_us)}"
