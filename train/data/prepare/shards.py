"""Writing a data set: rows stream into shards of bounded size, then get their splits.

While samples are made each shard is `shard-00000.parquet`, complete as soon as it has that name;
`progress.json` says which jobs the finished shards hold, so that an interrupted run goes on there.
`finish` then copies them, a row group at a time, into `samples-*.parquet` with the split of every row
(a split needs to know all rows) and without the rows that are to be left out. Memory holds one row
group, and of the whole set the light columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from affectstream.stream.sinks.base import writing
from affectstream.train.data.dataset import Shard
from affectstream.train.data.prepare.source import Skipped, Warned
from affectstream.train.data.sample import LARGE_COLUMNS, SCHEMA, Sample, to_row
from affectstream.train.files import write_atomically

GROUP_BYTES = 8 << 20
GROUP_ROWS = 512
SHARD_BYTES = 256 << 20
"""Also what an interrupted run may have to do again."""
PROGRESS = "progress.json"
LIGHT = tuple(name for name in SCHEMA.names if name not in LARGE_COLUMNS)


class Progress(msgspec.Struct):
    """What the finished shards hold."""

    parameters: dict[str, Any]
    jobs: int = 0
    shards: int = 0
    skipped: list[Skipped] = []
    remarks: list[Warned] = []


class ShardWriter:
    """Collects samples; a shard ends only between two jobs. End it with one of the last three."""

    def __init__(self, folder: Path, progress: Progress, shard_bytes: int = SHARD_BYTES) -> None:
        self._folder, self.progress, self._limit = folder, progress, shard_bytes
        self._writer: pq.ParquetWriter | None = None
        self._rows: list[dict[str, Any]] = []
        self._held = 0
        self._written = 0
        self._of_job = 0
        """Rows of the job at hand that are still in `_rows`."""
        self._job_flushed = False

    def add(self, sample: Sample) -> None:
        """Add one sample. Raises `OutputError` where the disk refuses."""
        row = to_row(sample)
        self._rows.append(row)
        self._of_job += 1
        self._held += sum(map(len, row["crops"] or ())) + len(row["audio"] or b"") + 200
        if self._held >= GROUP_BYTES or len(self._rows) >= GROUP_ROWS:
            self._flush()

    def end_job(self, skipped: Sequence[Skipped], remarks: Sequence[Warned]) -> None:
        """All samples of the next job have been added."""
        self.progress.jobs += 1
        self._of_job, self._job_flushed = 0, False
        self.progress.skipped += skipped
        self.progress.remarks += remarks
        if self._written + self._held >= self._limit:
            self.close()

    def close(self) -> None:
        """End the shard and write down what is done."""
        self._flush()
        with writing(self._folder):
            if self._writer is not None:
                self._writer.close()
                self._writer = None
                self._part.replace(shard_path(self._folder, self.progress.shards))
                self.progress.shards += 1
            self._written = 0
            write_atomically(self._folder / PROGRESS, msgspec.json.encode(self.progress))

    def interrupt(self) -> None:
        """Keep the jobs that are whole, unless rows of one that is not are in the file already."""
        if self._job_flushed:
            self.discard()
            return
        del self._rows[len(self._rows) - self._of_job :]
        if self._rows or self._writer is not None:
            self.close()

    def discard(self) -> None:
        """Give up the shard that is open; the finished ones stay."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self._part.unlink(missing_ok=True)

    @property
    def _part(self) -> Path:
        return self._folder / ".shard.part"

    def _flush(self) -> None:
        if not self._rows:
            return
        with writing(self._folder):
            if self._writer is None:
                self._writer = new_file(self._part)
            self._writer.write_table(pa.Table.from_pylist(self._rows, SCHEMA))
        self._job_flushed = self._job_flushed or self._of_job > 0
        self._of_job = 0
        self._written += self._held
        self._rows, self._held = [], 0


def new_file(path: Path) -> pq.ParquetWriter:
    """A Parquet file of `SCHEMA`; pictures are compressed already and sound hardly can be."""
    compression = {name: "none" if name in LARGE_COLUMNS else "zstd" for name in SCHEMA.names}
    compression["crops.list.element"] = "none"
    return pq.ParquetWriter(path, SCHEMA, compression=compression, use_dictionary=["emotion"])


def shard_path(folder: Path, number: int) -> Path:
    """Where a shard without splits lies."""
    return folder / f"shard-{number:05d}.parquet"


def light_rows(paths: Sequence[Path], columns: Sequence[str] = LIGHT) -> Iterator[dict[str, Any]]:
    """The rows of Parquet files in order, a few thousand in memory, without heavy columns."""
    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(4096, columns=list(columns)):
                yield from batch.to_pylist()


def finish(folder: Path, shards: int, splits: Mapping[str, str | None]) -> tuple[Shard, ...]:
    """Copy the shards with the split of each id; ids that are not in `splits` are left out."""
    done = []
    with writing(folder):
        for number in range(shards):
            part, name = folder / ".samples.part", f"samples-{number:05d}.parquet"
            rows = 0
            with pq.ParquetFile(shard_path(folder, number)) as file, new_file(part) as out:
                for table in _kept(file, splits):
                    rows += table.num_rows
                    out.write_table(table)
            part.replace(folder / name)
            done.append(Shard(name, rows))
    return tuple(done)


def _kept(file: pq.ParquetFile, splits: Mapping[str, str | None]) -> Iterator[pa.Table]:
    place = SCHEMA.get_field_index("split")
    for group in range(file.metadata.num_row_groups):
        table = file.read_row_group(group)
        ids = table.column("id").to_pylist()
        values = [splits.get(name) for name in ids]
        table = table.set_column(place, SCHEMA.field("split"), pa.array(values, pa.string()))
        table = table.filter(pa.array([name in splits for name in ids]))
        if table.num_rows:
            yield table
