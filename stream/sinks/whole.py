"""Formats that need the whole recording: a report, files of annotation programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from affectstream.stream.annotations import boris, elan, praat
from affectstream.stream.overlay import video
from affectstream.stream.report import document, people_file
from affectstream.stream.results.scored import ScoredRecording
from affectstream.stream.sinks import Format


@dataclass(frozen=True, slots=True)
class RecordingWriter:
    """Writes one file about a recording whose scoring is over."""

    filename: str
    """The name of the file in the folder of the recording."""
    write: Callable[[ScoredRecording, Path], None]
    """Writes the file at the path it is given: a name for the time being, in the folder where the file will
    stand. It raises `OSError` if the file cannot be written, and writes the same bytes for the same results:
    no time of day and no duration of work."""
    lacks: Callable[[ScoredRecording], str | None] = lambda recording: None
    """What the file needs and the recording does not have, such as ``pictures``: then none is written. None
    where nothing is missing."""


RECORDING_WRITERS: dict[Format, RecordingWriter] = {
    "eaf": RecordingWriter("annotations.eaf", elan.write),
    "textgrid": RecordingWriter("annotations.TextGrid", praat.write),
    "boris": RecordingWriter("boris.csv", boris.write),
    "people": RecordingWriter(people_file.PEOPLE, people_file.write),
    "report": RecordingWriter("report.html", document.write),
    "report-embedded": RecordingWriter("report-embedded.html", document.write_embedded),
    "overlay": RecordingWriter("overlay.mp4", video.write, video.lacks),
    "overlay-blurred": RecordingWriter("overlay-blurred.mp4", video.write_blurred, video.lacks),
}
"""The writer of each format in `RECORDING_FORMATS`."""
