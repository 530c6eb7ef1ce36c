"""Faces, voices and words of different people, paired by their label, to try fusion.

A folder holds two or three prepared data sets, each in a sub-folder: one with faces, one with voices,
one with words. Every sample of the set with the fewest people gets partners with its label and split from
the other sets. This can show how a head weighs modalities that agree or contradict each other. It cannot
show how the face, the voice and the words of one person go together.
"""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectstream.train.data.dataset import Dataset, has_value
from affectstream.train.data.degrade import degraded
from affectstream.train.data.options import Options, Part
from affectstream.train.data.reading.crops import Cropper
from affectstream.train.data.reading.reader import Job, RawDataset, Reader, Result, find_prepared
from affectstream.train.data.sample import UNSEEN, Sample, Split
from affectstream.train.data.splits import joined_groups, split_by_group
from affectstream.train.errors import DataError, DataMissing

Key = tuple[Split | None, str]
Pools = dict[Key, list[int]]

HALVES = {"train": 0.5, "valid": 0.5}

_FIELDS = {
    "video": ("crops", "crop_times_us", "frames_seen", "start_us", "end_us"),
    "audio": ("audio", "age", "gender"),
    "text": ("text", "language"),
}
"""The fields of a sample that come from the set that gives a modality."""


def find(folder: Path, options: Options) -> RawDataset:
    """Pairs from the prepared sets in `folder`. Raises `DataMissing` or `DataError`.

    Each sample of the set with the fewest people, the anchor, gets `options.times` partners (of sets without
    people, of the smallest one); a pair has the participant and the label of its anchor. `options.part` uses
    only that split of each set (``unseen``: valid and test), dealt into two halves, ``train`` and ``valid``:
    no sample, person or dialogue is in both. A share `options.conflicts` of the pairs gets partners of
    another emotion, which their id names (``...+0 joy/anger``). A share `options.degrade` has every modality
    degraded, which their id names too (``...+0 ~blur,telephone``).
    """
    sets = _sets(folder)
    pools = {name: _pools(data, options.part) for name, data in sets.items()}
    anchor = min(sets, key=lambda name: _size(sets[name], pools[name]))
    keys = sorted(set.intersection(*(set(pool) for pool in pools.values())), key=str)
    if not keys:
        names = ", ".join(data.info.name for data in sets.values())
        raise DataError(f"{folder}: no split and emotion is in all of {names}")
    draws = {name: _draws(pool, name) for name, pool in pools.items() if name != anchor}
    conflict = random.Random(1)
    ids = sets[anchor].column("id")
    jobs = []
    for time, (split, emotion) in itertools.product(range(options.times), keys):
        others = [e for s, e in keys if s == split and e != emotion]
        for row in pools[anchor][split, emotion]:
            name, rows = f"{ids[row]}+{time}", {anchor: row}
            worse = conflict.random() < options.degrade if options.degrade else False
            differs = bool(others) and conflict.random() < options.conflicts
            for other, drawn in draws.items():
                partner_emotion = conflict.choice(others) if differs else emotion
                rows[other] = next(drawn[split, partner_emotion])
                name += f" {emotion}/{partner_emotion}" if differs else ""
            jobs.append(Job(name, partial(_sample, sets, rows, anchor, name, split, worse)))
    names = ", ".join(f"{data.info.name} ({name})" for name, data in sets.items())
    return RawDataset(
        f"label-paired {names}",
        "; ".join(sorted({data.info.licence for data in sets.values()})),
        jobs,
        has_splits=True,
        why_shared="a partner of the same label is drawn from the same split of its own set",
        crop=sets["video"].info.crop if "video" in sets else None,
        notes=("modalities of one sample are of different people: only the label joins them",),
    )


def _sets(folder: Path) -> dict[str, Dataset]:
    found: dict[str, Dataset] = {}
    for data in find_prepared(folder):
        for name in [m for m in ("video", "audio") if data.info.modalities[m]] or ["text"]:
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


def _size(data: Dataset, pools: Pools) -> tuple[int, int]:
    """Number of people and of samples; samples without people are after all that have some."""
    rows = np.array(sorted(row for pool in pools.values() for row in pool), np.int64)
    people = set(data.column("participant")[rows]) - {None}
    return len(people) or len(data), len(rows)


def _pools(data: Dataset, part: Part | None) -> Pools:
    """Rows by split and emotion; with `part` the rows of that part alone, dealt into halves."""
    splits, emotions = data.column("split"), data.column("emotion")
    rows = np.flatnonzero(has_value(emotions))
    if part is not None:
        rows = rows[np.isin(splits[rows].astype(str), UNSEEN if part == "unseen" else (part,))]
        splits[rows] = split_by_group(_groups(data, rows), emotions[rows].tolist(), HALVES, seed=0)
    pools: Pools = defaultdict(list)
    for row in rows.tolist():
        pools[splits[row], emotions[row]].append(row)
    return pools


def _groups(data: Dataset, rows: NDArray[np.int64]) -> list[str]:
    """What stays together of `rows`: a person, or a dialogue where the same people speak in all of them."""
    whole = "dialogue" if data.info.shared_participants else "participant"
    columns = (data.column(name)[rows].tolist() for name in (whole, "content", "id"))
    return joined_groups(*columns)


def _draws(pools: Pools, seed: str) -> dict[Key, Iterator[int]]:
    """For each pool its rows in random order, each once, and then again."""
    draw = random.Random(seed)

    def endless(rows: list[int]) -> Iterator[int]:
        while True:
            yield from reversed(draw.sample(rows, len(rows)))

    return {key: endless(rows) for key, rows in pools.items()}


def _sample(
    sets: Mapping[str, Dataset],
    rows: Mapping[str, int],
    anchor: str,
    name: str,
    split: Split | None,
    worse: bool,
    _: Cropper,
) -> Iterator[Result]:
    samples = {modality: sets[modality][row] for modality, row in rows.items()}
    values = {
        field: value
        for modality, sample in samples.items()
        for field in _FIELDS[modality]
        if (value := getattr(sample, field)) is not None
    }
    first = samples[anchor]
    files = [file for one in samples.values() for file in one.files or ()]
    sample = Sample(
        id=name,
        recording=name,
        participant=first.participant,
        split=split,
        emotion=first.emotion,
        files=tuple(dict.fromkeys(files)) or None,
        **values,
    )
    if worse:
        sample, done = degraded(sample, name)
        pair, space, labels = name.partition(" ")
        sample.id = f"{pair} ~{','.join(done)}{space}{labels}"
    yield sample


READER = Reader(find, frozenset({"times", "part", "conflicts", "degrade"}))
