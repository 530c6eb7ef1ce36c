"""One recording from opening to its last event: transcript, warnings, hops, end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from msgspec import UNSET, structs

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.labels import Modality
from affectstream.stream.errors import OptionError, SourceError
from affectstream.stream.events import Event, Stream, StreamEvent
from affectstream.stream.fusion.fuse import Fuser
from affectstream.stream.media.recording import Pictures, Recording
from affectstream.stream.media.types import Cue
from affectstream.stream.offline.pipeline import Pipeline
from affectstream.stream.offline.pushed_media import PushedMedia
from affectstream.stream.options import SourceOptions, valid_text
from affectstream.stream.ranges.opening import RangeOptions, open_ranges
from affectstream.stream.ranges.pool import RangePool
from affectstream.stream.results.event_builder import seconds
from affectstream.stream.results.interpret import HopResult, Interpreter
from affectstream.stream.transcript.files import (
    Transcript,
    embedded_transcript,
    find_transcript,
    is_transcript,
    language_tag,
    read_transcript,
)
from affectstream.stream.transcript.source import TranscriptSource
from affectstream.stream.voices.turns import VoiceTurns, find_turns
from affectstream.stream.words.opening import recording_recognizer
from affectstream.stream.words.recording import recognize_recording


class Session:
    """One recording, a transcript alone, or pushed media, scored with a bundle. Iterate once to get its hops.

    The first hop has the `started` event, the last the `ended` event with all counts.
    """

    def __init__(
        self,
        bundle: Bundle,
        media: Path | PushedMedia,
        options: SourceOptions,
        threads: int,
        copy: ExitStack | None = None,
        words_file: Path | None = None,
        ranges: RangeOptions | None = None,
    ) -> None:
        """Open `media`. The session takes over `copy`, which holds a temporary file, and closes it.

        Words that the options let it recognize are kept in `words_file`, and taken from there. `ranges` say
        how a long recording is perceived in parallel.
        """
        # A file name that is not UTF-8 cannot be written to JSON.
        self.name = valid_text(media.name)
        self._options = options
        self._bundle = bundle
        self._source = (
            media if isinstance(media, PushedMedia) else _open(media, options, bundle, threads)
        )
        self.info = self._source.info
        self.ended: Stream | None = None
        self.transcript_file: Path | None = None
        """The transcript beside the recording, or that of the options."""
        self._words_file = words_file
        self._warnings = list(self.info.skipped)
        self._position_us = options.start_us or 0
        try:
            self._check_channels()
            self._transcript = self._find_transcript()
            options = self._with_language()
            self.modalities = self._used_modalities()
            self._check_metadata()
            turns = self._voice_turns()
        except BaseException:
            self._source.close()
            raise
        self._interpreter = Interpreter(
            self._bundle, self.name, options, self.modalities, turns=turns
        )
        if self._transcript is not None:
            for cue in self._transcript.cues:
                self._interpreter.push_cue(cue)
        self._threads = threads
        self._range_options = ranges
        self._copy = None if copy is None else copy.pop_all()

    @property
    def fuser(self) -> Fuser:
        """The heads; its `newest` is what the readings of the newest hop were computed from."""
        return self._interpreter.fuser

    @property
    def end_us(self) -> int:
        """Where the recording ends, in microseconds, as far as is known by now."""
        return self._source.end_us

    @property
    def results_end_us(self) -> int:
        """No result of the hops so far ends later than this, in microseconds.

        Unlike `end_us` it does not depend on how far ahead the recording is read, so that two runs write the
        same.
        """
        return self._interpreter.end_us

    @property
    def words(self) -> tuple[Cue, ...]:
        """The cues of the transcript, in the order of their end, that overlap the selected part."""
        if self._transcript is None:
            return ()
        start_us, end_us = self._options.start_us or 0, self._options.end_us
        return tuple(
            cue
            for cue in self._transcript.cues
            if cue.end_us > start_us and (end_us is None or cue.start_us < end_us)
        )

    @property
    def span(self) -> tuple[int, int | None]:
        """Start and, if known, end of the selected part in microseconds, to show progress."""
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
        yield HopResult((), (*self._unmatched_assignments(), self.ended))

    def interrupt(self) -> HopResult:
        """The last hop of a session that stops early: open segments, and the `ended` event."""
        end_us = min(self._position_us, self.end_us)
        detail = "interrupted: the results until here are kept"
        self.ended = self._end_event(end_us, detail)
        return HopResult((), (*self._interpreter.close_segments().events, self.ended))

    def _hops(self) -> Iterator[HopResult]:
        if not isinstance(self._source, TranscriptSource):
            yield from self._media_hops(self._source)
            return
        for bound in self._source:
            yield from self._interpreter.push_bound(bound)
        yield from self._interpreter.flush(self.end_us)

    def _media_hops(self, source: Recording | PushedMedia) -> Iterator[HopResult]:
        ranges = self._start_ranges()
        if ranges is None:
            yield from Pipeline(self._bundle, source, self._interpreter, self._threads)
            return
        try:
            source.close()
            # Its sound is read here, and how far it is; what was found at opening still holds.
            info = self.info
            self._source = source = _open_recording(
                source.path, self._options, self._bundle, "elsewhere", threads=1
            )
            source.info = info
            yield from Pipeline(
                self._bundle, source, self._interpreter, self._threads, ranges=ranges
            )
        finally:
            ranges.close()

    def _start_ranges(self) -> RangePool | None:
        """The processes that perceive a long recording; None for others, and where it cannot be cut."""
        if self._range_options is None or "video" not in self.modalities:
            return None
        if not isinstance(self._source, Recording):
            return None
        start_us, end_us = self.span
        return open_ranges(
            self._range_options,
            self._bundle,
            self._source.path,
            self._options,
            None if end_us is None else end_us - start_us,
        )

    def _find_transcript(self) -> Transcript | None:
        if isinstance(self._source, TranscriptSource):
            return self._source.transcript
        if self._options.words is not None and "text" not in self._bundle.modalities:
            raise OptionError(
                f"--words: the bundle {self._bundle.manifest.name} reads no words, only "
                f"{', '.join(self._bundle.modalities)}; leave --words out or use another bundle"
            )
        has_none = isinstance(self._source, PushedMedia) or "text" not in self._bundle.modalities
        if has_none or not self._options.allows("text"):
            return None
        path = self._source.path
        if self._options.transcript is not None:
            self.transcript_file = self._options.transcript
            chosen = self._options.transcript
            return self._written(read_transcript(chosen), chosen.name)
        self.transcript_file = file = find_transcript(path)
        if file is None:
            written = embedded_transcript(path) if self.info.subtitles else None
            return (
                self._recognized_words() if written is None else self._written(written, "inside it")
            )
        try:
            return self._written(read_transcript(file), file.name)
        except (
            SourceError
        ) as error:  # the user did not choose it, so the recording is scored without
            reason = str(error).replace(str(file), file.name)
            self._warnings.append(f"transcript is not used: {reason}")
            return self._recognized_words()

    def _written(self, transcript: Transcript, where: str) -> Transcript:
        """A transcript that somebody wrote is better than recognized words."""
        if self._options.words is not None:
            self._warnings.append(f"words are not recognized: there is a transcript {where}")
        return transcript

    def _recognized_words(self) -> Transcript | None:
        recognizer = recording_recognizer(self._options) if self.info.audio else None
        if recognizer is None or not isinstance(self._source, Recording):
            return None
        return recognize_recording(self._source.path, self._options, recognizer, self._words_file)

    def _voice_turns(self) -> VoiceTurns | None:
        if self._options.voices is None:
            return None
        if not isinstance(self._source, Recording) or "voice" not in self.modalities:
            self._warnings.append("voices are not told apart: there is no voice to use")
            return None
        return find_turns(self._source.path, self._options)

    def _check_channels(self) -> None:
        tracks = {audio.track: audio for audio in self.info.audio}
        used = tracks.get(self.info.audio_track or 0)
        if self._options.assignment.channels and (used is None or used.channels != 2):
            found = 0 if used is None else used.channels
            raise SourceError(
                f"{self._source.path}: one speaker a side needs stereo sound, found {found} channels"
            )

    def _check_metadata(self) -> None:
        if self._options.metadata is not None and not self._bundle.speaker_features:
            name = self._bundle.manifest.name
            self._warnings.append(f"metadata is not used: bundle {name!r} takes none")

    def _unmatched_assignments(self) -> Iterator[Stream]:
        """Warnings about tracks and names that the options assign and the recording does not have."""
        assignment, metadata = self._options.assignment, self._options.metadata
        described = () if metadata is None else map(int, metadata.tracks)
        channels = assignment.channels or ()
        assigned = {assignment.everything, *channels, *assignment.names.values(), *described}
        if "video" not in self.modalities:
            assigned -= set(channels)  # these people are heard, not seen
        for track in sorted(
            t for t in assigned if t is not None and t > self._interpreter.track_count
        ):
            yield self._event("warning", self.end_us, f"person {track} was never seen")
        cues = self._transcript.cues if self._transcript is not None else ()
        for name in sorted(set(assignment.names) - {cue.speaker for cue in cues}):
            yield self._event("warning", self.end_us, f"nobody in the transcript is named {name!r}")

    def _with_language(self) -> SourceOptions:
        declared = self._options.language
        if declared is None:
            found = None if self._transcript is None else self._transcript.language
            return replace(self._options, language=found)
        language = language_tag(declared)
        if language is None:
            raise OptionError(
                f"language {declared!r} is not known: expected such as en, eng or en-US"
            )
        return replace(self._options, language=language)

    def _used_modalities(self) -> tuple[Modality, ...]:
        pushed = self._source.modalities if isinstance(self._source, PushedMedia) else ()
        available: dict[Modality, bool] = {
            "video": self.info.video is not None,
            "voice": bool(self.info.audio),
            "text": self._transcript is not None or "text" in pushed,
        }
        readable = tuple(m for m in self._bundle.modalities if self._options.allows(m))
        used = tuple(m for m in readable if available[m])
        if not used:
            found = ", ".join(m for m, present in available.items() if present)
            chosen = "" if self._options.modalities is None else ", with these options,"
            raise SourceError(
                f"{self._source.path}: holds {found} and nothing that bundle "
                f"{self._bundle.manifest.name!r}{chosen} reads: {', '.join(readable) or 'nothing'}"
            )
        return used

    def _started(self) -> Iterator[Event]:
        start_us = self._options.start_us or 0
        yield structs.replace(
            self._event("started", start_us, None),
            purpose=self._options.purpose or UNSET,
            consent=self._options.consent or UNSET,
        )
        for warning in self._warnings:
            yield self._event("warning", start_us, warning)

    def _event(self, what: StreamEvent, t_us: int, detail: str | None) -> Stream:
        return Stream(
            stream=self.name,
            t_start=seconds(t_us),
            t_end=seconds(t_us),
            modalities=self.modalities,
            what=what,
            detail=detail,
        )

    def _end_event(self, end_us: int, detail: str | None) -> Stream:
        return Stream(
            stream=self.name,
            t_start=seconds(self._options.start_us or 0),
            t_end=seconds(end_us),
            modalities=self.modalities,
            what="ended",
            detail=detail,
            complete=detail is None,
            counts={**self._source.counts(), **self._interpreter.counts()},
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
        if self._copy is not None:
            self._copy.close()


def _open(
    path: Path, options: SourceOptions, bundle: Bundle, threads: int
) -> Recording | TranscriptSource:
    if not is_transcript(path):
        used = "video" in bundle.modalities and options.allows("video")
        return _open_recording(path, options, bundle, "decode" if used else "unused", threads)
    if options.transcript is not None:
        raise OptionError(f"{path} is a transcript: leave out the transcript {options.transcript}")
    if options.audio_track is not None:
        raise SourceError(
            f"{path}: has no audio track {options.audio_track!r}: it holds words only"
        )
    return TranscriptSource.open(path, options.start_us, options.end_us)


def _open_recording(
    path: Path, options: SourceOptions, bundle: Bundle, pictures: Pictures, threads: int
) -> Recording:
    return Recording.open(
        path,
        audio_track=options.audio_track,
        start_us=options.start_us,
        end_us=options.end_us,
        stereo=options.assignment.channels is not None,
        frame_hz=bundle.manifest.frame_hz,
        threads=threads,
        max_pixels=options.max_pixels,
        pictures=pictures,
    )
