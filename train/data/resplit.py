"""The same samples under other splits: a small folder that points at a prepared data set.

Everything that takes a data set takes such a folder: its hash of the splits is its own, so a run that was
begun with other splits is told apart, and nothing is prepared or copied again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import structs

from affectstream.stream.sinks.base import writing
from affectstream.train.data.dataset import INFO, OTHER_SPLITS, Dataset, encode_info
from affectstream.train.data.prepare.describe import hash_splits
from affectstream.train.data.sample import SPLITS
from affectstream.train.data.splits import check_disjoint, in_several_splits
from affectstream.train.files import write_atomically


def resplit(
    dataset: Dataset,
    parts: Sequence[str | None],
    folder: Path,
    *,
    name: str,
    may_share: bool,
) -> None:
    """Write into `folder` that row i of `dataset` is in split `parts` [i], None in no split.

    `name` is that of the new data set. The splits may have a participant in common where `may_share`, never
    a picture or a sound. Raises `SplitError` for a leak, `OutputError` where the disk refuses.
    """
    ids, people = dataset.column("id").tolist(), dataset.column("participant").tolist()
    check_disjoint(
        parts,
        ids,
        participants=() if may_share else people,
        contents=dataset.column("content").tolist(),
    )
    info = dataset.info
    counts = {split: list(parts).count(split) for split in SPLITS}
    counts["none"] = list(parts).count(None)
    made = structs.replace(
        info,
        name=name,
        splits={split: count for split, count in counts.items() if count},
        shared_participants=tuple(in_several_splits(parts, people)),
        split_sha256=hash_splits(zip(ids, parts, strict=True)),
        of=info.of or str(dataset.folder.absolute()),
    )
    table = pa.table({"id": pa.array(ids, pa.string()), "split": pa.array(parts, pa.string())})
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / OTHER_SPLITS)
        write_atomically(folder / INFO, encode_info(made))  # last: with it the folder is a data set
