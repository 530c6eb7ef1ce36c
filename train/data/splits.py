"""Splits and folds: which sample is in which part, stratified, or with whole participants.

Pure functions of ids, labels, participants and a seed, independent of the order of the rows and of the
machine. Shares are dealt here: scikit-learn neither keeps participants whole at given shares nor spreads
rare labels evenly.
"""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.errors import OptionError
from affectstream.train.data.sample import SPLITS
from affectstream.train.errors import SplitError

Label = str | None


def parse_shares(text: str) -> dict[str, float]:
    """Shares such as ``70/15/15`` of train, valid and test, or ``70/30`` of train and valid, as fractions. A
    share of 0 is left out (``70/0/30``). Raises `OptionError`."""
    try:
        numbers = [float(part) for part in text.split("/")]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3) or min(numbers) < 0 or not 0 < numbers[0] < float("inf"):
        raise OptionError(
            f"split {text!r}: expected shares of train, valid and test such as 70/15/15 or 70/30"
        )
    total = sum(numbers)
    named = zip(SPLITS, numbers, strict=False)
    return {name: number / total for name, number in named if number}


def split_by_sample(
    ids: Sequence[str], labels: Sequence[Label], shares: Mapping[str, float], seed: int
) -> list[str]:
    """The part of each row, so that every part has nearly its share of all rows and of each label.

    Rows are sorted by label, within a label by a hash of seed and id; each goes to the part that is then
    furthest behind its share. Raises `SplitError` for a part without rows.
    """
    check_ids(ids)
    order = sorted(
        range(len(ids)), key=lambda i: (str(labels[i] or ""), _shuffle_key(ids[i], seed), ids[i])
    )
    parts, counts, out = list(shares), dict.fromkeys(shares, 0), [""] * len(ids)
    for dealt, row in enumerate(order, 1):
        part = max(parts, key=lambda p: shares[p] * dealt - counts[p])
        counts[part] += 1
        out[row] = part
    for part, count in counts.items():
        if not count:
            raise SplitError(f"split {part!r} gets none of {len(ids)} samples: ask for fewer parts")
    return out


def split_by_group(
    groups: Sequence[str],
    labels: Sequence[Label],
    shares: Mapping[str, float],
    seed: int,
    *,
    name: str = "participant",
) -> list[str]:
    """The part of each row, with whole groups, as near to the shares of rows and labels as possible.

    `groups` has the group of each row, such as its participant; messages call one a `name`. The groups with
    the most rows are placed first, each in the part where the counts of the labels are then nearest to
    their shares (squared error, all labels with the same weight). Every part gets a group. Raises
    `SplitError` for fewer groups than parts.
    """
    tallies: dict[str, Counter[str]] = defaultdict(Counter)
    for group, label in zip(groups, labels, strict=True):
        tallies[group][label or ""] += 1
    if len(tallies) < len(shares):
        raise SplitError(
            f"{len(tallies)} {name}(s) ({_some(sorted(tallies))}) cannot be split into "
            f"{' / '.join(shares)}: expected at least {len(shares)}; use fewer parts, or --by sample"
        )
    present = sorted({label for tally in tallies.values() for label in tally})
    counts = {
        group: np.array([tally[label] for label in present], np.float64)
        for group, tally in tallies.items()
    }
    whole = np.maximum(sum(counts.values(), np.zeros(len(present))), 1.0)
    names, share = list(shares), np.asarray(list(shares.values()))[:, None]
    filled = np.zeros((len(names), len(present)))
    order = sorted(
        counts, key=lambda group: (-counts[group].sum(), _shuffle_key(group, seed), group)
    )
    placed: dict[str, str] = {}
    for number, group in enumerate(order):
        empty = [part for part in range(len(names)) if not filled[part].sum()]
        # The last groups go to the parts that have none yet.
        open_parts = empty if len(order) - number <= len(empty) else range(len(names))
        # What each part would hold with the group, row by row.
        after = filled + counts[group] * np.eye(len(names))[:, :, None]
        cost = np.square(after / whole / share - 1.0)
        part = min(open_parts, key=lambda p: float(cost[p].sum()))
        filled[part] += counts[group]
        placed[group] = names[part]
    return [placed[group] for group in groups]


