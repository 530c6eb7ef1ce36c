"""Faces, voices and words of different people, put together by their label.

For trying fusion where no set with everything is at hand: a folder holds two or three prepared data sets,
each in a sub-folder, one with faces, one with voices, one with words. Every sample of the smallest one
gets partners of its label and split out of the others. What this can show is how a head weighs
modalities that agree or differ. It can show nothing of how one person's face, voice and words go
together.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from affectstream.train.data.dataset import INFO, Dataset
from affectstream.train.data.prepare.crops import Cropper
from affectstream.train.data.prepare.source import Job, Made, Options, Source
from affectstream.train.data.sample import Sample
from affectstream.train.errors import DataError, DataMissing

Pools = dict[tuple[str | None, str], list[int]]
"""Row numbers by split and emotion."""

_FIELDS = {
    "video": ("crops", "crop_times_us", "frames_seen", "start_us", "end_us"),
    "audio": ("audio", "age", "gender"),
    "text": ("text", "language"),
}
"""What a sample takes from the part that gives it a modality."""


def source(folder: Path, options: Options) -> Source:
    """Pairs out of the prepared sets in `folder`. Raises `DataMissing` or `DataError`.

    `options.times` partners for each sample of the smallest set, whose participants are the pairs'.
    `options.part` takes only that split of each, to be split anew: no partner is then used twice. With
    `options.conflicts` that share of the pairs has partners of other emotions; the id of such a pair
    says which (``...+0 joy/anger``), its label is that of the smallest set.
    """
    parts = _parts(folder)
    pools = {name: _pools(data, options.part) for name, data in parts.items()}
    anchor = min(parts, key=lambda name: sum(map(len, pools[name].values())))
    keys = set.intersection(*(set(pool) for pool in pools.values()))
    if not keys:
        raise DataError(
            f"{folder}: no split and emotion is in all of {', '.join(d.info.name for d in parts.values())}"
        )
    again = options.part is None
    dealers = {
        name: _Dealer(pool, name, again=again) for name, pool in pools.items() if name != anchor
    }
    conflict = random.Random(1)
    ids = parts[anchor].column("id")

    def job(name: str, rows: dict[str, int]) -> Job:
        def make(_: Cropper) -> Iterator[Made]:
            yield _joined(parts, rows, anchor, name)

        return Job(name, make)

    jobs = []
    for time in range(options.times):
        for split, emotion in sorted(keys, key=str):
            others = [e for s, e in sorted(keys, key=str) if s == split and e != emotion]
            for row in pools[anchor][split, emotion]:
                name, rows = f"{ids[row]}+{time}", {anchor: row}
                differs = bool(others) and conflict.random() < options.conflicts
                for other, dealer in dealers.items():
                    says = conflict.choice(others) if differs else emotion
                    partner = dealer.deal((split, says))
                    if partner is not None:
                        rows[other] = partner
                        name += f" {emotion}/{says}" if differs else ""
                if len(rows) == len(parts):
                    jobs.append(job(name, rows))
    names = ", ".join(f"{data.info.name} ({name})" for name, data in parts.items())
    return Source(
        f"label-paired {names}",
        "; ".join(sorted({data.info.licence for data in parts.values()})),
        jobs,
        official=options.part is None,
        shared_people="a partner of the same label is drawn from the same split of its own set",
        crop=parts["video"].info.crop if "video" in parts else None,
        notes=("modalities of one sample are of different people: only the label joins them",),
    )


def _parts(folder: Path) -> dict[str, Dataset]:
    """The data set that gives each modality."""
    found: dict[str, Dataset] = {}
    for path in sorted(folder.glob(f"*/{INFO}")):
        data = Dataset(path.parent)
        gives = [name for name in ("video", "audio") if data.info.modalities[name]] or ["text"]
        for name in gives:
            if name in found:
                raise DataError(
                    f"{folder}: both {found[name].info.name} and {data.info.name} give {name}: "
                    "put one of them elsewhere"
                )
            found[name] = data
    if len({id(data) for data in found.values()}) < 2:
        raise DataMissing(
            f"{folder} holds {len(found)} prepared data sets, expected two or three: faces, voices, "
            "words, each made with 'affectstream train prepare'"
        )
    return found


def _pools(data: Dataset, part: str | None) -> Pools:
    """Rows of each split and emotion; of `part` alone, then without a split, where that is given."""
    pools: Pools = defaultdict(list)
    splits, emotions = data.column("split"), data.column("emotion")
    for row, (split, emotion) in enumerate(zip(splits, emotions, strict=True)):
        if emotion is not None and (part is None or split == part):
            pools[split if part is None else None, emotion].append(row)
    return pools


class _Dealer:
    """Deals the rows of each pool in random order; `again` and again when all were dealt, or not."""

    def __init__(self, pools: Pools, seed: str, *, again: bool) -> None:
        self._pools, self._random, self._again = pools, random.Random(seed), again
        self._left: Pools = {}

    def deal(self, key: tuple[str | None, str]) -> int | None:
        if key not in self._left or (self._again and not self._left[key]):
            self._left[key] = self._random.sample(self._pools[key], len(self._pools[key]))
        return self._left[key].pop() if self._left[key] else None


def _joined(parts: dict[str, Dataset], rows: dict[str, int], anchor: str, name: str) -> Sample:
    samples = {part: parts[part][row] for part, row in rows.items()}
    values = {
        field: getattr(sample, field)
        for part, sample in samples.items()
        for field in _FIELDS[part]
        if getattr(sample, field) is not None
    }
    first = samples[anchor]
    return Sample(
        id=name,
        recording=name,
        participant=first.participant,
        split=first.split,
        emotion=first.emotion,
        **values,
    )
