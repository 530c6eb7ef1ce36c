"""Writing a data set: rows go into shards of bounded size, get their splits, and are counted and hashed.

While jobs run each shard is `shard-00000.parquet`, complete once it has that name. `progress.json` counts
the jobs whose samples are in finished shards, so that an interrupted run can continue after them.
`finish` then copies the shards, a row group at a time, into `samples-*.parquet`, with the split of every row
(which depends on all rows). Memory holds one row group, and the small columns of the whole set.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from affectstream.stream.sinks.base import writing
from affectstream.train.data.dataset import Shard
from affectstream.train.data.reading.reader import Skipped, Warned
from affectstream.train.data.sample import (
    LARGE_COLUMNS,
    LATER_COLUMNS,
    SCHEMA,
    SMALL_COLUMNS,
    SPLITS,
    TASKS,
    Sample,
    to_row,
)
from affectstream.train.files import write_atomically

HASHED_COLUMNS = tuple(name for name in SMALL_COLUMNS if name not in ("split", "files"))
"""What the hash of the samples covers: the same samples of another copy of the files have the same hash."""
GROUP_BYTES = 8 << 20
GROUP_ROWS = 512
SHARD_BYTES = 256 << 20
"""Also how much an interrupted run may have to repeat."""
PROGRESS = "progress.json"
MODALITIES = {"video": "crop_times_us", "audio": "audio_samples", "text": "text"}
"""The column that is filled where a row has pictures, sound or words."""


class Progress(msgspec.Struct):
    """The whole of `progress.json`: the finished jobs and shards, and what the jobs reported."""

    parameters: dict[str, Any]
    jobs: int = 0
    shards: int = 0
    skipped: list[Skipped] = []
    remarks: list[Warned] = []


class ShardWriter:
    """Writes samples, job by job. A shard ends only between two jobs.

    At the end of the ``with`` block the last shard is finished. After Ctrl-C it is finished too,
    unless rows of an unfinished job are already in the file; then, and after an error, it is deleted.
    """

    def __init__(self, folder: Path, progress: Progress, shard_bytes: int = SHARD_BYTES) -> None:
        self._folder, self.progress, self._limit = folder, progress, shard_bytes
        self._part = folder / ".shard.part"
        self._file: pq.ParquetWriter | None = None
        self._rows: list[dict[str, Any]] = []
        self._rows_bytes = self._file_bytes = 0
        self._job_rows = 0
        self._job_in_file = False

    def add(self, sample: Sample) -> None:
        """Add a sample of the current job. Raises `OutputError` where the disk refuses."""
        row = to_row(sample)
        self._rows.append(row)
        self._job_rows += 1
        self._rows_bytes += sum(map(len, row["crops"] or ())) + len(row["audio"] or b"") + 200
        if self._rows_bytes >= GROUP_BYTES or len(self._rows) >= GROUP_ROWS:
            self._write_group()

    def end_job(self, problems: Sequence[Skipped | Warned] = ()) -> None:
        """All samples of the current job have been added."""
        self.progress.jobs += 1
        self._job_rows, self._job_in_file = 0, False
        self.progress.skipped += [one for one in problems if isinstance(one, Skipped)]
        self.progress.remarks += [one for one in problems if isinstance(one, Warned)]
        if self._file_bytes + self._rows_bytes >= self._limit:
            self._finish_shard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._finish_shard()
        elif issubclass(kind, KeyboardInterrupt) and not self._job_in_file:
            del self._rows[len(self._rows) - self._job_rows :]
            if self._rows or self._file is not None:
                self._finish_shard()
        elif self._file is not None:
            self._file.close()
            self._part.unlink(missing_ok=True)

    def _finish_shard(self) -> None:
        self._write_group()
        with writing(self._folder):
            if self._file is not None:
                self._file.close()
                self._file, self._file_bytes = None, 0
                self._part.replace(shard_path(self._folder, self.progress.shards))
                self.progress.shards += 1
            write_atomically(self._folder / PROGRESS, msgspec.json.encode(self.progress))

    def _write_group(self) -> None:
        if not self._rows:
            return
        with writing(self._folder):
            if self._file is None:
                self._file = _create(self._part)
            self._file.write_table(pa.Table.from_pylist(self._rows, SCHEMA))
        self._job_in_file = self._job_in_file or self._job_rows > 0
        self._file_bytes += self._rows_bytes
        self._rows, self._rows_bytes, self._job_rows = [], 0, 0


def shard_path(folder: Path, number: int) -> Path:
    """The shard without splits."""
    return folder / f"shard-{number:05d}.parquet"


def read_rows(paths: Sequence[Path], columns: Sequence[str] = SMALL_COLUMNS) -> Iterator[Any]:
    """The rows of Parquet files in order, as dicts, a few thousand in memory."""
    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(4096, columns=list(columns)):
                yield from batch.to_pylist()


def finish(folder: Path, shards: int, splits: Mapping[str, str | None]) -> tuple[Shard, ...]:
    """Copy the shards with the split of each id; rows whose id is not in `splits` are left out."""
    finished, place = [], SCHEMA.get_field_index("split")
    with writing(folder):
        for number in range(shards):
            part, name = folder / ".samples.part", f"samples-{number:05d}.parquet"
            rows = 0
            with pq.ParquetFile(shard_path(folder, number)) as file, _create(part) as out:
                for group in range(file.metadata.num_row_groups):
                    table = _with_later_columns(file.read_row_group(group))
                    ids = table.column("id").to_pylist()
                    values = pa.array([splits.get(one) for one in ids], pa.string())
                    table = table.set_column(place, SCHEMA.field("split"), values)
                    table = table.filter(pa.array([one in splits for one in ids]))
                    if table.num_rows:
                        out.write_table(table)
                    rows += table.num_rows
            part.replace(folder / name)
            finished.append(Shard(name, rows))
    return tuple(finished)


def _with_later_columns(table: pa.Table) -> pa.Table:
    """The table with all columns of `SCHEMA` in order. Shards of an earlier version, whose interrupted run is
    continued, lack `LATER_COLUMNS`: these are null."""
    for name in LATER_COLUMNS:
        if name not in table.column_names:
            field = SCHEMA.field(name)
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table.select(SCHEMA.names)


def _create(path: Path) -> pq.ParquetWriter:
    """A Parquet file of `SCHEMA`. Pictures are compressed already, and sound hardly can be."""
    compression = {name: "none" if name in LARGE_COLUMNS else "zstd" for name in SCHEMA.names}
    compression["crops.list.element"] = "none"
    return pq.ParquetWriter(path, SCHEMA, compression=compression, use_dictionary=["emotion"])


def describe(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts of rows without their large columns, and their hashes, by the names of `DatasetInfo`."""
    splits, emotions, tasks, modalities = (Counter[str]() for _ in range(4))
    participants, content, split_of = set[str](), list[bytes](), list[tuple[str, str | None]]()
    for row in rows:
        splits[row["split"] or "none"] += 1
        emotions.update(filter(None, [row["emotion"]]))
        tasks.update(task for task, column in TASKS.items() if row[column] is not None)
        modalities.update(name for name, column in MODALITIES.items() if row[column])
        participants |= {row["participant"]} - {None, ""}
        content.append(_digest({name: row[name] for name in HASHED_COLUMNS}))
        split_of.append((row["id"], row["split"]))
    return {
        "rows": len(content),
        "splits": {name: splits[name] for name in (*SPLITS, "none") if splits[name]},
        "emotions": dict(emotions.most_common()),
        "tasks": {task: tasks[task] for task in TASKS if tasks[task]},
        "modalities": {name: modalities[name] for name in MODALITIES},
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
