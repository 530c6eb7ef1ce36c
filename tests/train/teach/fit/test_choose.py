"""What is held out, and how much a head may change."""

import numpy as np

from affectstream.train.teach.data.hops import Evidence, Hops
from affectstream.train.teach.fit.choose import Units, folds, split, units_of
from affectstream.train.teach.fit.correction import AMOUNTS
from affectstream.train.teach.fit.held_out import HeldOut


def hops(person, recording, seconds):
    count = len(seconds)
    evidence = Evidence(np.zeros((count, 2)), {}, {}, {})
    truth = np.zeros(count, np.int64)
    names = (np.array(person), np.array(recording))
    return Hops(("joy", "fear"), evidence, truth, *names, np.asarray(seconds, float))


def test_people_are_held_out_where_there_are_two():
    assert units_of(hops(["a", "b", "a"], ["x", "x", "y"], [0, 0, 0])).by == "person"
    assert units_of(hops(["a", "a", "a"], ["x", "x", "y"], [0, 0, 0])).by == "recording"
    found = units_of(hops(["a"] * 4, ["x"] * 4, [0, 29.5, 30, 95]))
    assert (found.by, found.numbers.tolist()) == ("block", [0, 0, 1, 2])


def test_no_window_reaches_into_a_block_that_is_held_out():
    seconds = np.arange(0, 90, 0.5)
    coded = hops(["a"] * 180, ["x"] * 180, seconds)
    train, test = split(coded, units_of(coded), np.array([1]), window_s=3.0)
    assert seconds[test].min() == 30 and seconds[test].max() == 59.5
    gaps = np.abs(seconds[train][:, None] - seconds[test][None]).min(1)
    assert gaps.min() >= 3.0
    assert len(train) == 110  # 5 hops on each side are in neither


def test_folds_hold_whole_units_and_are_of_like_size():
    units = Units("person", np.repeat(np.arange(5), [10, 1, 6, 4, 9]))
    sizes = np.bincount(units.numbers)
    made = folds(units, 3)
    assert sorted(np.concatenate(made).tolist()) == [0, 1, 2, 3, 4]
    assert sorted(int(sizes[fold].sum()) for fold in made) == [10, 10, 10]
    assert len(folds(units, 8)) == 5


def test_what_is_shipped_is_what_was_measured_most_often():
    none, small, large = AMOUNTS[0], AMOUNTS[1], AMOUNTS[4]
    empty = np.zeros((0, 2))
    assert HeldOut(empty, empty, (large, small, large)).amount == large
    assert HeldOut(empty, empty, (large, small)).amount == small
    assert HeldOut(empty, empty, ()).amount == none
