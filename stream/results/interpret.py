"""Everything about one source that has to be done in order: tracks, windows, readings, events.

The parallel part, perception, lies before this; what comes out of here depends only on what was
pushed, never on when.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.labels import SENTIMENTS
from affectstream.stream.events import Attention as AttentionEvent
from affectstream.stream.events import Emotion, Event, Segment, Stream
from affectstream.stream.faces.encode import FaceEncoders
from affectstream.stream.faces.face import FrameObservation
from affectstream.stream.faces.pose import Pose, solve_pose
from affectstream.stream.faces.track import MEMORY_US, Tracker
from affectstream.stream.fusion.fuse import SCORE_DECIMALS, Fuser, Reading
from affectstream.stream.media.types import (
    FOREVER_US,
    Bound,
    Cue,
    MediaKind,
    Samples,
    sample_time_us,
)
from affectstream.stream.options import SourceOptions
from affectstream.stream.results.attention import AttentionMeter, AttentionReading
from affectstream.stream.results.segments import Segmenter, Smoother, StateSpan
from affectstream.stream.windowing.gaps import Gap, GapFinder
from affectstream.stream.windowing.windows import (
    FrameSample,
    TrackSample,
    Window,
    Windower,
    WindowShape,
)

_MODALITY = {MediaKind.VIDEO: "video", MediaKind.AUDIO: "voice"}


@dataclass(frozen=True, slots=True, eq=False)
class HopResult:
    """What one hop gave: each reading with the attention of its track, and the events for sinks."""

    readings: tuple[tuple[Reading, AttentionReading | None], ...]
    events: tuple[Event, ...]


class _Person:
    """The states that one track (or the recording) carries from hop to hop."""

    def __init__(self, labels: Sequence[str], baseline_us: int) -> None:
        self.meter = AttentionMeter(baseline_us)
        self.smoother = Smoother(labels)
        self.emotions, self.attentions = Segmenter(), Segmenter()
        self.modalities: tuple[str, ...] = ()
        self.seen_us = 0


class Interpreter:
    """Pure: push in the order of the source, get hops."""

    def __init__(
        self, bundle: Bundle, stream: str, options: SourceOptions, sources: Sequence[str]
    ) -> None:
        """`sources` are the modalities that the recording can give; `stream` names it in events."""
        manifest = bundle.manifest
        self._labels = manifest.labels
        self._shape = WindowShape(manifest.window_us, manifest.hop_us, manifest.frame_hz)
        self._stream = stream
        self._options = options
        self._sources = tuple(sources)
        self._tracker = Tracker()
        self._poses: dict[int, Pose | None] = {}
        texts = [e.manifest.engines.text_encoder for e in bundle.experts]
        self._windower = Windower(
            self._shape,
            channels=2 if options.assignment.channels else 1,
            start_us=options.start_us or 0,
            shorter_us=sorted(
                {e.manifest.window_us for e in bundle.experts} - {manifest.window_us}
            ),
            context=max((text.context for text in texts if text is not None), default=0),
        )
        self._fuser = Fuser(
            bundle,
            assignment=options.assignment,
            language=options.language,
            sources=sources,
            speakers=options.metadata,
        )
        self._tells_emotion = bool(bundle.answers - {"attention"})
        self._tells_attention = "attention" in bundle.answers
        self._sees_faces = bool(FaceEncoders.from_bundle(bundle).faces) and "video" in self._sources
        self._people: dict[int | None, _Person] = {}
        self._finder = GapFinder()
        self._gaps: list[Gap] = []
        self.gap_count = 0
        """How many gaps were told so far."""
        self._end_us = FOREVER_US

    def push_frame(self, points: range, seen: FrameObservation | None) -> list[HopResult]:
        """Faces for `points` of the grid, in order; None where the grid has no frame."""
        tracked: list[tuple[int, TrackSample]] = []
        if seen is not None:
            before, self._poses = self._poses, {}
            focal = self._options.focal_px
            focal = None if focal is None else focal * seen.scale
            for number, face in self._tracker.push(seen):
                pose = solve_pose(face.landmarks, seen.frame_size, before.get(number), focal)
                self._poses[number] = pose
                tracked.append((number, TrackSample(0, seen.pts_us, seen.frame_size, face, pose)))
            self._came(MediaKind.VIDEO, self._grid_us(points.start), self._grid_us(points.stop))
        windows = []
        for point in points:
            here = [
                (n, TrackSample(point, t.pts_us, t.frame_size, t.face, t.pose)) for n, t in tracked
            ]
            whole = None
            if seen is not None and seen.frame_embeddings:
                whole = FrameSample(point, seen.pts_us, seen.frame_embeddings)
            windows += self._windower.push_frame(point, here, whole)
        return self._hops(windows)

    def push_sound(self, samples: Samples) -> list[HopResult]:
        """A run of sound."""
        start_us, end_us = sample_time_us(samples.start), sample_time_us(samples.end)
        self._came(MediaKind.AUDIO, start_us, end_us)
        return self._hops(self._windower.push_sound(samples))

    def push_cue(self, cue: Cue) -> None:
        """A cue of the transcript."""
        self._windower.push_cue(cue)

    def push_bound(self, bound: Bound) -> list[HopResult]:
        """A promise that nothing earlier will come."""
        return self._hops(self._windower.push_bound(bound))

    def flush(self, end_us: int) -> list[HopResult]:
        """The hops that are left of a recording that ends at `end_us`, and every open segment."""
        self._end_us = end_us
        return [*self._hops(self._windower.flush(end_us)), self.close_segments()]

    def close_segments(self) -> HopResult:
        """Every segment that is still open, ended where it stands."""
        events = [
            event
            for track in sorted(self._people, key=_order)
            for event in self._close(track, self._people[track])
        ]
        return HopResult((), tuple(events))

    @property
    def tracks(self) -> int:
        """How many people were told apart so far; they are numbered from 1."""
        return self._tracker.count

    def _grid_us(self, point: int) -> int:
        return point * 1_000_000 // self._shape.frame_hz

    def _came(self, kind: MediaKind, start_us: int, end_us: int) -> None:
        if _MODALITY[kind] in self._sources:
            self._gaps += self._finder.push(kind, start_us, end_us)

    def _told_gaps(self, until_us: int) -> list[Event]:
        """Gaps after which something came before `until_us`; told with the hop, so that how far one
        kind runs ahead of the other in a file makes no difference."""
        due = [gap for gap in self._gaps if gap.end_us < until_us]
        self._gaps = [gap for gap in self._gaps if gap.end_us >= until_us]
        self.gap_count += len(due)
        return [
            Stream(
                stream=self._stream,
                t_start=seconds(gap.start_us),
                t_end=seconds(gap.end_us),
                modalities=(_MODALITY[gap.kind],),  # type: ignore[arg-type]
                what="gap",
            )
            for gap in sorted(due, key=lambda gap: (gap.end_us, gap.kind.value))
        ]

    def _hops(self, windows: Iterable[Window]) -> list[HopResult]:
        return [self._hop(window) for window in windows]

    def _hop(self, window: Window) -> HopResult:
        readings, events = [], self._told_gaps(window.end_us)
        for reading in self._fuser.push(window):
            person = self._people.get(reading.track)
            if person is None:
                person = _Person(self._labels, self._options.baseline_us)
                self._people[reading.track] = person
            attention = self._attention(person, window, reading)
            readings.append((reading, attention))
            events += self._tell(reading, attention)
            events += self._follow(person, reading, attention)
            person.seen_us = window.end_us
        for track in sorted(self._people.keys() - {r.track for r, _ in readings}, key=_order):
            person = self._people[track]
            events += self._close(track, person)
            if window.end_us - person.seen_us > MEMORY_US:  # the number will not come back
                del self._people[track]
        return HopResult(tuple(readings), tuple(events))

    def _attention(
        self, person: _Person, window: Window, reading: Reading
    ) -> AttentionReading | None:
        """None where nothing tells it: without faces, unless the bundle has a head for it; and for the
        recording's own reading while someone is in view, unless that head spoke of it."""
        first = window.hop * self._shape.points_per_hop
        looks = window.tracks.get(reading.track, ()) if reading.track is not None else ()
        poses = [(k.pts_us, k.pose) for k in looks if k.point >= first and k.pose is not None]
        aside = reading.track is None and bool(window.tracks)
        if self._tells_attention:
            if aside and reading.attention is None:
                return None
            return person.meter.push_score(reading.attention, poses, window.end_us)
        if aside or not self._sees_faces:
            return None
        return person.meter.push(poses, window.end_us)

    def _times(self, reading: Reading) -> dict[str, Any]:
        return {
            "stream": self._stream,
            "track": reading.track,
            "t_start": seconds(reading.start_us),
            "t_end": seconds(min(reading.end_us, self._end_us)),
        }

    def _tell(self, reading: Reading, attention: AttentionReading | None) -> list[Event]:
        events: list[Event] = [self._emotion(reading)] if self._tells_emotion else []
        if attention is not None:
            used = reading.modalities if attention.method == "model" else ("video",)
            events.append(
                AttentionEvent(
                    **self._times(reading),
                    modalities=() if attention.score is None else used,  # type: ignore[arg-type]
                    state=attention.state,  # type: ignore[arg-type]
                    score=rounded(attention.score),
                    yaw=rounded(attention.yaw, 2),
                    pitch=rounded(attention.pitch, 2),
                    roll=rounded(attention.roll, 2),
                    method=attention.method,  # type: ignore[arg-type]
                )
            )
        return events

    def _emotion(self, reading: Reading) -> Emotion:
        return Emotion(
            **self._times(reading),
            modalities=reading.modalities,  # type: ignore[arg-type]
            label=reading.label,
            confidence=reading.confidence,
            scores=_named(self._labels, reading.scores),
            abstain=reading.abstain,  # type: ignore[arg-type]
            assigned_by=reading.assigned_by,  # type: ignore[arg-type]
            valence=reading.valence,
            engagement=reading.engagement,
            sentiment=_named(SENTIMENTS, reading.sentiment),  # type: ignore[arg-type]
            intensity=reading.intensity,
            intensities=_named(self._labels, reading.intensities),
        )

    def _follow(
        self, person: _Person, reading: Reading, attention: AttentionReading | None
    ) -> list[Event]:
        """Advance the segments of one track by one hop."""
        span = reading.start_us, min(reading.end_us, self._end_us)
        person.modalities = reading.modalities or person.modalities
        state, score = person.smoother.push(reading.scores, self._shape.hop_us)
        done = [("emotion", s) for s in person.emotions.push(*span, state, score)]
        if attention is not None:
            stretches = person.attentions.push(*span, attention.state, attention.strength)
            done += [("attention", s) for s in stretches]
        return [self._segment(reading.track, person, of, stretch) for of, stretch in done]

    def _close(self, track: int | None, person: _Person) -> list[Event]:
        """End what is open of one who is out of view; the baseline stays for a return."""
        person.smoother.push(None, self._shape.hop_us)
        done = [("emotion", s) for s in person.emotions.flush()]
        done += [("attention", s) for s in person.attentions.flush()]
        return [self._segment(track, person, of, stretch) for of, stretch in done]

    def _segment(self, track: int | None, person: _Person, of: str, stretch: StateSpan) -> Event:
        pose = of == "attention" and not self._tells_attention
        return Segment(
            stream=self._stream,
            track=track,
            t_start=seconds(stretch.start_us),
            t_end=seconds(stretch.end_us),
            modalities=("video",) if pose else person.modalities,  # type: ignore[arg-type]
            of=of,  # type: ignore[arg-type]
            state=stretch.state,
            mean=round(stretch.mean, SCORE_DECIMALS),
            peak=round(stretch.peak, SCORE_DECIMALS),
        )


def _named(names: Sequence[str], values: Sequence[float] | None) -> dict[str, float] | None:
    return None if values is None else dict(zip(names, values, strict=True))


def seconds(t_us: int) -> float:
    """Seconds with 6 decimals."""
    return round(t_us / 1e6, 6)


def rounded(value: float | None, decimals: int = SCORE_DECIMALS) -> float | None:
    """`value` rounded, None kept; -0.0 becomes 0.0."""
    return None if value is None else round(value, decimals) + 0.0


def _order(track: int | None) -> int:
    return -1 if track is None else track
