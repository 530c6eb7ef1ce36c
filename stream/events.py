"""The events: one type for each kind, written as JSON Lines.

`schema` and `type` come first on every line. Times are seconds of media with 6 decimals, scores have 4
decimals. A reader refuses a newer major version and reads older ones. Version 1.1 added `sentiment`,
`intensity` and `intensities` to emotions, and the reason ``no_picture``. Version 1.2 added to attention the
gaze, the opening of eyes and mouth, and the method ``gaze``. Version 1.3 added `arousal`, `derived` and
`speaker` to emotions, the reason ``conflict``, and ``mouth`` to the ways of assigning a voice.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from affectstream.engines.labels import Modality, Sentiment

SCHEMA = "1.3"

Version = Annotated[str, Meta(pattern=r"^1\.\d+$")]
MAX_NAME_CHARS = 255
Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS)]
Track = Annotated[int, Meta(ge=1, le=2**31)]
Seconds = Annotated[float, Meta(ge=0.0, le=1e9)]
Unit = Annotated[float, Meta(ge=0.0, le=1.0)]
Signed = Annotated[float, Meta(ge=-1.0, le=1.0)]
Degrees = Annotated[float, Meta(ge=-180.0, le=180.0)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Milliseconds = Annotated[float, Meta(ge=0.0, le=1e9)]
UserText = Annotated[str, Meta(min_length=1, max_length=500)]
UtcTimestamp = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")]
Reason = Literal[
    "no_face",
    "tiny_face",
    "blurred_face",
    "turned_face",
    "no_picture",
    "no_speech",
    "no_words",
    "language",
    "low_confidence",
    "conflict",
]
AssignedBy = Literal["only_track", "option", "channel", "transcript", "mouth"]
AttentionState = Literal["attentive", "away", "absent"]
AttentionMethod = Literal["gaze", "head_pose", "model"]
SegmentKind = Literal["emotion", "attention"]
StreamEvent = Literal["started", "gap", "reconnected", "dropped", "warning", "ended"]


class Emotion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the bundle read of one track (or of the recording) in one hop."""

    schema: Version = SCHEMA
    type: Literal["emotion"] = "emotion"
    stream: Name
    track: Track | None
    """None: the recording itself, for voice and words that are not assigned to a person in view."""
    t_start: Seconds
    t_end: Seconds
    modalities: tuple[Modality, ...]
    """Those that were used in this hop."""
    label: str | None
    """The most probable label; None if the recognizer abstains."""
    confidence: Unit | None
    """Its calibrated probability."""
    scores: dict[str, Unit] | None
    """Probability of every label; None without usable input, or if the bundle predicts no labels."""
    abstain: Reason | None
    """Why `label` is None."""
    assigned_by: AssignedBy | None
    """How voice or words were assigned to this track."""
    speaker: Name | None = None
    """Who speaks, where voices or a transcript tell people apart and no track does."""
    valence: Signed | None = None
    """From unpleasant to pleasant."""
    arousal: Signed | None = None
    """From calm to excited."""
    derived: bool | None = None
    """Whether `valence` and `arousal` follow from `scores`; False if the bundle predicts them itself, None
    without both."""
    engagement: Unit | None = None
    sentiment: dict[Sentiment, Unit] | None = None
    """Probability of each."""
    intensity: Unit | None = None
    """Strength of the expression, whatever its label."""
    intensities: dict[str, Unit] | None = None
    """Strength of each label, independent of the others."""
    emitted_at: UtcTimestamp | UnsetType = UNSET
    age_ms: Milliseconds | UnsetType = UNSET
    latency_ms: Milliseconds | UnsetType = UNSET


