"""Where in a recording each figure of a person stands out most, so that a summary can lead there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.events import Segment
from affectstream.stream.report.person_summary import STATES
from affectstream.stream.report.readings_by_person import Numbers, Person

Moment = tuple[float | None, float | None]
"""Seconds at which a figure is lowest and highest; None where there is no such place."""
_MEAN_S = 5.0
"""Numbers are averaged over this, so that one odd reading is no place."""
_MINUTE_S = 60.0
Mask = NDArray[np.bool_]


def moments(
    person: Person, segments: Iterable[Segment], labels: Sequence[str], *, hop_s: float
) -> dict[str, Moment]:
    """The moments of a person, by the column of the summary.

    A share is highest in the middle of the longest stretch in that state, and lowest in that of the longest
    stretch in another. A mean is so in the middle of the 5 s with the highest and the lowest mean, and the
    number of segments is highest in the minute with most of them.
    """
    label, state = person.codes("label", labels), person.codes("attention_state", STATES)
    labeled, in_view = label >= 0, (state == 0) | (state == 1)
    used = np.any([person.uses(one) for one in ("video", "voice", "text")], axis=0)
    everywhere = np.ones(person.count, bool)
    shares: dict[str, tuple[Mask, Mask]] = {
        "coverage": (used, everywhere),
        "labeled": (labeled, everywhere),
        "attentive": (state == 0, state >= 0),
        "gaze_away": (state == 1, in_view),
        "speaking": (person.speaks, everywhere),
        **{f"share_{name}": (label == place, labeled) for place, name in enumerate(labels)},
    }
    means: dict[str, Numbers] = {
        name: person.numbers(name) for name in ("valence", "arousal", "attention", "quality")
    }
    means["confidence"] = np.where(labeled, person.numbers("confidence"), np.nan)

    def seconds(place: float | None) -> float | None:
        return None if place is None else round((person.first + place) * hop_s, 3)

    found: dict[str, Moment] = {}
    for name, (true, known) in shares.items():
        found[name] = seconds(_middle(known & ~true)), seconds(_middle(true))
    for name, numbers in means.items():
        lowest, highest = _extremes(numbers, max(1, round(_MEAN_S / hop_s)))
        found[name] = seconds(lowest), seconds(highest)
    starts = [one.t_start for one in segments if one.track == person.track and one.of == "emotion"]
    found["segments_per_minute"] = None, _densest(starts)
    return found


def _middle(mask: Mask) -> float | None:
    """The middle of the longest stretch, the first of several, in hops; None without one."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False]))))
    starts, ends = edges[::2], edges[1::2]
    if not starts.size:
        return None
    longest = int(np.argmax(ends - starts))
    return float(starts[longest] + ends[longest]) / 2


def _extremes(numbers: Numbers, hops: int) -> tuple[float | None, float | None]:
    """The middles of the stretches of so many hops with the lowest and the highest mean, in hops. Half of a
    stretch must be known."""
    hops = min(hops, numbers.size)
    known = ~np.isnan(numbers)
    window = np.ones(hops)
    count = np.convolve(known, window, "valid")
    total = np.convolve(np.where(known, numbers, 0.0), window, "valid")
    enough = count >= hops / 2
    if not enough.any():
        return None, None
    mean = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    lowest = int(np.argmin(np.where(enough, mean, np.inf)))
    highest = int(np.argmax(np.where(enough, mean, -np.inf)))
    return lowest + hops / 2, highest + hops / 2


def _densest(starts: Sequence[float]) -> float | None:
    """The start of the minute in which most segments begin, in seconds; None without segments."""
    times = np.sort(np.array(starts, float))
    if not times.size:
        return None
    counts = np.searchsorted(times, times + _MINUTE_S) - np.arange(times.size)
    return round(float(times[int(np.argmax(counts))]), 3)
