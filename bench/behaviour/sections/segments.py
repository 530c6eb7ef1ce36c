"""Whether the emotion segments say what their hops say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from affectstream.bench.behaviour import intervals
from affectstream.bench.behaviour.report import Measure, NotMeasured, Promise, Report
from affectstream.bench.behaviour.workbench import Workbench
from affectstream.stream import Emotion, Segment


@dataclass(frozen=True, slots=True)
class Agreement:
    """One segment: how many of its hops carry its label, and how many any label."""

    recording: str
    hops: int
    same: int
    labeled: int


def measure(bench: Workbench) -> Report:
    """Share of segments more than half of whose hops carry the segment's label, and of labels in segments."""
    events = [(clip, bench.score(clip).events) for clip in bench.clips()]
    by_clip = [agreements(of_clip, clip.name) for clip, of_clip in events]
    found = [one for of_clip in by_clip for one in of_clip]
    if not found:
        raise NotMeasured("no recording has an emotion segment")
    held, none = sum(2 * a.same > a.hops for a in found), sum(a.same == 0 for a in found)
    clips = [of_clip for of_clip in by_clip if of_clip]
    labels = sum(
        isinstance(event, Emotion) and event.label is not None
        for _, of_clip in events
        for event in of_clip
    )
    bad = [
        f"{clip[0].recording}: {sum(2 * a.same <= a.hops for a in clip)} of {len(clip)} segments "
        "contradict their hops"
        for clip in clips
    ]
    return Report(
        measures=(
            Measure(
                "carried by more than half of their hops",
                100 * held / len(found),
                len(found),
                "%",
                intervals.bootstrap(_held, clips),
                Promise(at_least=100.0),
            ),
            Measure(
                "carried by no hop",
                100 * none / len(found),
                len(found),
                "%",
                intervals.share(none, len(found)),
                Promise(at_most=0.0),
            ),
            Measure(
                "labels of hops that are in a segment",
                100 * sum(a.same for a in found) / labels,
                labels,
                "%",
                intervals.share(sum(a.same for a in found), labels),
            ),
        ),
        details=tuple(bad),
    )


def _held(clips: Sequence[Sequence[Agreement]]) -> float:
    flat = [one for clip in clips for one in clip]
    return 100 * sum(2 * a.same > a.hops for a in flat) / len(flat)


def agreements(events: Sequence[object], recording: str) -> list[Agreement]:
    """Each emotion segment against the hops that begin in it, of the same track."""
    hops = [event for event in events if isinstance(event, Emotion)]
    found = []
    for event in events:
        if isinstance(event, Segment) and event.of == "emotion":
            inside = [
                hop.label
                for hop in hops
                if hop.track == event.track and event.t_start <= hop.t_start < event.t_end
            ]
            if inside:
                same, labeled = inside.count(event.state), len(inside) - inside.count(None)
                found.append(Agreement(recording, len(inside), same, labeled))
    return found
