"""The split of every row of a data set that has been made, and which rows are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from affectstream.train.data.splits import (
    check_disjoint,
    in_several_splits,
    parse_shares,
    split_by_participant,
    split_by_sample,
)
from affectstream.train.errors import DataError

By = Literal["participant", "sample"]
BYS: tuple[By, ...] = get_args(By)
Duplicates = Literal["refuse", "drop", "keep"]
DUPLICATES: tuple[Duplicates, ...] = get_args(Duplicates)
DEFAULT_SPLIT = "70/15/15"

NEEDED = ("id", "participant", "split", "content", "emotion", "sentiment")
"""Columns of the rows that `assign_splits` takes."""
Rows = Sequence[Mapping[str, Any]]


def assign_splits(
    rows: Rows, wanted: str, *, by: By, seed: int, duplicates: Duplicates, may_share: bool
) -> tuple[dict[str, str | None], list[str]]:
    """The split of each id that stays, and the participants in more than one split.

    `wanted` is ``official`` (the rows' own), ``none`` or shares; `by` how shares are dealt. Pictures and
    sounds that several splits hold are refused, dropped from training, or kept, as `duplicates` says.
    `may_share`: the official splits share participants. Raises `SplitError` for a leak, `DataError` for
    ids that are no ids and participants that are missing.
    """
    ids = [row["id"] for row in rows]
    name, count = Counter(ids).most_common(1)[0]
    if count > 1:
        raise DataError(f"{count} samples have the id {name!r}: expected one of each")
    people = [row["participant"] for row in rows]
    contents = [row["content"] for row in rows]
    if wanted == "none":
        return dict.fromkeys(ids), []
    if wanted == "official":
        parts = [row["split"] for row in rows]
    else:
        parts = _dealt(rows, parse_shares(wanted), by, seed)
        may_share = False
    both = set(in_several_splits(parts, contents)) if duplicates == "drop" else set()
    stays = [
        part != "train" or content not in both
        for part, content in zip(parts, contents, strict=True)
    ]
    live = [part if kept else None for part, kept in zip(parts, stays, strict=True)]
    check_disjoint(
        live,
        ids,
        participants=() if may_share or by == "sample" else people,
        contents=() if duplicates == "keep" else contents,
    )
    split_of = {name: part for name, part, kept in zip(ids, parts, stays, strict=True) if kept}
    return split_of, in_several_splits(live, people)


def _dealt(rows: Rows, shares: Mapping[str, float], by: By, seed: int) -> list[str | None]:
    """By participant where there are any and that is wanted, else sample by sample."""
    ids = [row["id"] for row in rows]
    people = [row["participant"] for row in rows]
    labels = [row["emotion"] or row["sentiment"] for row in rows]
    if by == "participant" and any(people):
        if not all(people):
            lacking = ids[people.index(None)]
            raise DataError(
                f"{people.count(None)} samples have no participant, such as {lacking}: fill the "
                "column in, or split --by sample"
            )
        return list(split_by_participant(people, labels, shares, seed))
    # The same picture or sound goes the same way.
    keys = [row["content"] or name for row, name in zip(rows, ids, strict=True)]
    label_of = dict(zip(reversed(keys), reversed(labels), strict=True))
    names = list(label_of)
    dealt = split_by_sample(names, [label_of[name] for name in names], shares, seed)
    where = dict(zip(names, dealt, strict=True))
    return [where[key] for key in keys]
