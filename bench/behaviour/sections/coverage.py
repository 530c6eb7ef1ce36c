"""The share of hops with a label, with and without each modality, on the same hops.

Compared are hops in which the larger set was used in full, so a modality counts where it was there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from affectstream.bench.behaviour import intervals
from affectstream.bench.behaviour.report import Measure, NotMeasured, Promise, Report
from affectstream.bench.behaviour.workbench import Row, Workbench
from affectstream.engines.labels import MODALITIES, Modality, subsets

_Key = tuple[int, int | None]
"""Hop and track."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Hops of one recording, scored with and without one modality: numbers with a label."""

    recording: str
    hops: int
    without: int
    with_it: int
    conflicts: int


def measure(bench: Workbench) -> Report:
    """Coverage of every set of modalities, and what adding one changes."""
    clips = bench.clips()
    sets = _sets(bench.recognizer.bundle.modalities)
    covered = [_covered(bench, clips, chosen) for chosen in sets]
    measures = [m for m in covered if m is not None]
    details = []
    for chosen in sets:
        for added in chosen if len(chosen) > 1 else ():
            rest = tuple(m for m in chosen if m != added)
            pairs = [p for clip in clips if (p := compare(bench, clip, rest, chosen)) is not None]
            if not pairs:
                continue
            measures.append(
                Measure(
                    f"adding {added} to {'+'.join(rest)}",
                    _change(pairs),
                    sum(pair.hops for pair in pairs),
                    "points",
                    intervals.bootstrap(_change, pairs),
                    Promise(at_least=-5.0),
                )
            )
            details += [
                f"{pair.recording}: {'+'.join(rest)} {pair.without}, with {added} {pair.with_it} "
                f"of {pair.hops} hops (conflicts: {pair.conflicts})"
                for pair in pairs
            ]
    if not measures:
        raise NotMeasured("no recording has hops in which a modality was used")
    return Report(tuple(measures), tuple(details))


def _sets(modalities: Sequence[Modality]) -> list[tuple[Modality, ...]]:
    ordered = [m for m in MODALITIES if m in modalities]
    return sorted(subsets(ordered), key=len)


def compare(
    bench: Workbench, clip: Path, rest: tuple[Modality, ...], chosen: tuple[Modality, ...]
) -> Pair | None:
    """`rest` against `chosen` on the hops that used all of `chosen`; None without such hops."""
    after = {_key(r): r for r in _rows(bench, clip, chosen) if _uses(r, chosen)}
    before = {_key(r): r for r in _rows(bench, clip, rest) if _uses(r, rest)}
    same = sorted(_match(after, before))
    if not same:
        return None
    return Pair(
        clip.name,
        len(same),
        sum(before[key]["label"] is not None for _, key in same),
        sum(after[key]["label"] is not None for key, _ in same),
        sum(after[key]["abstain"] == "conflict" for key, _ in same),
    )


def _match(after: dict[_Key, Row], before: dict[_Key, Row]) -> list[tuple[_Key, _Key]]:
    """Readings of one hop and person; without a face in the smaller set, the recording's reading."""
    pairs = []
    for hop, track in after:
        key = next((k for k in ((hop, track), (hop, None)) if k in before), None)
        if key is not None:
            pairs.append(((hop, track), key))
    return pairs


def _rows(bench: Workbench, clip: Path, chosen: tuple[Modality, ...]) -> list[Row]:
    available = [m for m in chosen if m in bench.available(clip)]
    return bench.rows(clip, chosen) if len(available) == len(chosen) else []


def _key(row: Row) -> _Key:
    return row["hop"], row["track"]


def _uses(row: Row, chosen: tuple[Modality, ...]) -> bool:
    return bool(row["modalities"] == "+".join(chosen))


def _change(pairs: Sequence[Pair]) -> float:
    """Percentage points."""
    hops = sum(pair.hops for pair in pairs)
    return 100 * sum(pair.with_it - pair.without for pair in pairs) / hops


def _covered(
    bench: Workbench, clips: Sequence[Path], chosen: tuple[Modality, ...]
) -> Measure | None:
    counts = []
    for clip in clips:
        rows = [row for row in _rows(bench, clip, chosen) if _uses(row, chosen)]
        if rows:
            counts.append((sum(row["label"] is not None for row in rows), len(rows)))
    if not counts:
        return None
    labeled, hops = (sum(column) for column in zip(*counts, strict=True))
    return Measure(
        f"hops with a label, {'+'.join(chosen)}",
        100 * labeled / hops,
        hops,
        "%",
        intervals.bootstrap(
            lambda drawn: 100 * sum(a for a, _ in drawn) / sum(b for _, b in drawn), counts
        ),
    )
