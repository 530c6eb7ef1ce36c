"""Splits: shares are kept, participants are never cut, and nothing but names and the seed matters."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from affectstream.stream.errors import OptionError
from affectstream.train.data.assign import assign_splits
from affectstream.train.data.splits import (
    check_disjoint,
    fold_numbers,
    in_several_splits,
    joined_groups,
    leave_one_participant_out,
    parse_shares,
    split_by_group,
    split_by_sample,
)
from affectstream.train.errors import SplitError

SHARES = st.sampled_from(["70/30", "70/15/15", "60/20/20", "80/0/20", "50/50"]).map(parse_shares)
LABELS = st.sampled_from(["joy", "anger", "neutral", None])
ROWS = st.lists(LABELS, min_size=20, max_size=120)
SEEDS = st.integers(0, 1000)


def ids_of(rows):
    return [f"clip-{n:04d}" for n in range(len(rows))]


@given(ROWS, SHARES, SEEDS)
def test_every_part_has_its_share_of_each_label(labels, shares, seed):
    parts = split_by_sample(ids_of(labels), labels, shares, seed)
    for part, share in shares.items():
        assert abs(parts.count(part) - share * len(parts)) < 2
        for label in set(labels):
            mine = [p for p, other in zip(parts, labels, strict=True) if other == label]
            # Dealing is off by less than two before a label, and less than two after it.
            assert abs(mine.count(part) - share * len(mine)) < 4


@given(ROWS, SHARES, SEEDS, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(labels, shares, seed, random):
    ids = ids_of(labels)
    there = dict(zip(ids, split_by_sample(ids, labels, shares, seed), strict=True))
    shuffled = list(zip(ids, labels, strict=True))
    random.shuffle(shuffled)
    names, words = zip(*shuffled, strict=True)
    again = dict(zip(names, split_by_sample(names, words, shares, seed), strict=True))
    assert there == again


def test_the_seed_matters():
    labels = ["joy", "anger"] * 30
    ids = ids_of(labels)
    shares = parse_shares("70/30")
    assert split_by_sample(ids, labels, shares, 0) == split_by_sample(ids, labels, shares, 0)
    assert split_by_sample(ids, labels, shares, 0) != split_by_sample(ids, labels, shares, 1)


PEOPLE = st.lists(
    st.tuples(st.sampled_from("abcdefghijklmnop"), LABELS), min_size=30, max_size=150
).filter(lambda rows: len({who for who, _ in rows}) >= 3)


@given(PEOPLE, SHARES, SEEDS, st.randoms(use_true_random=False))
def test_a_participant_is_in_one_part_only_whatever_the_order(rows, shares, seed, random):
    people, labels = zip(*rows, strict=True)
    parts = split_by_group(people, labels, shares, seed)
    check_disjoint(parts, ids_of(rows), participants=people)
    assert set(parts) == set(shares)
    there = dict(zip(people, parts, strict=True))
    shuffled = list(rows)
    random.shuffle(shuffled)
    names, words = zip(*shuffled, strict=True)
    assert dict(zip(names, split_by_group(names, words, shares, seed), strict=True)) == there


def unnamed_rows(**changes):
    """Rows of eight recordings of twenty samples each, in which no participant is named."""
    return [
        {
            "id": f"{film}{n:02d}",
            "recording": f"{film}.mp4",
            "participant": None,
            "dialogue": None,
            "split": None,
            "content": f"{film}{n}",
            "emotion": ("joy", "anger")[n % 2],
            "sentiment": None,
            **changes,
        }
        for film in "abcdefgh"
        for n in range(20)
    ]


def dealt(rows, by="participant"):
    options = {"seed": 0, "duplicates": "refuse", "may_share": False}
    split_of, _ = assign_splits(rows, "70/15/15", by=by, **options)
    return [split_of[row["id"]] for row in rows]


def test_without_participants_a_recording_is_in_one_split():
    rows = unnamed_rows()
    parts = dealt(rows)
    recordings = [row["recording"] for row in rows]
    assert in_several_splits(parts, recordings) == []
    assert {part: parts.count(part) // 20 for part in parts} == {"train": 6, "valid": 1, "test": 1}
    assert dealt(rows[::-1])[::-1] == parts
    assert in_several_splits(dealt(rows, by="sample"), recordings)
    # Files of their own may belong to one dialogue.
    rows = [
        {**row, "recording": f"{n}.mp4", "dialogue": row["recording"]} for n, row in enumerate(rows)
    ]
    assert in_several_splits(dealt(rows), recordings) == []
    with pytest.raises(SplitError, match=r"1 recording\(s\) \(talk\.mp4\) cannot be split into"):
        dealt(unnamed_rows(recording="talk.mp4"))


def test_samples_of_files_of_their_own_are_dealt_one_by_one():
    rows = [{**row, "recording": f"{n}.mp4"} for n, row in enumerate(unnamed_rows())]
    assert dealt(rows) == dealt(rows, by="sample") == dealt(unnamed_rows(recording=None))


def test_what_one_column_or_another_joins_is_one_group():
    films = ["b", "a", None, None, None, "c"]
    talks = [None, "t", "t", None, None, None]
    ids = list("123455")
    assert joined_groups(films, talks, ids) == ["b", "a", "a", "4", "c", "c"]


def test_participants_of_like_size_give_the_shares_asked_for():
    rng = np.random.default_rng(0)
    people = [f"p{n:02d}" for n in range(40) for _ in range(30)]
    labels = [str(x) for x in rng.choice(["joy", "anger", "fear"], len(people), p=[0.7, 0.2, 0.1])]
    parts = split_by_group(people, labels, parse_shares("70/15/15"), seed=3)
    for part, share in (("train", 0.7), ("valid", 0.15), ("test", 0.15)):
        assert parts.count(part) / len(parts) == pytest.approx(share, abs=0.03)
        rare = [p for p, label in zip(parts, labels, strict=True) if label == "fear"]
        assert rare.count(part) / len(rare) == pytest.approx(share, abs=0.06)


@settings(max_examples=25, deadline=None)  # the first one imports scikit-learn
@given(st.lists(LABELS, min_size=40, max_size=80), st.integers(2, 4), SEEDS)
def test_folds_hold_each_row_once_and_each_label_evenly(labels, k, seed):
    pytest.importorskip("sklearn", reason="folds need the 'train' extra")
    assume(min(Counter(labels).values()) >= k)
    ids = ids_of(labels)
    folds = fold_numbers(ids, labels, k, seed)
    assert set(folds.tolist()) == set(range(k))
    for label in set(labels):
        counts = Counter(folds[[i for i, other in enumerate(labels) if other == label]].tolist())
        assert max(counts.values()) - min(counts.get(fold, 0) for fold in range(k)) <= 1
    backwards = fold_numbers(ids[::-1], labels[::-1], k, seed)
    assert backwards[::-1].tolist() == folds.tolist()


@settings(max_examples=25, deadline=None)  # the first one imports scikit-learn
@given(PEOPLE, SEEDS)
def test_grouped_folds_share_nobody(rows, seed):
    pytest.importorskip("sklearn", reason="folds need the 'train' extra")
    people, labels = zip(*rows, strict=True)
    ids = ids_of(rows)
    folds = fold_numbers(ids, labels, 3, seed, people)
    check_disjoint([str(fold) for fold in folds], ids, participants=people)
    backwards = fold_numbers(ids[::-1], labels[::-1], 3, seed, people[::-1])
    assert backwards[::-1].tolist() == folds.tolist()


@given(st.lists(st.sampled_from("abcde"), min_size=2, max_size=30))
def test_leaving_one_out_leaves_out_everyone_once(people):
    if len(set(people)) < 2:
        with pytest.raises(SplitError, match="needs two or more"):
            leave_one_participant_out(people)
        return
    names, numbers = leave_one_participant_out(people)
    assert names == sorted(set(people))
    assert [names[number] for number in numbers] == people


def test_a_leak_is_refused_by_name():
    ids = ["a1", "a2", "b1"]
    with pytest.raises(SplitError, match=r"1 participant\(s\) are in more than one split: ann"):
        check_disjoint(["train", "test", "train"], ids, participants=["ann", "ann", "bob"])
    with pytest.raises(SplitError, match=r"such as a1 \(train\), b1 \(test\)"):
        check_disjoint(["train", "train", "test"], ids, contents=["x", "y", "x"])
    check_disjoint(["train", None, "test"], ids, participants=["ann", "ann", None])


def test_what_has_no_name_leaks_nothing():
    assert in_several_splits(["train", "test"], [None, None]) == []


@pytest.mark.parametrize("text", ["70", "a/b", "70/-5", "0/50/50", "1/2/3/4", "nan/1", ""])
def test_bad_shares_are_refused(text):
    with pytest.raises(OptionError, match="expected shares of train, valid and test"):
        parse_shares(text)


def test_what_cannot_be_split_is_refused():
    pytest.importorskip("sklearn", reason="folds need the 'train' extra")
    with pytest.raises(SplitError, match=r"2 participant\(s\) \(a, b\) cannot be split"):
        split_by_group(["a", "b"], ["joy", "joy"], parse_shares("70/15/15"), 0)
    with pytest.raises(SplitError, match="'valid' gets none of 1 samples"):
        split_by_sample(["a"], ["joy"], parse_shares("40/30/30"), 0)
    with pytest.raises(SplitError, match="have the id 'a'"):
        split_by_sample(["a", "a"], ["joy", "joy"], parse_shares("50/50"), 0)
    with pytest.raises(SplitError, match="no samples to split"):
        split_by_sample([], [], parse_shares("50/50"), 0)
    with pytest.raises(SplitError, match="as many as label 'fear' has samples"):
        fold_numbers(["a", "b", "c"], ["joy", "joy", "fear"], 2, 0)
    with pytest.raises(SplitError, match="expected 2 to 1"):
        fold_numbers(["a", "b"], ["joy", "joy"], 2, 0, ["x", "x"])
