"""An agreement as text, as files, and as pictures of the two timelines."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from affectstream.engines.labels import EMOTIONS
from affectstream.stream.sinks.base import writing
from affectstream.train.agreement.agree import BLOCK
from affectstream.train.agreement.outcome import Agreement, CodingAgreement, Settings
from affectstream.train.agreement.pairs import Pair, match_persons, recordings
from affectstream.train.annotations.annotations import Annotations, Coding, Rating
from affectstream.train.files import encode_csv, encode_json, write_atomically
from affectstream.train.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

JSON, REVIEW = "agreement.json", "disagreements.csv"
SHOWN = 5
"""Recordings that the terminal names, those of the lowest agreement; the JSON has all."""
COLORS = ("#bbbbbb", "#ee6677", "#228833", "#aa3377", "#ccbb44", "#4477aa", "#66ccee", "#222255")
"""Distinguishable with any color vision (Tol, 2021): of the emotions in their order, else of the labels."""


def lines(found: Agreement) -> Iterator[str]:
    """For a terminal."""
    yield f"A: {found.first}"
    yield f"B: {found.second}"
    for one in found.codings:
        yield from _coding_lines(one, found.settings)
    for rated in found.ratings:
        yield f"\n{rated.kind}, rated: {_amount(rated.recordings, rated.seconds)}"
        for name, value in rated.metrics.items():
            yield f"  {name:24} {_interval(value, rated.by)}"
    for name, other, left in zip("AB", "BA", found.left, strict=True):
        if left:
            yield f"\nnot compared of {name} ({other} has none at the same time): {', '.join(left)}"


def _coding_lines(one: CodingAgreement, settings: Settings) -> Iterator[str]:
    yield f"\n{one.kind}: {_amount(one.recordings, one.seconds)} in which both give a verdict"
    sides = zip("AB", one.given, one.coverage, strict=True)
    shown = ", ".join(f"{name} {given:.1f} s ({share:.0%})" for name, given, share in sides)
    yield f"  {'coverage':24} {shown} of the time in which either does"
    for name, value in one.exact.items():
        tolerant = one.tolerant.get(name)
        more = "" if tolerant is None else f"   {_number(tolerant)} within {settings.tolerance:g} s"
        yield f"  {name:24} {_interval(value, one.by)}{more}"
    least = sorted(one.by_recording.items(), key=lambda item: item[1]["agreement"].value)
    for number, (recording, metrics) in enumerate(least[:SHOWN]):
        title = "agreement, the lowest" if not number else ""
        shown = _interval(metrics["agreement"], f"{BLOCK:g} s block")
        yield f"  {title:24} {shown} in {recording}"
    for name, edges in (("onsets", one.onsets), ("offsets", one.offsets)):
        late = f", B {edges.difference:+.2f} s" if edges.matched else ""
        yield (
            f"  {name:24} {edges.matched} common, of {edges.first} in A and {edges.second} in B "
            f"(F1 {_number(edges.f1)}){late}"
        )
    if one.lag:
        yield f"  {'lag':24} they agree most with B shifted by {one.lag:+.1f} s: --offset shifts it"
    width = max(6, *map(len, one.labels))
    yield f"  {'seconds, A in rows':24} {' '.join(f'{name:>{width}}' for name in one.labels)}"
    for label, row in zip(one.labels, one.confusion, strict=True):
        cells = " ".join(f"{count * settings.step:>{width}.1f}" for count in row)
        yield f"  {label:>24} {cells}"


def _amount(recordings: int, seconds: float) -> str:
    return f"{recordings} recording{'s' if recordings > 1 else ''}, {seconds:.1f} s"


def _interval(value: Interval, by: str) -> str:
    if math.isnan(value.value):
        return "not defined: one side uses a single label"
    if not by or math.isnan(value.low):
        return f"{value.value:.3f} (too little for an interval)"
    return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}] by {by}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def write(
    found: Agreement, first: Sequence[Annotations], second: Sequence[Annotations], folder: Path
) -> list[Path]:
    """Write all results as JSON, the stretches to review, and a picture for each recording and kind.

    Returns the files. Raises `OutputError` where the disk refuses.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / JSON, encode_json(_plain(found)))
    write_atomically(folder / REVIEW, encode_csv(_review(found)))
    return [folder / JSON, folder / REVIEW, *_pictures(found, first, second, folder)]


