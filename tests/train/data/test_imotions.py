"""iMotions exports: the header is found, only the face sensor's own rows count, numbers are read."""

import pytest

from affectstream.train.data.imotions_export import (
    find_layout,
    normalize,
    read_annotations,
    to_number,
)
from affectstream.train.errors import DataError
from tests.support.imotions_exports import new_export, old_export

FACE = {"Joy": 80.5, "Anger": 1.25, "Attention": 97.5, "Engagement": 40.0, "Valence": -25.5}
ROWS = [(0.0, FACE), (33.4, {**FACE, "Joy": 10.0}), (66.7, None), (100.1, {**FACE, "Joy": 20.0})]


def check(annotations):
    assert [r.time_us for r in annotations] == [0, 33_400, 66_700, 100_100]
    first, second, third, last = annotations
    assert first.intensities["joy"] == pytest.approx(0.805)
    assert first.intensities["anger"] == pytest.approx(0.0125)
    assert (first.attention, first.engagement) == (0.975, 0.4)
    assert first.valence == pytest.approx(-0.255)
    assert second.intensities["joy"] == pytest.approx(0.1)
    assert third.intensities == {} and third.attention is None
    assert last.intensities["joy"] == pytest.approx(0.2)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("comma", [False, True])
def test_the_old_layout(tmp_path, encoding, comma):
    layout = find_layout(old_export(tmp_path / "a.txt", ROWS, encoding=encoding, comma=comma))
    assert (layout.respondent, layout.age, layout.gender) == ("P01", 29, "female")
    check(read_annotations(layout))


def test_the_new_layout(tmp_path):
    layout = find_layout(new_export(tmp_path / "a.csv", ROWS))
    assert (layout.respondent, layout.age, layout.gender) == ("R3", None, "male")
    check(read_annotations(layout))


def test_repeated_values_are_dropped_where_no_column_tells_sensors_apart(tmp_path):
    check(read_annotations(find_layout(old_export(tmp_path / "a.txt", ROWS, sensors=False))))


def test_the_clock_can_be_chosen(tmp_path):
    layout = find_layout(old_export(tmp_path / "a.txt", ROWS))
    assert read_annotations(layout, time="Timestamp")[0].time_us == 5_000_000
    with pytest.raises(DataError, match="no column FrameTime; found StudyName, ExportDate"):
        read_annotations(layout, time="FrameTime")


def test_a_stimulus_can_be_chosen(tmp_path):
    layout = find_layout(new_export(tmp_path / "a.csv", ROWS, stimuli=("warm-up", "interview")))
    found = read_annotations(layout, stimulus="interview")
    assert [r.time_us for r in found] == [66_700, 100_100]
    with pytest.raises(DataError, match="no stimulus 'talk', found interview, warm-up"):
        read_annotations(layout, stimulus="talk")


def test_clocks_that_restart_are_refused(tmp_path):
    rows = [(0.0, FACE), (33.0, FACE), (0.0, FACE), (33.0, FACE)]
    layout = find_layout(new_export(tmp_path / "a.csv", rows, stimuli=("one", "two")))
    with pytest.raises(DataError, match=r"restart with each stimulus \(one, two\): choose one"):
        read_annotations(layout)
    assert len(read_annotations(layout, stimulus="two")) == 2


def test_a_sensor_can_be_named(tmp_path):
    layout = find_layout(old_export(tmp_path / "a.txt", ROWS))
    assert len(read_annotations(layout, event_source="shimmer")) == 4
    with pytest.raises(DataError, match=r"event sources are AffRaw, ET, Shimmer; name one with"):
        read_annotations(layout, event_source="webcam")


def test_facet_gives_odds(data_root):
    layout = find_layout(data_root / "imotions" / "iMotions_Test_v6.txt")
    assert layout.names[:3] == ("StudyName", "ExportDate", "Name")
    assert (layout.respondent, layout.gender, layout.age) == ("separate_rotation", "male", None)
    annotations = read_annotations(layout)
    assert len(annotations) == 519
    assert annotations[0].time_us == 35_000
    assert annotations[0].intensities["joy"] == pytest.approx(1 / (1 + 10**0.4623673))
    assert sum(not r.intensities for r in annotations) > 100  # he turns away


def test_values_that_are_no_percentages_are_refused(tmp_path):
    layout = find_layout(old_export(tmp_path / "a.txt", [(0.0, {**FACE, "Joy": -3.5})]))
    with pytest.raises(DataError, match=r"Joy is -3\.5, expected 0 to 100"):
        read_annotations(layout)


def test_what_is_no_export_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("time,happiness\n1,2\n")
    with pytest.raises(DataError, match="no header in its first 500 lines, expected a row with"):
        find_layout(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_bytes(bytes(range(256)) * 40)
    with pytest.raises(DataError):
        find_layout(tmp_path / "b.csv")


@pytest.mark.parametrize(
    ("text", "value"),
    [("12.5", 12.5), ("12,5", 12.5), ("1.234,5", 1234.5), ("1,234.5", 1234.5), ("-3E-2", -0.03),
     ("", None), ("NaN", None), ("n/a", None), ("35", 35.0)],
)  # fmt: skip
def test_numbers_with_either_decimal_sign(text, value):
    assert to_number(text) == value


def test_names_without_units():
    assert normalize(" Joy (Affdex)") == normalize("joy") == "joy"
    assert normalize("Source Stimuli Name") == "sourcestimuliname"
