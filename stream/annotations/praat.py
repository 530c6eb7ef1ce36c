"""Praat TextGrids: one interval tier for each tier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from affectstream.stream.annotations.tiers import (
    Annotation,
    Tier,
    end_seconds,
    recording_tiers,
    stated_use,
)
from affectstream.stream.results.scored import ScoredRecording


def write(recording: ScoredRecording, path: Path) -> None:
    """Write the tiers of `recording` to `path`, in UTF-8."""
    tiers, end_s = recording_tiers(recording), end_seconds(recording)
    path.write_text(textgrid(tiers, end_s, stated_use(recording)), "utf-8")


def textgrid(tiers: Sequence[Tier], end_s: float, about: Mapping[str, str] | None = None) -> str:
    """The long text format. Intervals fill each tier from 0 to `end_s`, empty where nothing is annotated.

    The format has no place for what is said `about` the recording, so each text is a tier of one interval.
    """
    end_s = max([end_s, *(tier.annotations[-1].end_s for tier in tiers)])
    named = [(tier.name, tier.annotations) for tier in tiers]
    named += [(kind, (Annotation(0.0, end_s, text),)) for kind, text in (about or {}).items()]
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', ""]
    lines += ["xmin = 0", f"xmax = {_number(end_s)}", "tiers? <exists>", f"size = {len(named)}"]
    lines += ["item []:"]
    for number, (name, states) in enumerate(named, 1):
        intervals = list(_filled(states, end_s))
        lines += [f"    item [{number}]:", '        class = "IntervalTier"']
        lines += [f"        name = {_quoted(name)}"]
        lines += ["        xmin = 0", f"        xmax = {_number(end_s)}"]
        lines += [f"        intervals: size = {len(intervals)}"]
        for place, one in enumerate(intervals, 1):
            lines += [f"        intervals [{place}]:"]
            lines += [f"            xmin = {_number(one.start_s)}"]
            lines += [f"            xmax = {_number(one.end_s)}"]
            lines += [f"            text = {_quoted(one.text)}"]
    return "\n".join(lines) + "\n"


def _filled(annotations: Sequence[Annotation], end_s: float) -> Iterator[Annotation]:
    at_s = 0.0
    for one in annotations:
        if one.start_s > at_s:
            yield Annotation(at_s, one.start_s, "")
        yield one
        at_s = one.end_s
    if at_s < end_s:
        yield Annotation(at_s, end_s, "")


def _number(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _quoted(text: str) -> str:
    doubled = " ".join(text.split()).replace('"', '""')
    return f'"{doubled}"'
