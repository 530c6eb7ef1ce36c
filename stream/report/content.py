"""What the page of a report shows, as JSON: series as base64 of one byte a value."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from affectstream.engines.labels import MODALITIES
from affectstream.stream.events import Event, Reason, Segment, Stream
from affectstream.stream.media.types import Cue
from affectstream.stream.report.person_summary import STATES, summarize
from affectstream.stream.report.readings_by_person import (
    Numbers,
    Person,
    hop_seconds,
    people,
)
from affectstream.stream.report.synchrony import Synchrony, synchronies

MISSING = 255
"""The byte of a value that is missing; the others divide the range of a series evenly."""
_RANGES = {
    "valence": (-1.0, 1.0),
    "arousal": (-1.0, 1.0),
    "attention": (0.0, 1.0),
    "yaw": (-90.0, 90.0),
    "pitch": (-90.0, 90.0),
    "eyes_open": (0.0, 1.0),
    "quality": (0.0, 1.0),
}
"""The series besides the scores. `yaw` and `pitch` are of the eyes where those were measured, else of the
head."""
SPEAKS = 8
"""The bit of `used` for a person who speaks, after one for each modality; the state of attention stands above
it, from 1 on."""
_MOST_COLUMNS = 300
"""Of the picture of a pair."""
ABSTAINS = 128
"""Added to the place of the reason in `verdict`, which otherwise is the place of the label."""
REASONS: tuple[str, ...] = Reason.__args__  # type: ignore[attr-defined]


def content(
    *,
    name: str,
    events: Sequence[Event],
    readings: pa.Table,
    labels: Sequence[str],
    words: Sequence[Cue] = (),
    names: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Everything about one recording but how it was made and where it lies.

    `names` maps speakers of the transcript to tracks.
    """
    segments = [event for event in events if isinstance(event, Segment)]
    about = [event for event in events if isinstance(event, Stream)]
    ended = next((event for event in about if event.what == "ended"), None)
    found = people(readings)
    hop_s = hop_seconds(readings)
    start_s, end_s = _span(events, words)
    options = {"hop_s": hop_s, "duration_s": end_s - start_s}
    return {
        "name": name,
        "start": start_s,
        "end": end_s,
        "hop": hop_s,
        "complete": ended is None or bool(ended.complete),
        "detail": None if ended is None else ended.detail,
        "labels": list(labels),
        "states": list(STATES),
        "reasons": list(REASONS),
        "modalities": list(MODALITIES),
        "used": [one for one in MODALITIES if any(one in e.modalities for e in events)],
        "derived": _derived(readings),
        "method": _method(readings),
        "assigned": _texts(readings, "assigned_by"),
        "people": [
            {
                "track": one.track,
                "name": one.name,
                "first": one.first,
                "count": one.count,
                "series": _series(one, labels),
                "summary": asdict(summarize(one, segments, labels, **options)),
            }
            for one in found
        ],
        "segments": [
            [s.track, s.of, s.state, s.t_start, s.t_end, s.mean, s.peak]
            for s in sorted(segments, key=lambda s: (s.t_start, s.t_end))
        ],
        "words": [
            [
                c.start_us / 1e6,
                c.end_us / 1e6,
                c.speaker,
                c.text,
                (names or {}).get(c.speaker or ""),
            ]
            for c in sorted(words, key=lambda c: (c.start_us, c.end_us))
        ],
        "notes": [
            [e.t_start, e.t_end, e.what, e.detail, list(e.modalities)]
            for e in about
            if e.what in ("gap", "warning", "dropped", "reconnected")
        ],
        "pairs": [_pair(one) for one in synchronies(found, hop_s)],
    }


def _span(events: Sequence[Event], words: Sequence[Cue]) -> tuple[float, float]:
    start_s = min((event.t_start for event in events), default=0.0)
    end_s = max((event.t_end for event in events), default=0.0)
    spoken = [cue.end_us / 1e6 for cue in words]
    return start_s, max([end_s, *(spoken if end_s <= start_s else ())])


def _derived(readings: pa.Table) -> bool:
    """Whether valence and arousal were computed from the scores of the labels."""
    return "derived" in readings.column_names and True in readings["derived"].to_pylist()


def _method(readings: pa.Table) -> str | None:
    return min(_texts(readings, "attention_method"), default=None)


def _texts(readings: pa.Table, column: str) -> list[str]:
    """The texts that a column holds, each once, sorted."""
    return sorted({one for one in readings[column].to_pylist() if one is not None})


def _series(person: Person, labels: Sequence[str]) -> dict[str, Any]:
    """Each series that has a value, as ``[low, high, base64]``; codes and bits have no range."""
    found: dict[str, Any] = {}
    for name in labels:
        _add(found, f"score {name}", person.numbers(name), 0.0, 1.0)
    for name, (low, high) in _RANGES.items():
        values = person.numbers(name)
        if name in ("yaw", "pitch"):
            eyes = person.numbers(f"gaze_{name}")
            values = np.where(np.isnan(eyes), values, eyes)
        _add(found, name, values, low, high)
    label, reason = person.codes("label", labels), person.codes("abstain", REASONS)
    verdict = np.where(label >= 0, label, np.where(reason >= 0, ABSTAINS + reason, MISSING))
    found["verdict"] = [None, None, _packed(verdict)]
    used = sum(person.uses(one) << bit for bit, one in enumerate(MODALITIES))
    used = (
        used + SPEAKS * person.speaks + 2 * SPEAKS * (1 + person.codes("attention_state", STATES))
    )
    found["used"] = [None, None, _packed(np.where(person.present, used, MISSING))]
    return found


def _add(found: dict[str, Any], name: str, values: Numbers, low: float, high: float) -> None:
    if not np.isnan(values).all():
        found[name] = [low, high, _packed(to_bytes(values, low, high))]


def to_bytes(values: Numbers, low: float, high: float) -> NDArray[np.uint8]:
    """`values` between `low` and `high` as 0 to 254, others at the limits, NaN as `MISSING`."""
    steps = np.clip((values - low) / (high - low), 0.0, 1.0) * (MISSING - 1)
    return np.where(np.isnan(values), MISSING, np.nan_to_num(steps).round()).astype(np.uint8)


def _packed(values: NDArray[Any]) -> str:
    return b64encode(values.astype(np.uint8).tobytes()).decode("ascii")


def _pair(one: Synchrony) -> dict[str, Any]:
    return {
        "tracks": [one.first, one.second],
        "measure": one.measure,
        "window": one.window_s,
        "windows": one.windows,
        "peak": one.peak,
        "chance": one.chance,
        "p": one.p,
        "lag": one.lag_s,
        "from": one.times_s[0],
        "to": one.times_s[-1],
        "lags": one.lags_s,
        "map": [-1.0, 1.0, _packed(to_bytes(_fewer(one.map), -1.0, 1.0))],
    }


def _fewer(windows: Numbers) -> Numbers:
    """Means of consecutive rows, so that at most `_MOST_COLUMNS` are left to draw."""
    each = -(-len(windows) // _MOST_COLUMNS)
    padded = np.pad(windows, ((0, -len(windows) % each), (0, 0)), constant_values=np.nan)
    parts = padded.reshape(-1, each, windows.shape[1])
    known = (~np.isnan(parts)).sum(1)
    means: Numbers = np.where(known > 0, np.nansum(parts, axis=1) / np.maximum(known, 1), np.nan)
    return means