class Attention(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether one track attended in one hop: by where head and eyes pointed, or as the bundle predicts."""

    schema: Version = SCHEMA
    type: Literal["attention"] = "attention"
    stream: Name
    track: Track | None
    t_start: Seconds
    t_end: Seconds
    modalities: tuple[Modality, ...]
    state: AttentionState
    score: Unit | None
    yaw: Degrees | None
    """Positive where the head points to the right of the picture."""
    pitch: Degrees | None
    """Positive where the head points up."""
    roll: Degrees | None
    """Positive where the head leans clockwise in the picture."""
    method: AttentionMethod
    gaze_yaw: Degrees | None = None
    """Where the eyes look, head and eyes together, with the sign of `yaw`; None of closed eyes."""
    gaze_pitch: Degrees | None = None
    eyes_open: Unit | None = None
    """Share of their normal opening."""
    mouth_open: Unit | None = None
    """Distance of the inner lips over the width of the mouth."""
    emitted_at: UtcTimestamp | UnsetType = UNSET
    age_ms: Milliseconds | UnsetType = UNSET
    latency_ms: Milliseconds | UnsetType = UNSET


class Segment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stretch of one state, given out once it is over."""

    schema: Version = SCHEMA
    type: Literal["segment"] = "segment"
    stream: Name
    track: Track | None
    t_start: Seconds
    """Onset."""
    t_end: Seconds
    """Offset."""
    modalities: tuple[Modality, ...]
    of: SegmentKind
    state: str
    mean: Unit
    """Mean strength of the state. Of an emotion: the probability of its label in the hops of the segment. Of
    attention: its score if attentive, 1 - score if away, 1 if absent."""
    peak: Unit
    """The highest strength."""
    emitted_at: UtcTimestamp | UnsetType = UNSET


class Stream(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that happened to the stream itself."""

    schema: Version = SCHEMA
    type: Literal["stream"] = "stream"
    stream: Name
    track: Track | None = None
    t_start: Seconds
    t_end: Seconds
    modalities: tuple[Modality, ...]
    """Those that the source has and the bundle uses; of a gap, the one that is missing."""
    what: StreamEvent
    detail: str | None = None
    complete: bool | None = None
    """Of `ended`: whether the input was read up to its end."""
    counts: dict[str, Count] = {}
    purpose: UserText | UnsetType = UNSET
    """Of `started`, if the user states it: what the results are for."""
    consent: UserText | UnsetType = UNSET
    """Of `started`, if the user states it: what the people in it agreed to."""
    emitted_at: UtcTimestamp | UnsetType = UNSET


Event = Emotion | Attention | Segment | Stream
TYPES: dict[str, type[Event]] = {
    "emotion": Emotion,
    "attention": Attention,
    "segment": Segment,
    "stream": Stream,
}


def utc_timestamp(t: datetime) -> str:
    """RFC 3339 in UTC with milliseconds: ``2026-11-21T15:04:05.123Z``."""
    return t.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_encoder = msgspec.json.Encoder()


class _Envelope(Struct):
    schema: str
    type: str


def encode(event: Event) -> bytes:
    """One line of JSON, without the newline."""
    return _encoder.encode(event)


def parse_event(line: bytes | str) -> Event:
    """Read one line. Raises `ValueError` for another schema version, type, field or range."""
    try:
        envelope = msgspec.json.decode(line, type=_Envelope)
        if envelope.schema.partition(".")[0] != SCHEMA.partition(".")[0]:
            raise ValueError(
                f"event schema {envelope.schema} cannot be read, only {SCHEMA} and older"
            )
        if envelope.type not in TYPES:
            raise ValueError(f"event type {envelope.type!r} is not one of {sorted(TYPES)}")
        return msgspec.json.decode(line, type=TYPES[envelope.type])
    except msgspec.DecodeError as error:
        raise ValueError(f"not an event: {error}") from error


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of one line. It forbids unknown fields and bounds every number."""
    optional = {"emitted_at", "age_ms", "latency_ms", "purpose", "consent"}
    refs, components = msgspec.json.schema_components(TYPES.values(), ref_template="#/$defs/{name}")
    for component in components.values():
        component["required"] = [n for n in component["properties"] if n not in optional]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Affectstream event {SCHEMA}",
        "oneOf": list(refs),
        "$defs": components,
    }
