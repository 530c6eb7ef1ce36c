"""How soon the label follows a voice that changes its expression.

Material: passages of one speaker whose labels differ when each is heard alone, spliced together. A passage is
sentences that were acted in one way, without the silence around them. The speakers are those from whom
`pocket` did not learn. See `change` for what a delay is: a voice is heard over a window, so the label changes
when the new expression fills most of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, permutations
from pathlib import Path

import numpy as np

from affectstream.bench.behaviour.material.media import Sound, read_sound, write_sound
from affectstream.bench.behaviour.report import NotMeasured, Report
from affectstream.bench.behaviour.sections.change import Change, Splice, reports_of
from affectstream.bench.behaviour.sections.nonspeech import trim
from affectstream.bench.behaviour.workbench import Workbench
from affectstream.stream.media.types import SAMPLE_RATE

_PASSAGE_S = 5.0
_KEPT = 0.6
"""A passage has a label if so many of its hops carry it."""
_PAIRS = 8
"""Changes of one speaker, at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """Speech of one speaker in one way, and the label that it gets when it is heard alone."""

    sound: Sound
    label: str


def measure(bench: Workbench) -> Report:
    """Median and longest delay, and the share that the promise covers."""
    splices: list[Splice] = []
    details = []
    for speaker, paths in read_speakers(bench.data).items():
        passages = [p for p in _passages(bench, speaker, paths) if p is not None]
        pairs = [(a, b) for a, b in permutations(passages, 2) if a.label != b.label][:_PAIRS]
        splices += [splice(bench, speaker, number, *pair) for number, pair in enumerate(pairs)]
        details.append(f"{speaker}: {len(pairs)} changes")
    if not splices:
        raise NotMeasured("none of ravdess, emodb and nemo is in the data folder")
    return Report(reports_of(splices), tuple(details))


def read_speakers(data: Path) -> dict[str, list[tuple[str, Path]]]:
    """The sentences of each speaker, in their order, with how they were acted as the file names say it."""
    ravdess = [data / "ravdess" / f"Actor_{number}" for number in range(17, 21)]
    emodb = sorted((data / "emodb" / "wav").glob("*.flac"))
    found = {
        f"RAVDESS {folder.name[-2:]}": [
            (f.name.split("-")[2], f) for f in sorted(folder.glob("*.flac"))
        ]
        for folder in ravdess
    }
    for speaker in ("13", "14"):
        found[f"EMO-DB {speaker}"] = [(f.name[5], f) for f in emodb if f.name.startswith(speaker)]
    sentences = sorted((data / "nemo" / "KS0").glob("*.ogg"))
    found["nEMO KS0"] = [(f.name.split("_")[1], f) for f in sentences]
    return {speaker: sorted(paths) for speaker, paths in found.items() if paths}


def _passages(
    bench: Workbench, speaker: str, paths: Sequence[tuple[str, Path]]
) -> Iterator[Passage | None]:
    """A passage for each way of acting; None for one without a label of its own."""
    for way, group in groupby(paths, key=lambda each: each[0]):
        parts: list[Sound] = []
        for _, path in group:
            parts.append(trim(read_sound(path)))
            if sum(map(len, parts)) >= _PASSAGE_S * SAMPLE_RATE:
                break
        sound = np.concatenate(parts)
        path = write_sound(bench.folder / f"alone {speaker} {way}.wav", sound)
        labels = [row["label"] for row in bench.rows(path, ("voice",))]
        label, count = Counter(labels).most_common(1)[0]
        yield None if label is None or count < _KEPT * len(labels) else Passage(sound, label)


def splice(bench: Workbench, speaker: str, number: int, one: Passage, other: Passage) -> Splice:
    """Let `one` be heard and then `other`, and measure when the label changes."""
    path = bench.folder / f"change {speaker} {number}.wav"
    result = bench.score(write_sound(path, np.concatenate([one.sound, other.sound])), ("voice",))
    change = Change(speaker, one.label, other.label, len(one.sound) / SAMPLE_RATE)
    return change.followed(result.readings.to_pylist(), result.events)
