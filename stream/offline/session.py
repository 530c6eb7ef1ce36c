"""One recording from opening to its last event: its words, its warnings, its end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from affectstream.engines.bundle.bundle import Bundle
from affectstream.stream.errors import OptionError, SourceError
from affectstream.stream.events import Event, Stream
from affectstream.stream.media.recording import Recording
from affectstream.stream.offline.pipeline import Pipeline
from affectstream.stream.options import SourceOptions
from affectstream.stream.results.interpret import HopResult, Interpreter, seconds
from affectstream.stream.transcript.files import (
    Transcript,
    embedded_transcript,
    find_transcript,
    is_transcript,
    language_tag,
    read_transcript,
)
from affectstream.stream.transcript.source import TranscriptSource


class Session:
    """One recording, or a transcript alone, on its way through a bundle: iterate once to get its hops.

    The first hop holds the `started` event, the last the `ended` one with every count.
    """

    def __init__(self, bundle: Bundle, path: Path, options: SourceOptions, threads: int) -> None:
        # A name that is no UTF-8 cannot be written into events as it is.
        self.name = os.fsencode(path.name).decode("utf-8", "replace")
        self._options = options
        self._bundle = bundle
        self._source = _open(path, options, bundle.manifest.frame_hz)
        self.info = self._source.info
        self.ended: Stream | None = None
        self._warnings = list(self.info.skipped)
        self._position_us = options.start_us or 0
        try:
            self._check_channels()
            self._transcript = self._words(path)
            options = self._with_language()
            self.modalities = self._modalities()
            self._check_metadata()
        except BaseException:
            self._source.close()
            raise
        self._interpreter = Interpreter(self._bundle, self.name, options, self.modalities)
        if self._transcript is not None:
            for cue in self._transcript.cues:
                self._interpreter.push_cue(cue)
        self._threads = threads

    @property
    def end_us(self) -> int:
        """Where the recording ends, as far as is known by now."""
        return self._source.end_us

    @property
    def span(self) -> tuple[int, int | None]:
        """Where the wanted part begins and, if that is known, ends; for showing progress."""
        start_us, end_us = self._options.start_us or 0, self._options.end_us
        ends = [t for t in (end_us, self.info.duration_us) if t is not None]
        return start_us, min(ends, default=None)

    def __iter__(self) -> Iterator[HopResult]:
        yield HopResult((), tuple(self._started()))
        for hop in self._hops():
            for reading, _ in hop.readings:
                self._position_us = max(self._position_us, reading.end_us)
            yield hop
        self.ended = self._end_event(self.end_us, self._source.stats.ended_early)
        yield HopResult((), (*self._strangers(), self.ended))

    def interrupt(self) -> HopResult:
        """The last hop of a session that is left early: open segments, and the `ended` event."""
        end_us = min(self._position_us, self.end_us)
        detail = "interrupted: what was done until then is here"
        self.ended = self._end_event(end_us, detail)
        return HopResult((), (*self._interpreter.close_segments().events, self.ended))

    def _hops(self) -> Iterator[HopResult]:
        if isinstance(self._source, Recording):
            yield from Pipeline(self._bundle, self._source, self._interpreter, self._threads)
            return
        for bound in self._source:
            yield from self._interpreter.push_bound(bound)
        yield from self._interpreter.flush(self.end_us)

    def _words(self, path: Path) -> Transcript | None:
        if isinstance(self._source, TranscriptSource):
            return self._source.transcript
        if "text" not in self._bundle.modalities:
            return None
        if self._options.transcript is not None:
            return read_transcript(self._options.transcript)
        beside = find_transcript(path)
        if beside is None:
            return embedded_transcript(path) if self.info.subtitles else None
        try:
            return read_transcript(beside)
        except SourceError as error:  # nobody asked for it: it must not cost the recording
            reason = str(error).replace(str(beside), beside.name)
            self._warnings.append(f"transcript is not used: {reason}")
            return None

    def _check_channels(self) -> None:
        tracks = {audio.track: audio for audio in self.info.audio}
        used = tracks.get(self.info.audio_track or 0)
        if self._options.assignment.channels and (used is None or used.channels != 2):
            found = 0 if used is None else used.channels
            raise SourceError(
                f"{self._source.path}: one speaker a side needs stereo sound, found {found} channels"
            )

    def _check_metadata(self) -> None:
        if self._options.metadata is not None and not self._bundle.facts:
            name = self._bundle.manifest.name
            self._warnings.append(f"metadata is not used: bundle {name!r} takes none")

    def _strangers(self) -> Iterator[Stream]:
        """Warnings about assigned tracks and names that never came up.

        Whoever has a side of the sound is there without being seen where there is no picture.
        """
        assignment = self._options.assignment
        told = () if self._options.metadata is None else map(int, self._options.metadata.tracks)
        sides, names = assignment.channels or (), assignment.names.values()
        given = {assignment.everything, *sides, *names, *told}
        if "video" not in self.modalities:
            given -= set(sides)
        for track in sorted(t for t in given if t is not None and t > self._interpreter.tracks):
            yield self._stream("warning", self.end_us, f"person {track} was never seen")
        cues = self._transcript.cues if self._transcript is not None else ()
        for name in sorted(set(assignment.names) - {cue.speaker for cue in cues}):
            yield self._stream(
                "warning", self.end_us, f"nobody in the transcript is named {name!r}"
            )

    def _with_language(self) -> SourceOptions:
        declared = self._options.language
        if declared is None:
            spoken = None if self._transcript is None else self._transcript.language
            return replace(self._options, language=spoken)
        language = language_tag(declared)
        if language is None:
            raise OptionError(
                f"language {declared!r} is not known: expected such as en, eng or en-US"
            )
        return replace(self._options, language=language)

    def _modalities(self) -> tuple[str, ...]:
        have = {
            "video": self.info.video is not None,
            "voice": bool(self.info.audio),
            "text": self._transcript is not None,
        }
        used = tuple(m for m in self._bundle.modalities if have[m])
        if not used:
            found = ", ".join(m for m, here in have.items() if here)
            raise SourceError(
                f"{self._source.path}: holds {found} and nothing that bundle "
                f"{self._bundle.manifest.name!r} reads: {', '.join(self._bundle.modalities)}"
            )
        return used

    def _started(self) -> Iterator[Event]:
        start_us = self._options.start_us or 0
        yield self._stream("started", start_us, None)
        for warning in self._warnings:
            yield self._stream("warning", start_us, warning)

    def _stream(self, what: str, t_us: int, detail: str | None) -> Stream:
        return Stream(
            stream=self.name,
            t_start=seconds(t_us),
            t_end=seconds(t_us),
            modalities=self.modalities,  # type: ignore[arg-type]
            what=what,  # type: ignore[arg-type]
            detail=detail,
        )

    def _end_event(self, end_us: int, detail: str | None) -> Stream:
        return Stream(
            stream=self.name,
            t_start=seconds(self._options.start_us or 0),
            t_end=seconds(end_us),
            modalities=self.modalities,  # type: ignore[arg-type]
            what="ended",
            detail=detail,
            complete=detail is None,
            counts={**self._source.counts(), "gaps": self._interpreter.gap_count},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._source.close()


def _open(path: Path, options: SourceOptions, frame_hz: int) -> Recording | TranscriptSource:
    if not is_transcript(path):
        return Recording.open(
            path,
            audio_track=options.audio_track,
            start_us=options.start_us,
            end_us=options.end_us,
            stereo=options.assignment.channels is not None,
            frame_hz=frame_hz,
        )
    if options.transcript is not None:
        raise OptionError(f"{path} is a transcript itself: {options.transcript} cannot go with it")
    if options.audio_track is not None:
        raise SourceError(
            f"{path}: has no audio track {options.audio_track!r}: it holds words only"
        )
    return TranscriptSource.open(path, options.start_us, options.end_us)
