"""What a data set holds, counted and hashed in one pass over its rows."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from affectstream.train.data.prepare.shards import LIGHT
from affectstream.train.data.sample import SPLITS, TASKS


@dataclass(frozen=True, slots=True)
class DataFacts:
    """Counts of rows as in `DatasetInfo`, and two hashes that do not mind the order of rows."""

    rows: int
    splits: dict[str, int]
    emotions: dict[str, int]
    tasks: dict[str, int]
    modalities: dict[str, int]
    participants: int
    looked_at: int
    """Rows made from pictures, with or without a face."""
    content_sha256: str
    split_sha256: str


def describe(rows: Iterable[Mapping[str, Any]]) -> DataFacts:
    """Count and hash the rows of a data set, given without their heavy columns."""
    splits, emotions, tasks = Counter[str](), Counter[str](), Counter[str]()
    modalities = {"video": 0, "audio": 0, "text": 0}
    people, content, split, looked_at = set[str](), list[bytes](), list[tuple[str, str | None]](), 0
    for row in rows:
        splits[row["split"] or "none"] += 1
        if row["emotion"]:
            emotions[row["emotion"]] += 1
        tasks.update(task for task, column in TASKS.items() if row[column] is not None)
        modalities["video"] += bool(row["crop_times_us"])
        modalities["audio"] += bool(row["audio_samples"])
        modalities["text"] += bool(row["text"])
        looked_at += bool(row["frames_seen"])
        if row["participant"]:
            people.add(row["participant"])
        content.append(_short({name: row[name] for name in LIGHT if name != "split"}))
        split.append((row["id"], row["split"]))
    return DataFacts(
        rows=len(content),
        splits={name: splits[name] for name in (*SPLITS, "none") if splits[name]},
        emotions=dict(emotions.most_common()),
        tasks={task: tasks[task] for task in TASKS if tasks[task]},
        modalities=modalities,
        participants=len(people),
        looked_at=looked_at,
        content_sha256=hashlib.sha256(b"".join(sorted(content))).hexdigest(),
        split_sha256=hash_splits(split),
    )


def hash_splits(pairs: Iterable[tuple[str, str | None]]) -> str:
    """Of ids and their splits, in any order."""
    return hashlib.sha256(b"".join(sorted(map(_short, pairs)))).hexdigest()


def _short(value: object) -> bytes:
    return hashlib.blake2b(msgspec.json.encode(value), digest_size=16).digest()
