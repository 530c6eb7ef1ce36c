"""The same samples with other splits: a small folder that points at a prepared data set.

Every command that takes a data set takes such a folder. No sample is copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import structs

from affectstream.stream.sinks.base import writing
from affectstream.train.data.dataset import INFO, OTHER_SPLITS, Dataset
from affectstream.train.data.prepare.shards import hash_splits
from affectstream.train.data.sample import SPLITS, Split
from affectstream.train.data.splits import check_disjoint, in_several_splits
from affectstream.train.files import encode_json, write_atomically


def resplit(
    dataset: Dataset, splits: Sequence[Split | None], folder: Path, *, name: str, may_share: bool
) -> None:
    """Write into `folder` the data set `name`: row i of `dataset`, in `splits` [i] (None: in none).

    With `may_share` two splits may have a participant in common, but never a picture or a sound.
    Raises `SplitError` for a leak, `OutputError` where the disk refuses.
    """
    ids = dataset.column("id").tolist()
    participants = dataset.column("participant").tolist()
    check_disjoint(
        splits,
        ids,
        participants=() if may_share else participants,
        contents=dataset.column("content").tolist(),
    )
    counts = {split or "none": list(splits).count(split) for split in (*SPLITS, None)}
    info = structs.replace(
        dataset.info,
        name=name,
        splits={split: count for split, count in counts.items() if count},
        shared_participants=tuple(in_several_splits(splits, participants)),
        split_sha256=hash_splits(zip(ids, splits, strict=True)),
        of=dataset.info.of or str(dataset.folder.absolute()),
    )
    table = pa.table({"id": pa.array(ids, pa.string()), "split": pa.array(splits, pa.string())})
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / OTHER_SPLITS)
    write_atomically(folder / INFO, encode_json(info))  # last: it makes the folder a data set
