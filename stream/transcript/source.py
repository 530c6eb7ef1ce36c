"""A transcript that is scored by itself: words with times, without video and sound."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from affectstream.stream.errors import SourceError
from affectstream.stream.media.decoding.decode import DecodeStats
from affectstream.stream.media.probe import MediaInfo
from affectstream.stream.media.types import FOREVER_US, Bound, MediaKind
from affectstream.stream.transcript.context import CURRENT_FOR_US
from affectstream.stream.transcript.files import Transcript, read_transcript

_STEP_US = 500_000
_MAX_US = 100 * 3600 * 1_000_000


class TranscriptSource:
    """A transcript in place of a `Recording`: iterate to get the bounds that drive the hops.

    Time runs from 0 until `CURRENT_FOR_US` after the end of the last cue, so that the last cue is the
    current utterance for as long as the others.
    """

    def __init__(
        self, path: Path, transcript: Transcript, start_us: int = 0, end_us: int = FOREVER_US
    ) -> None:
        """Raises `SourceError` for a transcript without words, or one that ends before `start_us`."""
        if not transcript.cues:
            raise SourceError(f"{path}: holds no cues; there is nothing to score")
        whole_us = transcript.cues[-1].end_us + CURRENT_FOR_US
        if whole_us > _MAX_US:
            raise SourceError(
                f"{path}: its last cue ends at {transcript.cues[-1].end_us / 3.6e9:.1f} h; expected "
                f"times from the start of a recording of at most {_MAX_US / 3.6e9:.0f} h"
            )
        if start_us >= whole_us:
            raise SourceError(
                f"{path}: start {start_us / 1e6} s is beyond its end at {whole_us / 1e6:.3f} s"
            )
        self.path = path
        self.transcript = transcript
        self.stats = DecodeStats()
        self.info = MediaInfo(path.suffix[1:].lower(), whole_us, 0, None, (), None, (), ())
        self.start_us = start_us
        self.end_us = min(end_us, whole_us)

    @classmethod
    def open(cls, path: Path, start_us: int | None, end_us: int | None) -> TranscriptSource:
        """Read the transcript file at `path`. Raises `SourceError` when it cannot be used."""
        return cls(path, read_transcript(path), start_us or 0, end_us or FOREVER_US)

    def counts(self) -> dict[str, int]:
        """As `Recording.counts`; every count is 0."""
        return {"frames": 0, **self.stats.counts()}

    def __iter__(self) -> Iterator[Bound]:
        for t_us in range(self.start_us, self.end_us, _STEP_US):
            for kind in MediaKind:
                yield Bound(kind, t_us)

    def close(self) -> None:
        """Do nothing: no file stays open. A session closes its source, whichever it is."""
