"""A prepared data set: the one format that every recipe reads.

A folder with `dataset.json` (`DatasetInfo`) and shards `samples-00000.parquet`, ... of bounded size
with the columns of `sample.SCHEMA`. A shard has row groups of a few megabytes. Nothing here needs torch.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence, Set
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from affectstream.engines.manifest import CropKind
from affectstream.train.data.sample import (
    LARGE_COLUMNS,
    LATER_COLUMNS,
    SCHEMA,
    SMALL_COLUMNS,
    SPLITS,
    TASKS,
    Sample,
    from_row,
)
from affectstream.train.errors import DataError, DataMissing

FORMAT = "1.1"
INFO = "dataset.json"
OTHER_SPLITS = "splits.parquet"
"""The split of every row, where it is not the one in the shards."""
CACHE_BYTES = 256 << 20
"""Bytes of row groups, as stored, that a `Dataset` caches."""


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
    """Participants in more than one split. Metrics then do not measure new people."""
    content_sha256: str
    """Hash of all samples without their splits, in any order of rows."""
    split_sha256: str
    """Hash of the split of every sample."""
    crop: CropInfo | None
    shards: tuple[Shard, ...]
    parameters: dict[str, Any]
    versions: dict[str, str]
    notes: tuple[str, ...] = ()
    of: str | None = None
    """Folder of the data set that holds the shards, if this one has only other splits (`resplit`)."""


def read_info(folder: Path) -> DatasetInfo:
    """Read `dataset.json`. Raises `DataMissing` without one, `DataError` for a damaged one."""
    path = folder / INFO
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataMissing(
            f"{folder} is not a prepared data set: no {INFO} in it; "
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
    """An open data set: a sequence of samples, in the order of the files.

    It caches the row groups that it read last. It can be pickled to a process, which opens the files again.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        large: Sequence[str] = LARGE_COLUMNS,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """Open `folder`; of `LARGE_COLUMNS` only those in `large` are read. Raises `DataMissing` for an
        absent file, `DataError` for one with other rows than stated."""
        self.folder = Path(folder)
        self.info = read_info(self.folder)
        self._large, self._limit = tuple(large), cache_bytes
        home = self.folder if self.info.of is None else _shard_folder(self.folder, self.info)
        columns, advice = set(SCHEMA.names) - set(LATER_COLUMNS), "prepare the data set again"
        self._files = [_open(home / s.file, s.rows, columns, advice) for s in self.info.shards]
        self._columns = [
            name
            for name in SCHEMA.names
            if (name in SMALL_COLUMNS or name in large)
            and all(name in file.schema_arrow.names for file in self._files)
        ]
        self._splits = None if self.info.of is None else _other_splits(self.folder, len(self))
        self._groups = [
            (file, group) for file in self._files for group in range(file.metadata.num_row_groups)
        ]
        sizes = [file.metadata.row_group(group).num_rows for file, group in self._groups]
        self._ends = np.cumsum(sizes, dtype=np.int64)
        self._cache: OrderedDict[int, pa.Table] = OrderedDict()
        self._cached = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Dataset, large=self._large, cache_bytes=self._limit), (self.folder,)

    def __len__(self) -> int:
        return self.info.rows

    def __getitem__(self, index: int) -> Sample:
        """Sample `index`. Raises `IndexError` beyond the end."""
        return from_row(self.row(index))

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

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

    def column(self, name: str) -> NDArray[Any]:
        """One small column (N,): float32 with NaN for null, others objects with None. Raises `KeyError`."""
        if name not in SMALL_COLUMNS:
            raise KeyError(f"{name!r} is none of {', '.join(SMALL_COLUMNS)}")
        if name == "split" and self._splits is not None:
            return self._splits.copy()
        if name not in self._columns:
            return np.full(len(self), None, object)
        values = [
            value for file in self._files for value in file.read([name]).column(0).to_pylist()
        ]
        floating = pa.types.is_floating(SCHEMA.field(name).type)
        return np.asarray(values, np.float32) if floating else _objects(values)

    def rows_of(self, split: str | None, *, task: str | None = None) -> NDArray[np.int64]:
        """Numbers of the samples in `split` (None: in any) that have a label for `task`.

        Raises `DataError` if there are none, and for an unknown split or task.
        """
        if split is not None and split not in SPLITS:
            raise DataError(f"no split {split!r}: expected one of {', '.join(SPLITS)}")
        if task is not None and task not in TASKS:
            raise DataError(f"no task {task!r}: expected one of {', '.join(TASKS)}")
        matches = np.ones(len(self), bool)
        if split is not None:
            matches &= self.column("split") == split
        if task is not None:
            matches &= has_value(self.column(TASKS[task]))
        rows = np.flatnonzero(matches)
        if not rows.size:
            raise self.no_samples(split, f" and task {task}" if task else "")
        return rows

    def no_samples(self, split: str | None, condition: str) -> DataError:
        """The error for a split without samples that meet `condition`; it lists what there is."""
        splits = ", ".join(f"{k} {v}" for k, v in self.info.splits.items()) or "no rows"
        tasks = ", ".join(f"{k} {v}" for k, v in self.info.tasks.items()) or "none"
        return DataError(
            f"data set {self.info.name!r} has no samples for split {split or 'any'}{condition}; "
            f"rows by split: {splits}; by task: {tasks}"
        )

    def _table(self, group: int) -> pa.Table:
        if group in self._cache:
            self._cache.move_to_end(group)
            return self._cache[group]
        file, number = self._groups[group]
        table = file.read_row_group(number, columns=self._columns)
        self._cache[group], self._cached = table, self._cached + table.nbytes
        while self._cached > self._limit and len(self._cache) > 1:
            self._cached -= self._cache.popitem(last=False)[1].nbytes
        return table


def has_value(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which values (n,) of a `Dataset.column` are neither None nor NaN."""
    if values.dtype == object:
        return np.asarray([value is not None for value in values], bool)
    return ~np.isnan(values)


def _shard_folder(folder: Path, info: DatasetInfo) -> Path:
    home = Path(str(info.of))
    if read_info(home).content_sha256 != info.content_sha256:
        raise DataError(
            f"{folder} splits the samples that were in {home}, which has changed: split it again"
        )
    return home


def _other_splits(folder: Path, rows: int) -> NDArray[Any]:
    values = _open(folder / OTHER_SPLITS, rows, {"split"}, "make the splits again").read(["split"])
    return _objects(values.column(0).to_pylist())


def _objects(values: Sequence[Any]) -> NDArray[Any]:
    """A one-dimensional array of Python objects, also of lists."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _open(path: Path, rows: int, columns: Set[str], advice: str) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataMissing(f"{path} cannot be opened ({error}): {advice}") from error
    if file.metadata.num_rows != rows or columns - set(file.schema_arrow.names):
        raise DataError(
            f"{path}: found {file.metadata.num_rows} rows, expected {rows} with all columns of "
            f"format {FORMAT}: {advice}"
        )
    return file