def joined_groups(*columns: Sequence[str | None]) -> list[str]:
    """The group of each row: rows with the same value in any of `columns` are in one group.

    None is no value; the last column has a value in every row. A group has the name of its smallest value in
    the first column where it has one.
    """
    parent: dict[tuple[int, str], tuple[int, str]] = {}

    def root(key: tuple[int, str]) -> tuple[int, str]:
        while parent[key] != key:
            parent[key] = key = parent[parent[key]]
        return key

    last: list[tuple[int, str]] = []
    for row in zip(*columns, strict=True):
        keys = [(column, value) for column, value in enumerate(row) if value is not None]
        for key in keys:
            parent.setdefault(key, key)
            # The smallest key of a group is its root.
            low, high = sorted((root(keys[0]), root(key)))
            parent[high] = low
        last.append(keys[-1])
    return [root(key)[1] for key in last]


def fold_numbers(
    ids: Sequence[str],
    labels: Sequence[Label],
    k: int,
    seed: int,
    groups: Sequence[str] | None = None,
    *,
    name: str = "participant",
) -> NDArray[np.int64]:
    """Fold 0 to k - 1 of each row, labels spread evenly; no group, such as a participant, is in two folds.

    They are those of scikit-learn's `StratifiedKFold` or `StratifiedGroupKFold`, on rows sorted by id.
    Messages call a group a `name`. Raises `SplitError` for an impossible number of folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    check_ids(ids)
    if groups is None:
        splitter: type[StratifiedKFold | StratifiedGroupKFold] = StratifiedKFold
        rarest, most = min(Counter(map(str, labels)).items(), key=lambda item: (item[1], item[0]))
        expected = f"{k} folds: expected 2 to {most}, as many as label {rarest!r} has samples"
    else:
        splitter, most = StratifiedGroupKFold, len(set(groups))
        expected = f"{k} folds by {name}: expected 2 to {most}, the {name}s"
    if not 2 <= k <= most:
        raise SplitError(expected)
    order = np.argsort(np.asarray(ids, object))
    ordered_labels = np.asarray(labels, str)[order]
    ordered_groups = None if groups is None else np.asarray(groups, str)[order]
    folds = np.empty(len(ids), np.int64)
    with warnings.catch_warnings():
        # A label of fewer than k samples is missing from some folds, as it must be.
        warnings.simplefilter("ignore", UserWarning)
        pairs = splitter(k, shuffle=True, random_state=seed)
        parts = pairs.split(order, ordered_labels, ordered_groups)
        for number, (_, held_out) in enumerate(parts):
            folds[order[held_out]] = number
    return folds


def leave_one_participant_out(participants: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """The participants in the order of their names, and the number of each row's: its fold."""
    names, numbers = np.unique(np.asarray(participants, str), return_inverse=True)
    if len(names) < 2:
        found = _some(names.tolist())
        raise SplitError(f"leaving one participant out needs two or more, found {found}")
    return names.tolist(), numbers


def in_several_splits(parts: Sequence[str | None], keys: Sequence[str | None]) -> list[str]:
    """The keys (participants, contents) that are in more than one part. None is ignored in both."""
    parts_of: dict[str, set[str]] = defaultdict(set)
    for part, key in zip(parts, keys, strict=True):
        if part is not None and key is not None:
            parts_of[key].add(part)
    return sorted(key for key, found in parts_of.items() if len(found) > 1)


def check_disjoint(
    parts: Sequence[str | None],
    ids: Sequence[str],
    *,
    participants: Sequence[str | None] = (),
    contents: Sequence[str | None] = (),
) -> None:
    """Raise `SplitError` if parts (or folds, as text) share a participant, or the same picture or sound; it
    names them. An empty sequence is not checked."""
    if participants and (both := in_several_splits(parts, participants)):
        raise SplitError(
            f"{len(both)} participant(s) are in more than one split: {_some(both)}; "
            "split by participant, or allow it with --by sample"
        )
    if contents and (both := in_several_splits(parts, contents)):
        first = [
            f"{name} ({part})"
            for name, part, content in zip(ids, parts, contents, strict=True)
            if content == both[0] and part is not None
        ]
        raise SplitError(
            f"{len(both)} picture(s) or sound(s) are in more than one split, such as {_some(first)}: "
            "leave them out of training (--duplicates drop) or keep them as they are "
            "(--duplicates keep)"
        )


def check_ids(ids: Sequence[str]) -> None:
    """Raise `SplitError` without samples, and for an id that occurs twice."""
    if not ids:
        raise SplitError("there are no samples to split")
    name, count = Counter(ids).most_common(1)[0]
    if count > 1:
        raise SplitError(f"{count} samples have the id {name!r}: expected one of each")


def _shuffle_key(text: str, seed: int) -> bytes:
    """A pseudo-random key of a text, to sort by."""
    return hashlib.blake2b(f"{seed}\0{text}".encode(), digest_size=8).digest()


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
