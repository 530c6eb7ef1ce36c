"""What one person did over a recording, in numbers: in the report, and a row of the summary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.events import Segment
from affectstream.stream.report.readings_by_person import Numbers, Person

STATES = ("attentive", "away", "absent")


@dataclass(frozen=True, slots=True)
class PersonSummary:
    """Shares are 0 to 1; None where nothing was measured."""

    track: int | None
    first_s: float
    last_s: float
    """When the first reading begins and the last ends."""
    coverage: float
    """Share of the recording in which a face, a voice or words of this person were used."""
    labeled: float
    """Share of the recording with a label."""
    labels: dict[str, float | None]
    """Share of the labeled time with each label."""
    confidence: float | None
    """Mean confidence of the labels."""
    valence: float | None
    """Mean, -1 to 1."""
    arousal: float | None
    attention: float | None
    """Mean score."""
    states: dict[str, float | None]
    """Share of the time with a state of attention in each state."""
    gaze_away: float | None
    """Share of the time with a face in view in which they look away."""
    speaking: float | None
    """Share of the recording in which they speak; None without sound."""
    segments_per_minute: float | None
    """Emotion segments for each minute with a label: how often the state changes."""
    quality: float | None
    """Mean quality of the face."""


def summarize(
    person: Person,
    segments: Iterable[Segment],
    labels: Sequence[str],
    *,
    hop_s: float,
    duration_s: float,
) -> PersonSummary:
    """The numbers of one person in a recording of `duration_s` seconds."""
    hops = max(1.0, duration_s / hop_s)
    label = person.codes("label", labels)
    labeled = label >= 0
    state = person.codes("attention_state", STATES)
    used = np.any([person.uses(one) for one in ("video", "voice", "text")], axis=0)
    minutes = int(labeled.sum()) * hop_s / 60
    changes = sum(one.track == person.track and one.of == "emotion" for one in segments)
    has_sound = bool(np.nansum(person.numbers("voiced")) > 0)
    return PersonSummary(
        track=person.track,
        first_s=round(person.first * hop_s, 6),
        last_s=round((person.first + person.count) * hop_s, 6),
        coverage=_share(used.sum(), hops),
        labeled=_share(labeled.sum(), hops),
        labels={name: _of(label[labeled] == place) for place, name in enumerate(labels)},
        confidence=_mean(person.numbers("confidence")[labeled]),
        valence=_mean(person.numbers("valence")),
        arousal=_mean(person.numbers("arousal")),
        attention=_mean(person.numbers("attention")),
        states={name: _of(state[state >= 0] == place) for place, name in enumerate(STATES)},
        gaze_away=_of(state[(state == 0) | (state == 1)] == 1),
        speaking=_share(person.speaks.sum(), hops) if has_sound else None,
        segments_per_minute=round(changes / minutes, 3) if minutes else None,
        quality=_mean(person.numbers("quality")),
    )


def _share(count: float, of: float) -> float:
    return round(min(1.0, float(count) / of), 4)


def _of(which: NDArray[np.bool_]) -> float | None:
    return round(float(which.mean()), 4) if which.size else None


def _mean(values: Numbers) -> float | None:
    known = values[~np.isnan(values)]
    return round(float(known.mean()), 4) + 0.0 if known.size else None