def _plain(found: Agreement) -> dict[str, object]:
    document = asdict(found)
    for one, plain in zip(found.codings, document["codings"], strict=True):
        plain["confusion"] = one.confusion.tolist()
    return {"schema": "1.0", **document}


def _review(found: Agreement) -> Iterator[Sequence[str]]:
    """The longest disagreements first: what two coders would sit down with."""
    yield "recording", "person", "kind", "start", "end", "seconds", "A", "B"
    rows = [(one.kind, each) for one in found.codings for each in one.disagreements]
    for kind, each in sorted(rows, key=lambda row: row[1].start - row[1].end):
        times = (f"{value:.2f}" for value in (each.start, each.end, each.end - each.start))
        yield each.recording, each.person or "", kind, *times, each.first, each.second


def _pictures(
    found: Agreement, first: Sequence[Annotations], second: Sequence[Annotations], folder: Path
) -> list[Path]:
    from matplotlib.figure import Figure

    written = []
    persons = found.settings.persons or {}
    for a, b in recordings(first, second):
        drawn: list[tuple[str, str | None, Callable[[Axes], None]]] = []
        for one in found.codings:
            ours, theirs = ([c for c in side.codings if c.kind == one.kind] for side in (a, b))
            drawn += [
                (one.kind, pair.first.person, partial(_draw, pair=pair, one=one, found=found))
                for pair in match_persons(a, ours, theirs, persons)
            ]
        for rated in found.ratings:
            own, others = ([r for r in side.ratings if r.kind == rated.kind] for side in (a, b))
            drawn += [
                (rated.kind, both.first.person, partial(_draw_ratings, pair=both, found=found))
                for both in match_persons(a, own, others, persons)
            ]
        for kind, person, draw in drawn:
            figure = Figure(figsize=(12, 2.6), layout="constrained")
            axes = figure.subplots()
            draw(axes)
            who = "" if person is None else f", person {person}"
            axes.set_title(f"{a.recording}{who}: {kind}", loc="left")
            axes.set_xlabel("seconds")
            axes.spines[["top", "right", "left"]].set_visible(False)
            name = "-".join(filter(None, (a.recording, person, kind)))
            path = folder / f"{name.replace('/', '_')}.png"
            figure.savefig(path, dpi=130)
            written.append(path)
    return written


def _draw_ratings(axes: Axes, pair: Pair[Rating], found: Agreement) -> None:
    """Both ratings over time; nothing where there is no verdict."""
    sides = (
        (pair.first, 0.0, "A", COLORS[5]),
        (pair.second, found.settings.offset, "B", COLORS[1]),
    )
    for one, by, name, color in sides:
        axes.plot(
            one.times + by, one.values, drawstyle="steps-post", label=name, color=color, linewidth=1
        )
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color="#e5e5e5")


def _draw(axes: Axes, pair: Pair[Coding], one: CodingAgreement, found: Agreement) -> None:
    """Both timelines, and below them where they differ."""
    from matplotlib.patches import Patch

    settings = found.settings
    names = settings.rename or {}
    differ = [
        each
        for each in one.disagreements
        if (each.recording, each.person) == (pair.recording, pair.first.person)
    ]
    drawn = {names.get(s.label, s.label) for c in (pair.first, pair.second) for s in c.stretches}
    labels = {*one.labels, *drawn}  # some stretches are shorter than a step
    order = EMOTIONS if labels <= set(EMOTIONS) else tuple(sorted(labels))
    color = {label: COLORS[i % len(COLORS)] for i, label in enumerate(order)}
    for row, (coding, by) in enumerate(((pair.first, 0.0), (pair.second, settings.offset))):
        for start, end, label in coding.stretches:
            shade = color[names.get(label, label)]
            axes.broken_barh([(start + by, end - start)], (2 - row, 0.8), color=shade, linewidth=0)
    for each in differ:
        axes.broken_barh(
            [(each.start, each.end - each.start)], (0, 0.8), color="black", linewidth=0
        )
    axes.set_yticks([2.4, 1.4, 0.4], ["A", "B", "differ"])
    axes.tick_params(axis="y", length=0)
    axes.legend(
        handles=[Patch(color=color[label], label=label) for label in order if label in labels],
        loc="upper left",
        bbox_to_anchor=(1, 1),
        frameon=False,
    )
