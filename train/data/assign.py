"""The split of every row of a data set, and which rows are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from affectstream.train.data.options import By, Duplicates
from affectstream.train.data.splits import (
    check_disjoint,
    check_ids,
    in_several_splits,
    joined_groups,
    parse_shares,
    split_by_group,
    split_by_sample,
)
from affectstream.train.errors import DataError

DEFAULT_SPLIT = "70/15/15"

NEEDED = (
    *("id", "recording", "participant", "dialogue"),
    *("split", "content", "emotion", "sentiment"),
)
"""Columns of the rows that `assign_splits` takes."""
Rows = Sequence[Mapping[str, Any]]


def assign_splits(
    rows: Rows, split: str, *, by: By, seed: int, duplicates: Duplicates, may_share: bool
) -> tuple[dict[str, str | None], list[str]]:
    """The split of each id that is not left out, and the participants in more than one split.

    `split` is ``official`` (the rows' own), ``none``, or shares that are dealt `by` participant (recordings
    and dialogues where none are named) or sample. Pictures and sounds in several splits are refused, dropped
    from training, or kept, as `duplicates` says. With `may_share` the official splits may share participants.
    Raises `SplitError` for a leak and for repeated ids, `DataError` for missing participants.
    """
    ids = [row["id"] for row in rows]
    check_ids(ids)
    if split == "none":
        return dict.fromkeys(ids), []
    participants = [row["participant"] for row in rows]
    contents = [row["content"] for row in rows]
    if split == "official":
        parts = [row["split"] for row in rows]
    else:
        parts = _deal(rows, parse_shares(split), by, seed)
        may_share = False
    leaks = set(in_several_splits(parts, contents)) if duplicates == "drop" else set()
    stays = [part != "train" or c not in leaks for part, c in zip(parts, contents, strict=True)]
    remaining = [part if stay else None for part, stay in zip(parts, stays, strict=True)]
    check_disjoint(
        remaining,
        ids,
        participants=() if may_share or by == "sample" else participants,
        contents=() if duplicates == "keep" else contents,
    )
    split_of = {name: part for name, part, stay in zip(ids, parts, stays, strict=True) if stay}
    return split_of, in_several_splits(remaining, participants)


def _deal(rows: Rows, shares: Mapping[str, float], by: By, seed: int) -> list[str | None]:
    """Deal whole participants (else recordings) or samples; equal pictures or sounds stay together."""
    ids = [row["id"] for row in rows]
    participants = [row["participant"] for row in rows]
    labels = [row["emotion"] or row["sentiment"] for row in rows]
    if by == "participant" and any(participants):
        if not all(participants):
            lacking = ids[participants.index(None)]
            raise DataError(
                f"{participants.count(None)} samples have no participant, such as {lacking}: fill the "
                "column in, or split --by sample"
            )
        return list(split_by_group(participants, labels, shares, seed))
    contents = [row["content"] for row in rows]
    copies = joined_groups(contents, ids)
    if by == "participant":
        # Without names a recording is as near to a person as the data set comes.
        recordings, dialogues = ([row[name] for row in rows] for name in ("recording", "dialogue"))
        groups = joined_groups(recordings, dialogues, contents, ids)
        if len(set(groups)) < len(set(copies)):
            return list(split_by_group(groups, labels, shares, seed, name="recording"))
    label_of = dict(zip(reversed(copies), reversed(labels), strict=True))
    parts = split_by_sample(list(label_of), list(label_of.values()), shares, seed)
    split_of = dict(zip(label_of, parts, strict=True))
    return [split_of[key] for key in copies]
