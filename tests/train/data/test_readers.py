"""What file names and texts of the data sets mean."""

import pytest

from affectstream.train.data import options
from affectstream.train.data.readers import emodb, meld, ravdess
from affectstream.train.data.reading import reader


@pytest.mark.parametrize(
    ("broken", "mended"),
    [
        ("he\x92s lost it", "he\u2019s lost it"),
        ("heâ€™s lost it", "he\u2019s lost it"),
        ("cafÃ©", "café"),
        ("São Paulo, café", "São Paulo, café"),
        ("plain", "plain"),
    ],
)
def test_broken_text_is_mended(broken, mended):
    assert meld.repair(broken) == mended


def test_splits_share_no_actor():
    parts = [ravdess.TRAIN_ACTORS, ravdess.VALID_ACTORS, ravdess.TEST_ACTORS]
    everyone = [actor for part in parts for actor in part]
    assert sorted(everyone) == list(range(1, 25))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("03-01-01-01-01-01-01", ("neutral", 1)),
        ("03-01-02-01-02-01-12", ("neutral", 12)),
        ("03-01-03-01-01-01-24", ("joy", 24)),
        ("03-01-06-02-01-01-07", ("fear", 7)),
        ("03-01-08-01-01-02-16", ("surprise", 16)),
    ],
)
def test_ravdess_names(name, expected):
    word, actor = ravdess.parse(name)
    assert (ravdess.EMOTIONS.get(word, word), actor) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("03a01Fa", ("joy", 3)), ("16b10Wb", ("anger", 16)), ("08a02Lc", ("boredom", 8))],
)
def test_emodb_names(name, expected):
    assert emodb.parse(name) == expected


@pytest.mark.parametrize("parse", [ravdess.parse, emodb.parse])
def test_other_names_are_refused(parse):
    with pytest.raises(ValueError, match="is no"):
        parse("holiday")


@pytest.mark.parametrize("name", ["Options", "Vocabulary", "LabelSource", "RATE_HZ"])
def test_readers_of_other_packages_find_the_names_of_options_where_they_were(name):
    assert getattr(reader, name) is getattr(options, name)
