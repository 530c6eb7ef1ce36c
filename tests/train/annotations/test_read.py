"""Each kind of file gives the same stretches; what cannot be read says where."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from affectstream.stream import exits
from affectstream.stream.errors import OptionError
from affectstream.stream.events import Attention, Emotion, encode
from affectstream.train.annotations.annotations import Coding, Stretch
from affectstream.train.annotations.names import label, name_among, recording_name, tier
from affectstream.train.annotations.read import check_skipped, read
from affectstream.train.errors import DataError, DataMissing
from tests.support.command import run_command
from tests.support.imotions_exports import new_export, old_export

STRETCHES = (Stretch(0.0, 2.0, "joy"), Stretch(2.5, 4.0, "neutral"))


def one(path, kind="emotion"):
    (found,) = read(path)
    (coding,) = [coding for coding in found.codings if coding.kind == kind]
    return coding


def emotion(start, end, name, track=1, **more):
    return Emotion(
        stream="s", track=track, t_start=start, t_end=end, modalities=("video",), label=name,
        confidence=0.9, scores=None, abstain=None, assigned_by=None, **more,
    )  # fmt: skip


def test_a_table_of_stretches(tmp_path):
    path = tmp_path / "talk.csv"
    path.write_text("person,start,end,label\nAnna,2.5,4,Neutral\nAnna,0,2,happy\n")
    assert one(path) == Coding("Anna", "emotion", STRETCHES)
    assert read(path)[0].recording == "talk"


def test_ratings_over_time_hold_until_the_next_and_not_across_a_gap(tmp_path):
    path = tmp_path / "talk.csv"
    path.write_text("time,valence\n0,0.1\n1,0.2\n2,0.3\n9,0.4\n")
    (rating,) = read(path)[0].ratings
    found = rating.at(np.array([-0.5, 0.5, 2.9, 5.0, 9.5, 12.0]))
    assert found[1:3].tolist() == [0.1, 0.3] and found[4] == 0.4
    assert np.isnan(found[[0, 3, 5]]).all()


def test_both_exports_of_boris(tmp_path):
    aggregated = tmp_path / "aggregated.csv"
    aggregated.write_text(
        "Observation id,Subject,Behavior,Behavioral category,Behavior type,Start (s),Stop (s)\n"
        "o,Anna,Happy,emotion,STATE,0,2\no,Anna,neutral,emotion,STATE,2.5,4\n"
    )
    tabular = tmp_path / "tabular.tsv"
    tabular.write_text(
        "Observation id:\ttalk\n\nTime\tSubject\tBehavior\tBehavior type\n"
        "0\tAnna\thappy\tSTART\n2\tAnna\thappy\tSTOP\n2.5\tAnna\tneutral\tSTART\n4\tAnna\tneutral\tSTOP\n"
    )
    assert one(aggregated) == one(tabular) == Coding("Anna", "emotion", STRETCHES)
    tabular.write_text("Time,Subject,Behavior,Behavior type\n0,Anna,happy,START\n")
    with pytest.raises(DataError, match="'happy' begins at 0 s and has no STOP"):
        read(tabular)


def test_boris_events_without_duration_are_left_out(tmp_path):
    path = tmp_path / "talk.csv"
    head = "Observation id,Subject,Behavior,Behavior type,Start (s),Stop (s)\n"
    path.write_text(head + "o,Anna,happy,STATE,0,2\no,Anna,cough,POINT,1,1\n")
    assert one(path).stretches == STRETCHES[:1]
    path.write_text(head + "o,Anna,happy,STATE,0,2\nother,Anna,happy,STATE,0,2\n")
    with pytest.raises(DataError, match=r"2 observations in one table \(o, other\)"):
        read(path)
    path.write_text("Time,Behavior,Behavior type\n0,happy,START\n1,happy,START\n2,happy,STOP\n")
    with pytest.raises(DataError, match="line 3: START of 'happy', which began at 0 s already"):
        read(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_tables_of_spreadsheets_of_other_countries(tmp_path, encoding):
    path = tmp_path / "talk.csv"
    text = "start;end;label;person\n0;2;happy;Jörg\n2,5;00:00:04.000;neutral;Jörg\n"
    path.write_text(text, encoding)
    assert one(path) == Coding("Jörg", "emotion", STRETCHES)


def test_a_kind_of_ones_own_is_no_emotion(tmp_path):
    path = tmp_path / "talk.csv"
    path.write_text("start,end,label,kind\n0,2,away,Gaze\n0,2,joy,emotions\n1,3,a cough,comment\n")
    assert read(path)[0].kinds == ["gaze", "emotion"]
    path.write_text("start,end,label,tier\n0,2,joy,Anna\n0,2,waves,Gestures\n")
    assert [coding.person for coding in read(path, skip=["Gestures"])[0].codings] == ["Anna"]


def test_a_tier_to_skip_that_nothing_has_is_refused_with_those_that_there_are(tmp_path, capsys):
    path, other = tmp_path / "talk.csv", tmp_path / "other.csv"
    path.write_text("start,end,label,tier\n0,2,joy,Anna\n0,2,waves,Gestures\n")
    other.write_text("start,end,label\n0,2,joy\n")
    sides = [*read(path, skip=["Gestures"]), *read(other, skip=["Gestures"])]
    check_skipped(["Gestures"], sides)
    with pytest.raises(OptionError, match=r"'Gesturs': no tier.*there are 'Anna', 'Gestures'"):
        check_skipped(["Gesturs"], sides)
    with pytest.raises(OptionError, match="there are none: these files have no tiers"):
        check_skipped(["Gestures"], read(other))
    assert run_command("agree", path, other, "--skip-tier", "Gesturs") == exits.USAGE
    assert "there are 'Anna', 'Gestures'" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("name", "recording"),
    [
        ("talk.csv", "talk"),
        ("talk.01.mp4.eaf", "talk.01"),
        ("2026-11-30.anna.csv", "2026-11-30.anna"),
    ],
)
def test_a_recording_has_the_name_of_its_file(name, recording):
    assert recording_name(Path(name)) == recording
    assert name_among("talk.01.anna", {"talk", "talk.01"}) == "talk.01"
    assert name_among("talks", {"talk"}) is None


def test_what_lies_beside_annotations_is_left_out(tmp_path):
    for name, text in (
        ("talk.csv", "start,end,label\n0,2,joy\n"),
        ("README.txt", "who coded what"),
        ("~talk.csv", "locked"),
        (".talk.csv", "hidden"),
    ):
        (tmp_path / name).write_text(text)
    assert [found.path.name for found in read(tmp_path)] == ["talk.csv"]


def test_elan(tmp_path):
    pympi = pytest.importorskip("pympi", reason="ELAN needs the 'agree' extra")
    file = pympi.Eaf()
    file.add_tier("Anna emotion")
    for start, end, name in STRETCHES:
        file.add_annotation("Anna emotion", int(start * 1000), int(end * 1000), name)
    for name in ("Transcript", "Notes"):
        file.add_tier(name)
        file.add_annotation(name, 0, 3000, "what was said")
    file.add_tier("Nothing yet")
    file.add_annotation("Notes", 2000, 4000, "overlaps")
    file.to_file(str(tmp_path / "talk.eaf"))
    assert one(tmp_path / "talk.eaf") == Coding("Anna", "emotion", STRETCHES)
    file.add_tier("Gestures")
    file.add_annotation("Gestures", 0, 3000, "waves")
    file.to_file(str(tmp_path / "talk.eaf"))
    assert len(read(tmp_path / "talk.eaf")[0].codings) == 2
    (found,) = read(tmp_path / "talk.eaf", skip=["Gestures"])
    assert len(found.codings) == 1
    check_skipped(["Gestures", "Nothing yet"], [found])
    (tmp_path / "bad.eaf").write_text("<nothing")
    with pytest.raises(DataError, match=r"bad\.eaf is no ELAN file"):
        read(tmp_path / "bad.eaf")


def test_praat(tmp_path):
    textgrid = pytest.importorskip("praatio.textgrid", reason="Praat needs the 'agree' extra")
    grid = textgrid.Textgrid()
    grid.addTier(textgrid.IntervalTier("Anna_emotion", list(STRETCHES), 0, 5))
    grid.addTier(textgrid.IntervalTier("consent", [(0, 5, "form 12")], 0, 5))  # as score writes it
    grid.addTier(textgrid.PointTier("Blinks", [(1.0, "both")], 0, 5))
    grid.save(str(tmp_path / "talk.TextGrid"), format="long_textgrid", includeBlankSpaces=True)
    assert one(tmp_path / "talk.TextGrid") == Coding("Anna", "emotion", STRETCHES)
    check_skipped(["Anna_emotion", "Blinks", "consent"], read(tmp_path / "talk.TextGrid"))
    (tmp_path / "bad.TextGrid").write_text("nothing")
    with pytest.raises(DataError, match=r"bad\.TextGrid is no TextGrid"):
        read(tmp_path / "bad.TextGrid")


def test_our_events_join_hops_and_an_abstained_hop_is_no_verdict(tmp_path):
    folder = tmp_path / "talk.mp4"
    folder.mkdir()
    names = ["joy", "joy", None, "joy"]
    events = [emotion(i / 2, i / 2 + 0.5, name, valence=0.5) for i, name in enumerate(names)]
    away = Attention(
        stream="s", track=1, t_start=0.0, t_end=0.5, modalities=("video",), state="away", score=0.1,
        yaw=None, pitch=None, roll=None, method="gaze",
    )  # fmt: skip
    (folder / "events.jsonl").write_bytes(b"\n".join(map(encode, [*events, away])))
    (found,) = read(tmp_path)
    assert found.recording == "talk"
    assert found.codings == (
        Coding("1", "emotion", (Stretch(0.0, 1.0, "joy"), Stretch(1.5, 2.0, "joy"))),
        Coding("1", "attention", (Stretch(0.0, 0.5, "away"),)),
    )
    assert [rating.kind for rating in found.ratings] == ["valence", "attention score"]
    (folder / "events.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match=r"events\.jsonl, line 1: not an event"):
        read(tmp_path)


def test_an_export_of_imotions_gives_the_strongest_emotion(tmp_path):
    values = [{"Joy": 80.0}, {"Joy": 80.0}, None, {"Fear": 60.0}, {"Fear": 20.0}, {"Fear": 20.0}]
    old_export(tmp_path / "talk.txt", [(100.0 * i, value) for i, value in enumerate(values)])
    coding = one(tmp_path / "talk.txt")
    assert coding.person == "P01"
    assert [stretch.label for stretch in coding.stretches] == ["joy", "fear", "neutral"]
    assert coding.stretches[0][:2] == pytest.approx((0.0, 0.2))
    assert coding.stretches[1].start == pytest.approx(0.3)  # between them there was no face


def test_the_neutral_column_of_newer_exports_does_not_outweigh_a_shown_emotion(tmp_path):
    values = [{"Joy": 60.0, "Neutral": 70.0}, {"Joy": 40.0, "Neutral": 30.0}]
    new_export(tmp_path / "talk.csv", [(100.0 * i, value) for i, value in enumerate(values)])
    assert [stretch.label for stretch in one(tmp_path / "talk.csv").stretches] == ["joy", "neutral"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "expected start, end and label"),
        ("start,end,label\n0,two,joy\n", "line 2: 'two' is no number"),
        ("start,end,label\n2,1,joy\n", "lasts from 2 to 1 s, expected an end after its start"),
        ("start,end,label\n0,2,joy\n1,3,fear\n", "'joy' until 2 s overlaps 'fear' from 1 s"),
    ],
)
def test_what_cannot_be_read_says_what_was_expected(tmp_path, text, message):
    (tmp_path / "talk.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "talk.csv")


def test_nothing_there(tmp_path):
    with pytest.raises(DataMissing, match="not found"):
        read(tmp_path / "none")
    with pytest.raises(DataMissing, match="holds no annotations"):
        read(tmp_path)
    (tmp_path / "talk.doc").touch()
    with pytest.raises(DataError, match="unknown kind of file"):
        read(tmp_path / "talk.doc")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("emotion", (None, "emotion")),
        ("1 Attention", ("1", "attention")),
        ("emotion@Anna B", ("Anna B", "emotion")),
        ("Anna", ("Anna", "emotion")),
        ("Transcript", (None, "words")),
        ("text_emotion", ("text", "emotion")),
    ],
)
def test_names_of_tiers(name, expected):
    assert tier(name) == expected


def test_words_for_the_same_emotion():
    assert label(" Happiness ", "emotion") == "joy"
    assert label("Calm", "attention") == "calm"


def test_times_that_are_in_no_recording_are_refused(tmp_path):
    path = tmp_path / "talk.csv"
    for rows in ("start,end,label\n0,2000000000,joy\n", "time,valence\n0,1\n2000000000,1\n"):
        path.write_text(rows)
        with pytest.raises(DataError, match=r"at 2e\+09 s: expected seconds of the recording"):
            read(path)
    path.write_text("start,end,label\n")
    with pytest.raises(DataError, match=r"talk\.csv: no rows"):
        read(path)


def test_results_of_a_recording_whose_name_is_not_utf8(tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff.mp4"))
    folder.mkdir()
    row = {"track": 1, "t_start": 0.0, "t_end": 0.5, "label": "joy"}
    with (folder / "readings.parquet").open("wb") as file:
        pq.write_table(pa.Table.from_pylist([row]), file)
    (found,) = read(tmp_path)
    assert found.codings[0].stretches == (Stretch(0.0, 0.5, "joy"),)
