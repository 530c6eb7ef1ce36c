"""The readings table: one row for each track and hop, as Arrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from affectstream.engines.labels import SENTIMENTS
from affectstream.engines.landmarks import FIVE_POINTS
from affectstream.stream.fusion.reading import SCORE_DECIMALS, Reading
from affectstream.stream.results.attention import AttentionReading
from affectstream.stream.results.event_builder import rounded, seconds
from affectstream.stream.results.interpret import HopResult
from affectstream.stream.results.origin import Origin

_SENTIMENTS = tuple(f"sentiment_{name}" for name in SENTIMENTS)
_POINTS = tuple(f"{name}_{axis}" for name in FIVE_POINTS for axis in "xy")


def table_schema(labels: Sequence[str]) -> pa.Schema:
    """Columns of the table, the same for every bundle with these `labels`.

    Columns of outputs that the bundle does not have keep their type and are null, so that tables of
    several bundles can be joined. Boxes and landmarks are fractions of
    the frame's width and height.
    """
    number = pa.float64()
    fields = [
        ("stream", pa.string()),
        ("hop", pa.int64()),
        ("t_start", number),
        ("t_end", number),
        ("track", pa.int32()),
        ("modalities", pa.string()),
        ("label", pa.string()),
        ("confidence", number),
        ("abstain", pa.string()),
        ("assigned_by", pa.string()),
        ("speaker", pa.string()),
        *((label, number) for label in labels),
        ("valence", number),
        ("arousal", number),
        ("derived", pa.bool_()),
        ("engagement", number),
        *((name, number) for name in _SENTIMENTS),
        ("intensity", number),
        *((f"{label}_intensity", number) for label in labels),
        ("attention", number),
        ("attention_state", pa.string()),
        ("attention_method", pa.string()),
        *((name, number) for name in ("yaw", "pitch", "roll")),
        *((name, number) for name in ("gaze_yaw", "gaze_pitch", "eyes_open", "mouth_open")),
        *((name, number) for name in ("blink_rate", "quality", "voiced")),
        *((name, number) for name in ("face_t", "left", "top", "right", "bottom", "face_score")),
        *((name, number) for name in _POINTS),
    ]
    return pa.schema(fields)


def table_rows(origin: Origin, hop: HopResult, end_us: int) -> list[dict[str, Any]]:
    """The rows of one hop; no time is later than `end_us`, the end of the recording."""
    return [_row(origin, reading, attention, end_us) for reading, attention in hop.readings]


def _row(
    origin: Origin, reading: Reading, attention: AttentionReading | None, end_us: int
) -> dict[str, Any]:
    labels = origin.labels
    scores = reading.scores or (None,) * len(labels)
    intensities = reading.intensities or (None,) * len(labels)
    return {
        "stream": origin.stream,
        "hop": reading.hop,
        "t_start": seconds(reading.start_us),
        "t_end": seconds(min(reading.end_us, end_us)),
        "track": reading.track,
        "modalities": "+".join(reading.modalities),
        "label": reading.label,
        "confidence": reading.confidence,
        "abstain": reading.abstain,
        "assigned_by": reading.assigned_by,
        "speaker": reading.speaker,
        **dict(zip(labels, scores, strict=True)),
        "valence": reading.valence,
        "arousal": reading.arousal,
        "derived": reading.derived,
        "engagement": reading.engagement,
        **dict(zip(_SENTIMENTS, reading.sentiment or (None,) * len(_SENTIMENTS), strict=True)),
        "intensity": reading.intensity,
        **{f"{n}_intensity": v for n, v in zip(labels, intensities, strict=True)},
        "voiced": rounded(reading.voiced),
        **_attention(attention),
        **_face(reading),
    }


def _attention(attention: AttentionReading | None) -> dict[str, Any]:
    if attention is None:
        return {}
    return {
        "attention": rounded(attention.score),
        "attention_state": attention.state,
        "attention_method": attention.method,
        "yaw": rounded(attention.yaw, 2),
        "pitch": rounded(attention.pitch, 2),
        "roll": rounded(attention.roll, 2),
        "gaze_yaw": rounded(attention.gaze_yaw, 2),
        "gaze_pitch": rounded(attention.gaze_pitch, 2),
        "eyes_open": rounded(attention.eyes_open),
        "mouth_open": rounded(attention.mouth_open),
        "blink_rate": rounded(attention.blink_rate, 1),
    }


def _face(reading: Reading) -> dict[str, Any]:
    sample = reading.track_sample
    if sample is None:
        return {}
    width, height = sample.frame_size
    left, top, right, bottom = sample.face.box
    points = (sample.face.landmarks / (width, height)).ravel()
    return {
        "face_t": seconds(sample.pts_us),
        "quality": rounded(sample.face.quality.value),
        "left": rounded(left / width),
        "top": rounded(top / height),
        "right": rounded(right / width),
        "bottom": rounded(bottom / height),
        "face_score": rounded(sample.face.score),
        **{n: round(float(p), SCORE_DECIMALS) for n, p in zip(_POINTS, points, strict=True)},
    }
