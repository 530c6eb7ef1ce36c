"""Segments as the table of state events that BORIS exports ("aggregated events")."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from affectstream.stream.annotations.tiers import (
    Tier,
    end_seconds,
    recording_tiers,
    stated_use,
)
from affectstream.stream.results.scored import ScoredRecording

COLUMNS = (
    "Observation id",
    "Observation date",
    "Description",
    "Media file",
    "Total length",
    "FPS",
    "Subject",
    "Behavior",
    "Behavioral category",
    "Modifiers",
    "Behavior type",
    "Start (s)",
    "Stop (s)",
    "Duration (s)",
    "Comment start",
    "Comment stop",
)


def write(recording: ScoredRecording, path: Path) -> None:
    """Write the annotations of `recording` to `path`."""
    use = "; ".join(f"{name}: {text}" for name, text in stated_use(recording).items())
    tiers, end_s = recording_tiers(recording), end_seconds(recording)
    path.write_text(aggregated_events(tiers, recording.name, end_s, use), "utf-8")


def aggregated_events(
    tiers: Sequence[Tier], observation: str, end_s: float, description: str = ""
) -> str:
    """One row for each annotation, sorted by time. Strengths and words stand in ``Comment start``, and
    `description` in the column of that name.

    The behavior of words is ``words``, since a behavior comes from a fixed list.
    """
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    rows = [(one, tier) for tier in tiers for one in tier.annotations]
    for one, tier in sorted(rows, key=lambda row: (row[0].start_s, row[0].end_s, row[1].name)):
        strength = "" if one.mean is None else f"mean {one.mean:.2f}, peak {one.peak:.2f}"
        behavior, comment = one.text, strength
        if tier.kind == "words":
            behavior, comment = "words", one.text
        times = (f"{t:.3f}" for t in (one.start_s, one.end_s, one.end_s - one.start_s))
        about = [observation, "", description, observation, f"{end_s:.3f}", "NA", tier.person]
        writer.writerow([*about, behavior, tier.kind, "", "STATE", *times, comment, ""])
    return file.getvalue()
