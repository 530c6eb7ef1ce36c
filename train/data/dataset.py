"""A prepared data set: the one layout that every recipe reads.

A folder with `dataset.json` (`DatasetInfo`) and shards `samples-00000.parquet`, ... of bounded size,
their columns those of `sample.SCHEMA`. Rows lie in groups of a few megabytes, so that any sample
is reached by reading one group; `Dataset` keeps the groups it read last. Nothing here needs torch;
a `Dataset` can be pickled to a worker process, which opens the files for itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from affectstream.engines.manifest import CropKind
from affectstream.train.data.sample import LARGE_COLUMNS, SCHEMA, SPLITS, TASKS, Sample, from_row
from affectstream.train.errors import DataError, DataMissing

FORMAT = "1.0"
INFO = "dataset.json"
OTHER_SPLITS = "splits.parquet"
"""The split of every row, where it is not the one in the shards."""
CACHE_BYTES = 256 << 20
"""How much of a data set, as it is stored, a reader keeps in memory."""


class Shard(msgspec.Struct, frozen=True):
    """One Parquet file and its rows."""

    file: str
    rows: int


class CropInfo(msgspec.Struct, frozen=True):
    """How pictures were cut; `template` is where the five landmarks lie (a bundle's `crop`)."""

    kind: CropKind
    size: int
    template: tuple[tuple[float, float], ...] | None = None


class DatasetInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of `dataset.json`."""

    format: str
    name: str
    source: str
    """What the samples were made from, in words."""
    licence: str
    rows: int
    splits: dict[str, int]
    """Rows of each split; ``none`` for rows without one."""
    emotions: dict[str, int]
    tasks: dict[str, int]
    """Tasks that can be learned (`sample.TASKS`), and how many rows have a label for each."""
    modalities: dict[str, int]
    """Rows with ``video``, ``audio`` and ``text``."""
    participants: int
    shared_participants: tuple[str, ...]
    """Those in more than one split; figures then say nothing of people never seen."""
    content_sha256: str
    """Of everything but the splits, whatever the order of rows."""
    split_sha256: str
    """Of which sample is in which split."""
    crop: CropInfo | None
    shards: tuple[Shard, ...]
    parameters: dict[str, Any]
    """What `train prepare` was asked for."""
    versions: dict[str, str]
    notes: tuple[str, ...] = ()
    of: str | None = None
    """Folder of the data set whose shards these are, where this one is the same samples under other
    splits (`resplit`)."""


def encode_info(info: DatasetInfo) -> bytes:
    """The text of `dataset.json`, indented, with a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(info), indent=2) + b"\n"


