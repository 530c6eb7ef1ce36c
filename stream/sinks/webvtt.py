"""Segments as WebVTT, to watch as subtitles of the recording."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from affectstream.stream.events import Segment
from affectstream.stream.results.interpret import HopResult
from affectstream.stream.results.origin import STATED_USE, Origin
from affectstream.stream.sinks.base import FileSink


class WebVttSink(FileSink):
    """`segments.vtt`: one cue for each segment, sorted by onset.

    Segments come sorted by offset, so all are kept until the end: a few hundred bytes each.
    """

    filename = "segments.vtt"

    def __init__(self, folder: Path, origin: Origin) -> None:
        super().__init__(folder, origin)
        self._segments: list[Segment] = []

    def write(self, file: BinaryIO, hop: HopResult, end_us: int) -> None:
        """Keep the segments of one hop."""
        self._segments += [event for event in hop.events if isinstance(event, Segment)]

    def finish(self, file: BinaryIO) -> None:
        """Write the header and all cues."""
        file.write(b"WEBVTT\n")
        for name in STATED_USE:
            if (text := self.origin.options.get(name)) is not None:
                # An arrow would end the note.
                file.write(f"\nNOTE {name}: {text.replace('-->', '->')}\n".encode())
        for cue in sorted(self._segments, key=lambda s: (s.t_start, s.track or 0, s.of, s.t_end)):
            file.write(_cue(cue).encode())


def _cue(segment: Segment) -> str:
    who = "recording" if segment.track is None else f"person {segment.track}"
    times = f"{_clock(segment.t_start)} --> {_clock(segment.t_end)}"
    return f"\n{times}\n<v {who}>{segment.state} ({segment.mean:.0%})\n"


def _clock(t_s: float) -> str:
    milliseconds = round(t_s * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}"
