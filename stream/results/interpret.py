"""What must be computed in the order of the source: tracks, windows, readings and events.

Perception, which may run in parallel, comes before this. The results depend only on what was pushed,
never on when.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.labels import Modality
from affectstream.stream.events import Event, SegmentKind
from affectstream.stream.faces.encode import FaceEncoders
from affectstream.stream.faces.face import FrameObservation
from affectstream.stream.faces.tracking.follow import Follower
from affectstream.stream.faces.tracking.track import MEMORY_US
from affectstream.stream.fusion.fuse import Fuser
from affectstream.stream.fusion.reading import Reading
from affectstream.stream.media.types import (
    FOREVER_US,
    Bound,
    Cue,
    MediaKind,
    Samples,
    sample_time_us,
)
from affectstream.stream.options import SourceOptions
from affectstream.stream.results.attention import (
    AttentionMeter,
    AttentionReading,
    attention_method,
)
from affectstream.stream.results.event_builder import EventBuilder
from affectstream.stream.results.segments import Segmenter, StateSpan
from affectstream.stream.voices.turns import VoiceTurns
from affectstream.stream.windowing.gaps import Gap, GapFinder
from affectstream.stream.windowing.speech_share import SpeechShare
from affectstream.stream.windowing.windows import (
    RECENT_VOICE_US,
    FrameSample,
    HolePolicy,
    TrackSample,
    Window,
    Windower,
    WindowShape,
)


@dataclass(frozen=True, slots=True, eq=False)
class HopResult:
    """The results of one hop: each reading with the attention of its track, and the events for sinks."""

    readings: tuple[tuple[Reading, AttentionReading | None], ...]
    events: tuple[Event, ...]


class _TrackState:
    """What is carried from hop to hop for one track, or for the recording."""

    def __init__(self, meter: AttentionMeter) -> None:
        self.meter = meter
        self.emotions, self.attentions = Segmenter(), Segmenter()
        self.modalities: tuple[Modality, ...] = ()
        """Those of the newest reading that used any."""
        self.seen_us = 0
        """End of the last hop with a reading."""
        self.speaker: str | None = None
        """The newest speaker, where no track speaks."""


class Interpreter:
    """Push observations, sound and words in the order of the source; get the results of each hop."""

    def __init__(
        self,
        bundle: Bundle,
        stream: str,
        options: SourceOptions,
        modalities: Sequence[Modality],
        *,
        live: bool = False,
        turns: VoiceTurns | None = None,
    ) -> None:
        """`modalities` are those that the source can give; `stream` names the source in events.

        The hops of a `live` source do not wait until media follows (see `HolePolicy`). `turns` say which
        voice is heard when.
        """
        manifest = bundle.manifest
        self._labels = manifest.labels
        self._shape = WindowShape(manifest.window_us, manifest.hop_us, manifest.frame_hz)
        self._options = options
        self.modalities = tuple(modalities)
        self._follower = Follower(options.focal_px)
        holes: HolePolicy = "skip" if live else "wait"
        has_media = bool({"video", "voice"} & set(modalities))
        self._windower = _windower(bundle, self._shape, options, holes if has_media else "keep")
        self.fuser = Fuser(
            bundle,
            assignment=options.assignment,
            language=options.language,
            modalities=modalities,
            speakers=options.metadata,
            min_confidence=options.min_confidence,
            neutral_us=options.neutral_us,
            turns=turns,
        )
        self._events = EventBuilder(stream, manifest.labels)
        self._has_emotion = bool(bundle.head_outputs - {"attention"})
        self.attention_method = attention_method(bundle, options.attention)
        """How the attention of faces is measured."""
        self._has_faces = bool(FaceEncoders.from_bundle(bundle).faces) and "video" in modalities
        self._states: dict[int | None, _TrackState] = {}
        self._speech_share = SpeechShare(manifest.hop_us)
        self._gap_finder = GapFinder()
        self._gaps: list[Gap] = []
        self._warnings: list[tuple[int, str]] = []
        self._next_hop: int | None = None
        self.gap_count = 0
        """Gaps reported so far."""
        self.bad_faces = 0
        """Detections left out so far, because nothing can be cropped from their landmarks."""

    @property
    def track_count(self) -> int:
        """Tracks so far; they are numbered from 1."""
        return self._follower.count

    @property
    def end_us(self) -> int:
        """No result ends later: where the recording ends, from `flush` on; before that there is no limit."""
        return self._events.end_us

    def counts(self) -> dict[str, int]:
        """Counts for the `ended` event; that of bad faces only where there are some."""
        return {"gaps": self.gap_count} | ({"bad_faces": self.bad_faces} if self.bad_faces else {})

    def push_frame(
        self, points: range, observation: FrameObservation | None
    ) -> Iterator[HopResult]:
        """The observation that serves `points` of the grid; None where the grid has no frame.

        Push all points in order.
        """
        if observation is None:
            end_us = -(-points.stop * 1_000_000 // self._shape.frame_hz)
            return self.push_bound(Bound(MediaKind.VIDEO, end_us))
        self.bad_faces += observation.bad_faces
        faces = self._follower.push(observation)
        self._push_media(MediaKind.VIDEO, self._point_us(points.start), self._point_us(points.stop))
        pts_us, size = observation.pts_us, observation.frame_size
        windows: list[Iterator[Window]] = []
        for point in points:
            frame = None
            if observation.frame_embeddings:
                frame = FrameSample(point, pts_us, observation.frame_embeddings)
            tracked = [
                (number, TrackSample(point, pts_us, size, face, observation.rotation))
                for number, face in faces
            ]
            windows.append(self._windower.push_frame(point, tracked, frame))
        return self._results(chain.from_iterable(windows))

    def push_sound(self, samples: Samples) -> Iterator[HopResult]:
        """A run of sound. If the options exclude voice, only its end counts: windows wait for that."""
        start_us, end_us = sample_time_us(samples.start), sample_time_us(samples.end)
        if not self._options.allows("voice"):
            return self.push_bound(Bound(MediaKind.AUDIO, end_us))
        self._push_media(MediaKind.AUDIO, start_us, end_us)
        return self._results(self._windower.push_sound(samples))

    def push_cue(self, cue: Cue) -> None:
        """A cue of the transcript."""
        self._windower.push_cue(cue)

    def push_bound(self, bound: Bound) -> Iterator[HopResult]:
        """A promise that nothing of one kind earlier than the bound will come."""
        return self._results(self._windower.push_bound(bound))

    def warn(self, t_us: int, detail: str) -> None:
        """Warn of the pictures of the source from `t_us` on, with the hop of that time."""
        self._warnings.append((t_us, detail))

    def flush(self, end_us: int) -> Iterator[HopResult]:
        """The remaining hops of a recording that ends at `end_us`, and every open segment."""
        self._events.end_us = end_us
        yield from self._results(self._windower.flush(end_us))
        if self._warnings:
            yield HopResult((), tuple(self._picture_warnings(FOREVER_US)))
        yield self.close_segments()

    def close_segments(self) -> HopResult:
        """Every segment that is still open; it ends at the newest hop."""
        events = [
            event
            for track in sorted(self._states, key=_order)
            for event in self._close(track, self._states[track])
        ]
        return HopResult((), tuple(events))

    def _point_us(self, point: int) -> int:
        return point * 1_000_000 // self._shape.frame_hz

    def _push_media(self, kind: MediaKind, start_us: int, end_us: int) -> None:
        if kind.modality in self.modalities:
            self._gaps += self._gap_finder.push(kind, start_us, end_us)
            self._windower.push_media(kind, start_us, end_us)

    def _picture_warnings(self, until_us: int) -> list[Event]:
        due = [one for one in self._warnings if one[0] < until_us]
        self._warnings = [one for one in self._warnings if one[0] >= until_us]
        return [self._events.warning(t_us, detail, ("video",)) for t_us, detail in due]

    def _gap_events(self, until_us: int) -> list[Event]:
        """Gaps after which media came before `until_us`.

        They are reported with the hops: in a file one kind of stream may run ahead of the other, and
        that must not change the order of events.
        """
        due = [gap for gap in self._gaps if gap.end_us < until_us]
        self._gaps = [gap for gap in self._gaps if gap.end_us >= until_us]
        self.gap_count += len(due)
        due.sort(key=lambda gap: (gap.end_us, gap.kind.value))
        return [self._events.gap(gap) for gap in due]

    def _speech_warnings(self, window: Window) -> list[Event]:
        """A warning where nearly all of a long stretch counts as speech."""
        share = self._speech_share.push(max(window.voiced_us) / self._shape.window_us)
        if share is None or self._options.vad == "none":
            return []
        advice = "listen to it" if self._options.vad == "silero" else "--vad silero is stricter"
        detail = (
            f"{share:.0%} of the sound of the last minutes counts as speech, more than people speak: "
            f"noise or music may pass for a voice ({advice})"
        )
        return [self._events.warning(window.end_us, detail, ("voice",))]

    def _results(self, windows: Iterable[Window]) -> Iterator[HopResult]:
        return (self._result(window) for window in windows)

    def _result(self, window: Window) -> HopResult:
        readings, events = [], list[Event]()
        if window.hop != self._next_hop:  # no segment spans a hole
            events += self.close_segments().events
        self._next_hop = window.hop + 1
        events += self._picture_warnings(window.end_us)
        events += self._gap_events(window.end_us)
        events += self._speech_warnings(window)
        for reading in self.fuser.push(window):
            state = self._states.get(reading.track)
            if state is None:
                meter = AttentionMeter(self.attention_method, self._options.baseline_us)
                state = _TrackState(meter)
                self._states[reading.track] = state
            attention = self._attention(state, window, reading)
            readings.append((reading, attention))
            if self._has_emotion:
                events.append(self._events.emotion(reading))
            if attention is not None:
                events.append(self._events.attention(reading, attention))
            events += self._segments(state, reading, attention)
            state.seen_us = window.end_us
        for track in sorted(self._states.keys() - {r.track for r, _ in readings}, key=_order):
            state = self._states[track]
            events += self._close(track, state)
            if window.end_us - state.seen_us > MEMORY_US:  # the tracker has forgotten the number
                del self._states[track]
        return HopResult(tuple(readings), tuple(events))

    def _attention(
        self, state: _TrackState, window: Window, reading: Reading
    ) -> AttentionReading | None:
        """The attention of a reading; None where it cannot be measured.

        That is so without faces, unless the bundle has an attention head; and for the recording's
        reading while a track is in view, unless the head predicted it.
        """
        first_point = window.hop * self._shape.points_per_hop
        samples = window.tracks.get(reading.track, ()) if reading.track is not None else ()
        faces = [(sample.pts_us, sample.face) for sample in samples if sample.point >= first_point]
        beside_tracks = reading.track is None and bool(window.tracks)
        if self.attention_method == "model":
            if beside_tracks and reading.attention is None:
                return None
        elif beside_tracks or not self._has_faces:
            return None
        return state.meter.push(faces, window.end_us, reading.attention)

    def _segments(
        self, state: _TrackState, reading: Reading, attention: AttentionReading | None
    ) -> list[Event]:
        """Advance the segments of one track by one hop; those that end with it.

        Another speaker begins another segment.
        """
        start_us, end_us = reading.start_us, min(reading.end_us, self._events.end_us)
        state.modalities = reading.modalities or state.modalities
        changed = reading.speaker is not None and state.speaker not in (None, reading.speaker)
        ended = self._close(reading.track, state) if changed else []
        state.speaker = reading.speaker or state.speaker
        scores = dict(zip(self._labels, reading.scores or (), strict=False))
        spans = state.emotions.push(start_us, end_us, reading.label, scores)
        events = [*ended, *self._segment_events(reading.track, state, "emotion", spans)]
        if attention is not None:
            strengths: dict[str, float] = {attention.state: attention.state_score}
            spans = state.attentions.push(start_us, end_us, attention.state, strengths)
            events += self._segment_events(reading.track, state, "attention", spans)
        return events

    def _close(self, track: int | None, state: _TrackState) -> list[Event]:
        """End the segments of a track that is out of view; its baseline stays, should it return."""
        return [
            *self._segment_events(track, state, "emotion", state.emotions.flush()),
            *self._segment_events(track, state, "attention", state.attentions.flush()),
        ]

    def _segment_events(
        self,
        track: int | None,
        state: _TrackState,
        of: SegmentKind,
        spans: Iterable[StateSpan],
    ) -> list[Event]:
        by_pose = of == "attention" and self.attention_method != "model"
        modalities: tuple[Modality, ...] = ("video",) if by_pose else state.modalities
        return [self._events.segment(track, of, span, modalities) for span in spans]


def _windower(
    bundle: Bundle, shape: WindowShape, options: SourceOptions, holes: HolePolicy
) -> Windower:
    """A windower for the windows of all members, and the context of their text encoders."""
    manifests = [member.manifest for member in bundle.member_bundles]
    texts = [manifest.engines.text_encoder for manifest in manifests]
    return Windower(
        shape,
        channels=2 if options.assignment.channels else 1,
        start_us=options.start_us or 0,
        shorter_us=sorted(
            {RECENT_VOICE_US, *(manifest.window_us for manifest in manifests)} - {shape.window_us}
        ),
        context=max((text.context for text in texts if text is not None), default=0),
        holes=holes,
        vad=options.vad,
    )


def _order(track: int | None) -> int:
    return -1 if track is None else track
