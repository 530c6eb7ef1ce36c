"""Which recording an annotation belongs to, and which person in it."""

from dataclasses import replace
from pathlib import Path

import pytest

from affectstream.stream.errors import OptionError
from affectstream.train.annotations.annotations import Annotations, Coding, Part, Stretch
from affectstream.train.errors import DataError
from affectstream.train.teach.data.coded import People, match, read_people

ALL = (0.0, float("inf"))


def coded(recording, *people, kind="emotion"):
    codings = [Coding(who, kind, (Stretch(0, 9, "joy"), Stretch(9, 20, "fear"))) for who in people]
    return Annotations(Path(f"{recording}.csv"), recording, tuple(codings))


@pytest.mark.parametrize(
    ("name", "track", "person", "is_named"),
    [
        ("person 2", 2, "talk, person 2", False),
        ("2", 2, "talk, person 2", False),
        ("Anna", 3, "Anna", True),
        ("P07", None, "P07", True),  # a participant's number is a name
        (None, None, "talk", False),
    ],
)
def test_the_name_of_a_tier_says_who_it_is(name, track, person, is_named):
    people = People(tracks={"Anna": 3})
    (found,) = match([Path("talk.mp4")], [coded("talk", name)], people, ALL)
    (one,) = found.people
    assert (one.track, one.person, one.is_named) == (track, person, is_named)
    assert found.end_s == 20


def test_a_table_says_that_two_recordings_show_one_person(tmp_path):
    table = tmp_path / "people.csv"
    table.write_text(
        "recording,person,track\nmonday.mp4,Ann,1\ntuesday.mp4,Ann,2\nfriday.mp4,Ben,\n"
    )
    people = People(by_recording=read_people(table))
    files = [Path(f"{day}.mp4") for day in ("monday", "tuesday", "friday")]
    sides = [coded("monday", "person 1"), coded("tuesday", "Ann"), coded("friday", None)]
    found = match(files, sides, people, ALL)
    assert {one.name: (one.people[0].person, one.people[0].track) for one in found} == {
        "monday": ("Ann", 1),
        "tuesday": ("Ann", 2),
        "friday": ("Ben", None),
    }
    table.write_text("recording,person\na,Ann\na,Ben\n")
    with pytest.raises(DataError, match="line 3: a already has 'Ann'"):
        read_people(table)


def test_only_what_was_reviewed_counts():
    (found,) = match([Path("talk.mp4")], [coded("talk", None)], People(), (5.0, 12.0))
    assert found.people[0].coding.stretches == ((5.0, 9, "joy"), (9, 12.0, "fear"))


def test_what_belongs_to_nothing_is_an_error():
    files = [Path("a.mp4"), Path("b.mp4")]
    with pytest.raises(DataError, match="are about talk; the recordings are a, b"):
        match(files, [coded("talk", None)], People(), ALL)
    with pytest.raises(DataError, match="the annotations are of attention"):
        match(files, [coded("a", None, kind="attention")], People(), ALL)
    with pytest.raises(
        DataError, match=r"of 'face' \(2 stretches\): .* name the category 'emotion'"
    ):
        match(files, [coded("a", None, kind="face")], People(), ALL)
    with pytest.raises(DataError, match="a second file about 'a'"):
        match(files, [coded("a", None), coded("a", None)], People(), ALL)
    with pytest.raises(DataError, match="have the same name"):
        match([Path("x/a.mp4"), Path("y/a.mp4")], [coded("a", None)], People(), ALL)
    with pytest.raises(OptionError, match="which track 'Ann' is"):
        match(files, [coded("a", "Ann", "Ben")], People(), ALL)


def test_results_of_a_part_number_other_tracks():
    part = replace(coded("talk.mp4.5-9", "1"), part=Part("talk", 5.0, 9.0, "rec/talk.mp4"))
    with pytest.raises(DataError, match=r"results of a part of rec/talk.mp4.* such as talk\.csv"):
        match([Path("rec/talk.mp4")], [part], People(), ALL)
