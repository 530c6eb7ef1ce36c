"""Counts and hashes of a data set, in one pass over its rows."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from affectstream.train.data.sample import SMALL_COLUMNS, SPLITS, TASKS


def describe(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts of the rows of a data set, given without their large columns, and their hashes.

    The names are those of `DatasetInfo`.
    """
    splits, emotions, tasks = Counter[str](), Counter[str](), Counter[str]()
    modalities = {"video": 0, "audio": 0, "text": 0}
    participants, content, split_of = set[str](), list[bytes](), list[tuple[str, str | None]]()
    for row in rows:
        splits[row["split"] or "none"] += 1
        if row["emotion"]:
            emotions[row["emotion"]] += 1
        tasks.update(task for task, column in TASKS.items() if row[column] is not None)
        modalities["video"] += bool(row["crop_times_us"])
        modalities["audio"] += bool(row["audio_samples"])
        modalities["text"] += bool(row["text"])
        if row["participant"]:
            participants.add(row["participant"])
        content.append(_digest({name: row[name] for name in SMALL_COLUMNS if name != "split"}))
        split_of.append((row["id"], row["split"]))
    return {
        "rows": len(content),
        "splits": {name: splits[name] for name in (*SPLITS, "none") if splits[name]},
        "emotions": dict(emotions.most_common()),
        "tasks": {task: tasks[task] for task in TASKS if tasks[task]},
        "modalities": modalities,
        "participants": len(participants),
        "content_sha256": _sha256(content),
        "split_sha256": hash_splits(split_of),
    }


def hash_splits(split_of: Iterable[tuple[str, str | None]]) -> str:
    """Hash of (id, split) pairs in any order."""
    return _sha256(map(_digest, split_of))


def _sha256(digests: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


def _digest(value: object) -> bytes:
    return hashlib.blake2b(msgspec.json.encode(value), digest_size=16).digest()