def read_info(folder: Path) -> DatasetInfo:
    """Read `dataset.json`. Raises `DataMissing` where there is none, `DataError` where it is bad."""
    path = folder / INFO
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataMissing(
            f"{folder} is no prepared data set: no {INFO} in it; "
            "make one with 'affectstream train prepare SET SOURCE --output DIR'"
        ) from error
    try:
        version = str(msgspec.json.decode(raw).get("format"))
        if version.partition(".")[0] != FORMAT.partition(".")[0]:
            raise DataError(
                f"{path}: format {version!r}, expected {FORMAT}: prepare the data set again"
            )
        return msgspec.json.decode(raw, type=DatasetInfo)
    except (msgspec.DecodeError, AttributeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


class Dataset:
    """An open data set: a sequence of samples, in the order of the files."""

    def __init__(
        self,
        folder: str | Path,
        *,
        heavy: Sequence[str] = LARGE_COLUMNS,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """Open `folder`, reading of `LARGE_COLUMNS` only the columns in `heavy`.

        Raises `DataMissing` or `DataError` where a file is absent or has other rows than stated.
        """
        self.folder = Path(folder)
        self.info = read_info(self.folder)
        self._heavy, self._limit = tuple(heavy), cache_bytes
        self._columns = [n for n in SCHEMA.names if n not in LARGE_COLUMNS or n in heavy]
        home = self.folder if self.info.of is None else _home(self.folder, self.info)
        self._files = [_open(home / shard.file, shard.rows) for shard in self.info.shards]
        self._splits = None if self.info.of is None else _other_splits(self.folder, len(self))
        sizes = [
            (shard, group, file.metadata.row_group(group).num_rows)
            for shard, file in enumerate(self._files)
            for group in range(file.metadata.num_row_groups)
        ]
        self._groups = [(shard, group) for shard, group, _ in sizes]
        self._ends = np.cumsum([rows for *_, rows in sizes], dtype=np.int64)
        self._cache: OrderedDict[int, pa.Table] = OrderedDict()
        self._cached = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.folder, self._heavy, self._limit)

    def __len__(self) -> int:
        return self.info.rows

    def __getitem__(self, index: int) -> Sample:
        """Sample `index`. Raises `IndexError` beyond the end."""
        return from_row(self.row(index))

    def row(self, index: int) -> dict[str, Any]:
        """The row of sample `index`, pictures and sound as they are stored. Raises `IndexError`."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        group = int(np.searchsorted(self._ends, index, side="right"))
        first = int(self._ends[group - 1]) if group else 0
        row: dict[str, Any] = self._table(group).slice(index - first, 1).to_pylist()[0]
        if self._splits is not None:
            row["split"] = self._splits[index]
        return row

    def __iter__(self) -> Iterator[Sample]:
        """All samples in order, one group in memory at a time."""
        index = 0
        for shard, group in self._groups:
            table = self._files[shard].read_row_group(group, columns=self._columns)
            for batch in table.to_batches(max_chunksize=64):
                for row in batch.to_pylist():
                    if self._splits is not None:
                        row["split"] = self._splits[index]
                    index += 1
                    yield from_row(row)

    def column(self, name: str) -> NDArray[Any]:
        """One light column (N,): numbers with NaN, everything else as objects with None.

        Raises `KeyError` for a heavy or unknown one.
        """
        if name not in SCHEMA.names or name in LARGE_COLUMNS:
            raise KeyError(f"{name!r} is no light column of a data set")
        if name == "split" and self._splits is not None:
            return self._splits.copy()
        parts = [file.read(columns=[name]).column(0) for file in self._files]
        values = [value for part in parts for value in part.to_pylist()]
        if pa.types.is_floating(SCHEMA.field(name).type):
            return np.asarray([np.nan if v is None else v for v in values], np.float32)
        column = np.empty(len(values), object)
        column[:] = values
        return column

    def rows_of(self, split: str | None, *, task: str | None = None) -> NDArray[np.int64]:
        """Numbers of the samples in `split` (all: None) that have a label for `task`.

        Raises `DataError` where that leaves none, and for a split or task that there is not.
        """
        if split is not None and split not in SPLITS:
            raise DataError(f"no split {split!r}: expected one of {', '.join(SPLITS)}")
        if task is not None and task not in TASKS:
            raise DataError(f"no task {task!r}: expected one of {', '.join(TASKS)}")
        keep = np.ones(len(self), bool)
        if split is not None:
            keep &= self.column("split") == split
        if task is not None:
            values = self.column(TASKS[task])
            keep &= (
                ~np.isnan(values)
                if values.dtype != object
                else np.asarray([v is not None for v in values], bool)
            )
        rows = np.flatnonzero(keep)
        if not rows.size:
            counts = ", ".join(f"{k} {v}" for k, v in self.info.splits.items()) or "no rows"
            tasks = ", ".join(f"{k} {v}" for k, v in self.info.tasks.items()) or "none"
            raise DataError(
                f"data set {self.info.name!r} has no samples for split {split or 'any'}"
                f"{f' and task {task}' if task else ''}; rows by split: {counts}; by task: {tasks}"
            )
        return rows

    def _table(self, group: int) -> pa.Table:
        """A row group, from memory or from the file."""
        if group in self._cache:
            self._cache.move_to_end(group)
            return self._cache[group]
        shard, number = self._groups[group]
        table = self._files[shard].read_row_group(number, columns=self._columns)
        self._cache[group], self._cached = table, self._cached + table.nbytes
        while self._cached > self._limit and len(self._cache) > 1:
            self._cached -= self._cache.popitem(last=False)[1].nbytes
        return table


def _reopen(folder: Path, heavy: tuple[str, ...], cache_bytes: int) -> Dataset:
    return Dataset(folder, heavy=heavy, cache_bytes=cache_bytes)


def _home(folder: Path, info: DatasetInfo) -> Path:
    """Where the shards of other splits lie."""
    home = Path(str(info.of))
    if read_info(home).content_sha256 != info.content_sha256:
        raise DataError(
            f"{folder} splits the samples that were in {home}; that holds others now: make it again"
        )
    return home


def _other_splits(folder: Path, rows: int) -> NDArray[Any]:
    path = folder / OTHER_SPLITS
    try:
        values = pq.read_table(path, columns=["split"]).column(0).to_pylist()
    except (OSError, pa.ArrowInvalid) as error:
        raise DataMissing(f"{path} cannot be opened ({error}): make the splits again") from error
    if len(values) != rows:
        raise DataError(f"{path}: found {len(values)} rows, expected {rows}: make the splits again")
    splits = np.empty(rows, object)
    splits[:] = values
    return splits


def _open(path: Path, rows: int) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataMissing(
            f"{path} cannot be opened ({error}): prepare the data set again"
        ) from error
    if file.metadata.num_rows != rows or not set(SCHEMA.names) <= set(file.schema_arrow.names):
        raise DataError(
            f"{path}: found {file.metadata.num_rows} rows, expected {rows} with all columns of "
            f"format {FORMAT}: prepare the data set again"
        )
    return file
