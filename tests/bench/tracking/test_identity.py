"""Switches, mixed numbers and IDF1 of cases that can be counted by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectstream.bench.tracking.identity import IdentityScore, score_identities


def test_one_number_for_each_person_is_perfect():
    score = score_identities([("ann", 1), ("ben", 2)] * 5)
    assert (score.idf1, score.switches, score.mixed, score.people, score.numbers) == (1, 0, 0, 2, 2)


def test_a_new_number_halfway_is_a_switch_and_halves_idf1():
    score = score_identities([("ann", 1)] * 4 + [("ann", 2)] * 4)
    assert (score.switches, score.numbers, score.mixed) == (1, 2, 0)
    assert score.idf1 == pytest.approx(0.5)


def test_a_number_that_passes_to_another_person_is_mixed():
    score = score_identities([("ann", 1)] * 6 + [("ben", 1)] * 2)
    assert (score.switches, score.mixed) == (0, 1)
    assert score.idf1 == pytest.approx(2 * 6 / 16)


def test_two_who_exchange_their_numbers_switch_twice():
    score = score_identities([("ann", 1), ("ben", 2)] * 3 + [("ann", 2), ("ben", 1)] * 2)
    assert (score.switches, score.mixed) == (2, 2)
    assert score.idf1 == pytest.approx(6 / 10)


def test_faces_without_number_and_numbers_of_nobody_count_against_it():
    score = score_identities([("ann", None)] * 2 + [("ann", 1)] * 2 + [(None, 7)] * 2)
    assert (score.faces, score.numbered, score.other) == (4, 2, 2)
    assert score.idf1 == pytest.approx(2 * 2 / (4 + 4))


@given(st.lists(st.tuples(st.sampled_from([None, "a", "b", "c"]), st.integers(1, 4) | st.none())))
def test_idf1_lies_between_the_best_single_pair_and_one(faces):
    score = score_identities(faces)
    assert 0 <= score.agreed <= score.numbered <= score.faces
    assert 0 <= score.idf1 <= 1
    assert score + IdentityScore() == score
