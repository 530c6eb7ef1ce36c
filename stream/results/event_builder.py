"""Events for sinks, made from readings, segments and gaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, TypeVar

from affectstream.engines.labels import SENTIMENTS, Modality
from affectstream.stream.events import Attention, Emotion, Segment, SegmentKind, Stream
from affectstream.stream.fusion.reading import SCORE_DECIMALS, Reading
from affectstream.stream.media.types import FOREVER_US
from affectstream.stream.results.attention import AttentionReading
from affectstream.stream.results.segments import StateSpan
from affectstream.stream.windowing.gaps import Gap

_Name = TypeVar("_Name", bound=str)


class _Times(TypedDict):
    stream: str
    track: int | None
    t_start: float
    t_end: float


class EventBuilder:
    """Builds the events of one source. Their times end at `end_us`, the end of the recording."""

    def __init__(self, stream: str, labels: Sequence[str]) -> None:
        """`stream` names the source in events; `labels` are those of the bundle."""
        self._stream = stream
        self._labels = labels
        self.end_us = FOREVER_US

    def emotion(self, reading: Reading) -> Emotion:
        """The emotion of one track in one hop."""
        return Emotion(
            **self._times(reading),
            modalities=reading.modalities,
            label=reading.label,
            confidence=reading.confidence,
            scores=_by_name(self._labels, reading.scores),
            abstain=reading.abstain,
            assigned_by=reading.assigned_by,
            speaker=reading.speaker,
            valence=reading.valence,
            arousal=reading.arousal,
            derived=reading.derived,
            engagement=reading.engagement,
            sentiment=_by_name(SENTIMENTS, reading.sentiment),
            intensity=reading.intensity,
            intensities=_by_name(self._labels, reading.intensities),
        )

    def attention(self, reading: Reading, attention: AttentionReading) -> Attention:
        """The attention of the same track in the same hop."""
        modalities: tuple[Modality, ...] = ()
        if attention.score is not None:
            modalities = reading.modalities if attention.method == "model" else ("video",)
        return Attention(
            **self._times(reading),
            modalities=modalities,
            state=attention.state,
            score=rounded(attention.score),
            yaw=rounded(attention.yaw, 2),
            pitch=rounded(attention.pitch, 2),
            roll=rounded(attention.roll, 2),
            method=attention.method,
            gaze_yaw=rounded(attention.gaze_yaw, 2),
            gaze_pitch=rounded(attention.gaze_pitch, 2),
            eyes_open=rounded(attention.eyes_open),
            mouth_open=rounded(attention.mouth_open),
        )

    def segment(
        self,
        track: int | None,
        of: SegmentKind,
        span: StateSpan,
        modalities: tuple[Modality, ...],
    ) -> Segment:
        """A segment that has ended."""
        return Segment(
            stream=self._stream,
            track=track,
            t_start=seconds(span.start_us),
            t_end=seconds(span.end_us),
            modalities=modalities,
            of=of,
            state=span.state,
            mean=round(span.mean, SCORE_DECIMALS),
            peak=round(span.peak, SCORE_DECIMALS),
        )

    def gap(self, gap: Gap) -> Stream:
        """A gap in the recording."""
        return Stream(
            stream=self._stream,
            t_start=seconds(gap.start_us),
            t_end=seconds(gap.end_us),
            modalities=(gap.kind.modality,),
            what="gap",
        )

    def warning(self, t_us: int, detail: str, modalities: tuple[Modality, ...]) -> Stream:
        """A message for the user about the source at a time."""
        return Stream(
            stream=self._stream,
            t_start=seconds(t_us),
            t_end=seconds(t_us),
            modalities=modalities,
            what="warning",
            detail=detail,
        )

    def _times(self, reading: Reading) -> _Times:
        return {
            "stream": self._stream,
            "track": reading.track,
            "t_start": seconds(reading.start_us),
            "t_end": seconds(min(reading.end_us, self.end_us)),
        }


def _by_name(names: Sequence[_Name], values: Sequence[float] | None) -> dict[_Name, float] | None:
    return None if values is None else dict(zip(names, values, strict=True))


def seconds(t_us: int) -> float:
    """Seconds with 6 decimals."""
    return round(t_us / 1e6, 6)


def rounded(value: float | None, decimals: int = SCORE_DECIMALS) -> float | None:
    """`value` rounded; None stays None, and -0.0 becomes 0.0."""
    return None if value is None else round(value, decimals) + 0.0
