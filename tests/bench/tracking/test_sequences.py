"""Sequences of known truth, made from painted people."""

import numpy as np
import pytest

from affectstream.bench.tracking.people import Person
from affectstream.bench.tracking.sequences import HEIGHT, WIDTH, make_sequences


def person(name, color):
    """A picture of one color, with the face in its middle."""
    picture = np.full((360, 480, 3), color, np.uint8)
    return Person(name, (picture,) * 4, ((190.0, 100.0, 290.0, 220.0),) * 4)


ANN, BEN = person("ann", (200, 10, 10)), person("ben", (10, 10, 200))
SEQUENCES = make_sequences([ANN, BEN])


def test_every_person_and_every_pair_has_every_kind():
    assert {one.people for one in SEQUENCES} == {("ann",), ("ben",), ("ann", "ben")}
    kinds = [one.kind for one in SEQUENCES if one.people != ("ben",)]
    assert len(kinds) == len(set(kinds))


@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda one: one.name)
def test_each_place_shows_its_person(sequence):
    expected = {"ann": np.asarray([200, 10, 10]), "ben": np.asarray([10, 10, 200])}
    shown = set()
    for look in sequence.looks():
        assert look.picture.shape == (HEIGHT, WIDTH, 3)
        assert look.picture.dtype == np.uint8
        for name, (left, top, right, bottom) in look.places.items():
            shown.add(name)
            x, y = round((left + right) / 2), round((top + bottom) / 2)
            pixel = look.picture[min(y, HEIGHT - 1), min(x, WIDTH - 1)].astype(float)
            if look.clear and sequence.kind not in {"covered", "changing light"}:
                assert np.abs(pixel - expected[name]).max() < 40
    assert shown == set(sequence.people)


def test_the_pictures_of_a_person_are_played_forth_and_back():
    pictures = tuple(np.full((2, 2, 3), n, np.uint8) for n in range(3))
    one = Person("x", pictures, ((0.0, 0.0, 1.0, 1.0),) * 3)
    assert [int(one.at(step)[0][0, 0, 0]) for step in range(7)] == [0, 1, 2, 1, 0, 1, 2]
