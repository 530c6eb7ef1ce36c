"""Agreement in time: coefficients against published examples, tolerance, gaps, who is who, the files."""

import csv
import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from affectstream.stream import exits
from affectstream.stream.errors import OptionError
from affectstream.train.agreement.agree import agree
from affectstream.train.agreement.coefficients import (
    cohen_kappa,
    concordance,
    krippendorff_alpha,
    table,
)
from affectstream.train.agreement.outcome import Settings
from affectstream.train.agreement.pairs import recordings
from affectstream.train.agreement.report import lines
from affectstream.train.annotations.annotations import Annotations, Coding, Stretch, rating
from affectstream.train.annotations.read import read
from affectstream.train.errors import DataError
from tests.support.command import run_command
from tests.support.imotions_exports import EMOTIONS


def side(tmp_path, *stretches, person=None, recording="talk", kind="emotion"):
    coding = Coding.of(person, kind, [Stretch(*each) for each in stretches], tmp_path)
    return Annotations(tmp_path / recording, recording, (coding,))


def test_alpha_of_the_example_that_krippendorff_computes_by_hand():
    # Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", A. Binary data.
    first = np.array([0, 1, 0, 0, 0, 0, 0, 0, 1, 0])
    second = np.array([1, 1, 1, 0, 0, 1, 0, 0, 0, 0])
    assert krippendorff_alpha(table(first, second, 2)) == pytest.approx(0.095, abs=5e-4)


def test_kappa_of_a_known_table():
    # Cohen (1960), table 1: three categories, 200 cases, kappa .492.
    counts = np.array([[88, 14, 18], [10, 40, 10], [2, 6, 12]])
    assert cohen_kappa(counts) == pytest.approx(0.492, abs=5e-4)
    assert math.isnan(cohen_kappa(np.array([[5]])))


def test_concordance_punishes_a_shift_that_correlation_does_not_see():
    values = np.arange(10.0)
    assert concordance(values, values) == pytest.approx(1.0)
    assert concordance(values, values + 3) == pytest.approx(2 * 8.25 / (2 * 8.25 + 9))
    assert math.isnan(concordance(np.ones(3), np.ones(3)))


def test_only_moments_count_in_which_both_give_a_verdict(tmp_path):
    first = side(tmp_path, (0, 4, "joy"), (4, 8, "fear"))
    second = side(tmp_path, (2, 4, "joy"), (4, 6, "joy"))
    (found,) = agree([first], [second]).codings
    assert found.seconds == pytest.approx(4.0)
    assert found.coverage == pytest.approx((1.0, 0.5))
    assert found.exact["agreement"].value == pytest.approx(0.5)
    assert math.isnan(found.exact["agreement"].low)  # too little time for an interval
    (differ,) = found.disagreements
    assert (differ.first, differ.second) == ("fear", "joy")
    assert (differ.start, differ.end) == pytest.approx((4.0, 6.0))


def test_a_late_boundary_agrees_within_the_tolerance(tmp_path):
    first = side(tmp_path, (0, 5, "joy"), (5, 10, "fear"))
    second = side(tmp_path, (0, 5.4, "joy"), (5.4, 10, "fear"))
    (found,) = agree([first], [second], Settings(tolerance=0.5)).codings
    assert found.exact["kappa"].value < 0.95
    assert found.tolerant == {"agreement": 1.0, "kappa": 1.0}
    assert not found.disagreements
    assert (found.onsets.matched, found.onsets.f1) == (2, 1.0)
    assert found.onsets.difference == pytest.approx(0.2)
    assert found.offsets.first == found.offsets.second == 2
    (strict,) = agree([first], [second], Settings(tolerance=0.0)).codings
    assert strict.onsets.matched == 1 and len(strict.disagreements) == 1
    (endless,) = agree([first], [second], Settings(tolerance=1e9)).codings
    assert endless.tolerant == {"agreement": 1.0, "kappa": 1.0}


def test_a_shift_of_one_side_is_found_and_can_be_undone(tmp_path):
    labels = ["joy", "fear", "anger", "neutral"] * 3
    first = side(tmp_path, *((3 * i, 3 * i + 3, label) for i, label in enumerate(labels)))
    second = side(tmp_path, *((3 * i + 1, 3 * i + 4, label) for i, label in enumerate(labels)))
    (found,) = agree([first], [second]).codings
    assert found.lag == pytest.approx(-1.0) and found.exact["agreement"].value < 0.7
    (coarse,) = agree([first], [second], Settings(step=0.25)).codings
    assert coarse.lag == pytest.approx(-1.0)
    (shifted,) = agree([first], [second], Settings(offset=-1.0)).codings
    assert shifted.exact["agreement"].value == 1.0 and shifted.lag == 0.0


def test_intervals_draw_recordings_where_there_are_enough(tmp_path):
    def sides(labels):
        return [
            side(tmp_path, (0, 5, label), (5, 9, "neutral"), recording=f"r{i}")
            for i, label in enumerate(labels)
        ]

    (found,) = agree(sides(["joy"] * 6), sides(["joy", "fear"] * 3)).codings
    assert found.by == "recording" and found.recordings == 6
    interval = found.exact["agreement"]
    assert interval.low < interval.value < interval.high
    each = {name: one["agreement"].value for name, one in found.by_recording.items()}
    assert each["r0"] == 1.0 and each["r1"] == pytest.approx(4 / 9) and len(each) == 6
    assert not agree(sides(["joy"]), sides(["joy"])).codings[0].by_recording


def test_ratings_are_compared_where_both_have_one(tmp_path):
    times = np.arange(0, 60, 0.5)
    values = np.sin(times / 5)
    first = Annotations(tmp_path, "a", (), (rating("1", "valence", times, values),))
    second = Annotations(
        tmp_path, "b", (), (rating("x", "valence", times[:80], values[:80] + 0.5),)
    )
    (found,) = agree([first], [second]).ratings
    assert found.metrics["pearson"].value == pytest.approx(1.0, abs=1e-3)
    assert found.metrics["mean difference"].value == pytest.approx(0.5, abs=1e-2)
    assert found.metrics["ccc"].value < 0.9
    assert found.seconds == pytest.approx(40.5, abs=0.6)


def test_who_is_who_has_to_be_said_where_it_is_open(tmp_path):
    def two(names):
        codings = [Coding(n, "emotion", (Stretch(0, 5, label),)) for n, label in names.items()]
        return [Annotations(tmp_path, "talk", tuple(codings))]

    ours, theirs = two({"1": "joy", "2": "fear"}), two({"Anna": "fear", "Ben": "joy"})
    with pytest.raises(OptionError, match="emotion of 1, 2 on one side, of Anna, Ben on the other"):
        agree(ours, theirs)
    found = agree(ours, theirs, Settings(persons={"1": "Ben", "2": "Anna"}))
    assert found.codings[0].exact["agreement"].value == 1.0
    with pytest.raises(OptionError, match="B has no 'Bem'; expected A=B with one of Anna, Ben"):
        agree(ours, theirs, Settings(persons={"1": "Bem", "2": "Anna"}))


def test_tiers_of_annotation_files_are_the_tracks_of_results(tmp_path):
    """`score --format eaf` writes ``person 2 emotion``, ``recording emotion``; readings have 2, nobody."""

    def three(*names):
        codings = [
            Coding(name, "emotion", (Stretch(0, 5, label),))
            for name, label in zip(names, ("joy", "fear", "anger"), strict=True)
        ]
        return [Annotations(tmp_path, "talk", tuple(codings))]

    (found,) = agree(three("1", "2", None), three("person 1", "Track 2", "recording")).codings
    assert found.exact["agreement"].value == 1.0 and found.seconds == pytest.approx(15)
    named = Settings(persons={"person 1": "Ann"})
    (found,) = agree(three("1", "2", None), three("Ann", "person 2", "recording"), named).codings
    assert found.seconds == pytest.approx(15)


def test_nothing_in_common(tmp_path):
    with pytest.raises(
        DataError, match="no recording is on both sides: a, b on one, c, d on the other"
    ):
        agree(
            *([side(tmp_path, (0, 1, "joy"), recording=n) for n in names] for names in ("ab", "cd"))
        )
    with pytest.raises(DataError, match=r"has emotion, .* has attention; expected"):
        agree([side(tmp_path, (0, 1, "joy"))], [side(tmp_path, (0, 1, "away"), kind="attention")])
    with pytest.raises(DataError, match="annotate at the same time"):
        agree([side(tmp_path, (0, 1, "joy"))], [side(tmp_path, (2, 3, "joy"))])


def test_what_only_one_side_has_is_named(tmp_path):
    ours, more = side(tmp_path, (0, 4, "joy")), side(tmp_path, (0, 4, "joy"), recording="more")
    away = Coding(None, "attention", (Stretch(0, 9, "away"),))
    both = Annotations(tmp_path, "talk", (*ours.codings, away))
    later = Coding(None, "attention", (Stretch(20, 29, "away"),))
    late = Annotations(tmp_path, "talk", (*side(tmp_path, (2, 8, "joy")).codings, later))
    found = agree([both, more], [late])
    assert found.left == (("recording more", "attention"), ("attention",))
    assert found.codings[0].given == pytest.approx((4.0, 6.0))
    shown = "\n".join(lines(found))
    assert "A 4.0 s (50%), B 6.0 s (75%) of the time in which either does" in shown
    assert "not compared of A (B has none at the same time): recording more, attention" in shown


def test_people_without_a_partner_are_named(tmp_path):
    def coding(person):
        return Coding(person, "emotion", (Stretch(0, 9, "joy"),))

    ours = Annotations(tmp_path, "talk", (coding("1"), coding("Ben")))
    theirs = Annotations(tmp_path, "talk", (coding("person 1"), coding("2")))
    found = agree([ours], [theirs])
    assert found.left == (("Ben in talk (emotion)",), ("2 in talk (emotion)",))


def test_names_with_dots_are_names(tmp_path):
    ours = [side(tmp_path, (0, 4, "joy"), recording=f"talk.2026.{n}") for n in (1, 2)]
    theirs = [side(tmp_path, (0, 4, "joy"), recording=f"talk.2026.{n}.anna") for n in (2, 1)]
    found = agree(ours, theirs)
    assert found.left == ((), ()) and found.codings[0].recordings == 2


@pytest.mark.parametrize(
    ("first", "second", "compared"),
    [
        (("talk.anna", "b.anna"), ("talk.ben", "b.ben"), {"talk", "b"}),
        (("talk", "talk.2"), ("talk", "other"), {"talk"}),
        (("talk.1", "talk.2"), ("talk.2", "talk.1"), {"talk.1", "talk.2"}),
        (("talk.anna", "talk.ben"), ("talk", "x"), None),
    ],
)
def test_coders_may_stand_behind_a_dot(tmp_path, first, second, compared):
    sides = [
        [side(tmp_path, (0, 4, "joy"), recording=n) for n in names] for names in (first, second)
    ]
    if compared is None:
        with pytest.raises(DataError, match="may belong to several files of the other side"):
            agree(*sides)
        return
    assert {one.recording for one, _ in recordings(*sides)} == compared


def part_of(tmp_path, name, start, end, *stretches, source="talk.mp4"):
    """The folder of results of a part, as `score` writes it."""
    folder = tmp_path / "results" / name
    folder.mkdir(parents=True)
    rows = [
        {"track": 1, "t_start": float(t), "t_end": t + 1.0, "label": label}
        for first, last, label in stretches or [(0, 1, None)]
        for t in range(first, last)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "readings.parquet")
    options = {"start_s": start, "end_s": end}
    stated = {key: value for key, value in options.items() if value is not None}
    run = {"source": str(tmp_path / source), "options": stated, "status": "complete"}
    (folder / "run.json").write_text(json.dumps(run))
    return tmp_path / "results"


def test_parts_are_compared_with_what_was_coded_of_the_whole(tmp_path):
    part_of(tmp_path, "talk.mp4.0-4", None, 4.0, (0, 4, "joy"))
    results = part_of(tmp_path, "last", 10.0, None, (10, 12, "joy"), (12, 14, "fear"))
    whole = side(tmp_path, (0, 11, "joy"), (11, 30, "fear"))
    for sides, at in (((read(results), [whole]), 0), (([whole], read(results)), 1)):
        found = agree(*sides)
        assert found.left == ((), ())
        (coding,) = found.codings
        assert (coding.recordings, coding.seconds) == (1, pytest.approx(8.0))
        assert coding.given[at] == pytest.approx(8.0)
        assert coding.given[1 - at] == pytest.approx(4.0 + 20.0)  # not from 4 to 10 s
        assert [(one.recording, one.start, one.end) for one in coding.disagreements] == [
            ("last", pytest.approx(11.0), pytest.approx(12.0))
        ]
        assert set(coding.by_recording) == {"talk.mp4.0-4", "last"}
    # So is a part alone, and one that is called as the recording.
    alone = agree(read(results / "talk.mp4.0-4"), [whole]).codings[0]
    assert alone.coverage == (1.0, 1.0) and alone.onsets.f1 == 1.0


def test_scored_parts_are_compared_on_the_clock_of_their_recording(tmp_path, capsys):
    cues = (f"{n}\n00:00:0{n},000 --> 00:00:0{n},900\nI am so happy!\n" for n in range(1, 9))
    (tmp_path / "talk.srt").write_text("\n".join(cues))
    table = tmp_path / "parts.csv"
    table.write_text("path,start,end,name\ntalk.srt,0,4,\ntalk.srt,4,8,second\n")
    assert run_command("score", table, "-o", tmp_path / "results", "--workers", 1) == 0
    (tmp_path / "coded").mkdir()
    (tmp_path / "coded/talk.csv").write_text("start,end,label\n0,20,joy\n")
    (first, one), (second, _) = recordings(read(tmp_path / "results"), read(tmp_path / "coded"))
    assert [first.recording, second.recording] == ["second", "talk.srt.0-4"]
    assert first.codings[0].stretches[0].start >= 4.0
    assert one.codings[0].stretches == (Stretch(4.0, 8.0, "joy"),)
    assert run_command("agree", tmp_path / "results", tmp_path / "coded") == exits.DONE
    assert "recording talk" not in capsys.readouterr().out  # as not compared


def test_parts_of_two_runs_are_matched_whatever_they_are_called(tmp_path):
    for run, names in (("a", ("talk.mp4.0-4", "talk.mp4.4-8")), ("b", ("one", "two"))):
        for name, start in zip(names, (0, 4), strict=True):
            stretch = (start, start + 4, "joy")
            part_of(tmp_path / run, name, float(start), start + 4.0, stretch)
    found = agree(read(tmp_path / "a/results"), read(tmp_path / "b/results"))
    assert found.left == ((), ())
    assert found.codings[0].recordings == 1 and found.codings[0].seconds == pytest.approx(8.0)


def test_parts_that_may_be_of_several_recordings_are_refused(tmp_path):
    part_of(tmp_path, "one", None, 4.0, (0, 4, "joy"), source="day1/talk.mp4")
    results = part_of(tmp_path, "two", None, 4.0, (0, 4, "joy"), source="day2/talk.mp4")
    with pytest.raises(DataError, match=r"may be of .*day1/talk.mp4 or of .*day2/talk.mp4"):
        agree(read(results), [side(tmp_path, (0, 4, "joy"))])
    coders = [side(tmp_path, (0, 4, "joy"), recording=f"talk.{name}") for name in ("ann", "ben")]
    with pytest.raises(DataError, match=r"one.* is a part of 'talk', of which the other side has"):
        agree(coders, [*read(results / "one"), side(tmp_path, recording="other")])


def test_the_export_at_hand_against_parts_of_itself(data_root, tmp_path):
    """The figures of docs/guides/agree.md: its video is not at hand, so nothing else can be compared."""
    path = data_root / "imotions" / "iMotions_Test_v6.txt"
    text = path.read_text("cp1252")
    for emotion in EMOTIONS:
        text = text.replace(f"\t{emotion} Evidence", f"\t{emotion} Logarithm", 1)
        text = text.replace(f"\t{emotion} Intensity", f"\t{emotion}", 1)
    (tmp_path / path.name).write_text(text, "cp1252")
    evidence, intensity = read(path), read(tmp_path / path.name)
    (found,) = agree(evidence, evidence).codings
    assert found.exact["kappa"].value == 1.0 and found.seconds == pytest.approx(10.2)
    neutral = found.labels.index("neutral")
    assert found.confusion[neutral, neutral] == 86
    (found,) = agree(evidence, intensity).codings
    assert found.exact["agreement"].value == pytest.approx(0.843, abs=5e-4)
    assert found.exact["kappa"].value == 0.0
    assert found.tolerant["agreement"] == pytest.approx(0.917, abs=5e-4)
    (found,) = agree(evidence, evidence, Settings(offset=1.0)).codings
    assert found.exact["agreement"].value == pytest.approx(0.718, abs=5e-4)
    assert found.exact["kappa"].value == pytest.approx(-0.104, abs=5e-4)


def test_the_command_prints_and_writes_what_to_review(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="pictures need the 'agree' extra")
    (tmp_path / "a.csv").write_text("start,end,label\n0,4,happy\n4,10,bored\n")
    (tmp_path / "b.csv").write_text("start,end,label\n0,6,joy\n6,10,neutral\n")
    out = tmp_path / "out"
    code = run_command(
        "agree", tmp_path / "a.csv", tmp_path / "b.csv", "--rename", "bored=neutral", "-o", out
    )
    shown = capsys.readouterr().out
    assert code == exits.DONE
    assert "10.0 s in which both give a verdict" in shown and "0.800" in shown
    rows = list(csv.DictReader((out / "disagreements.csv").open()))
    assert [(row["A"], row["B"], row["start"], row["end"]) for row in rows] == [
        ("neutral", "joy", "4.00", "6.00")
    ]
    document = json.loads((out / "agreement.json").read_text())
    assert document["codings"][0]["labels"] == ["joy", "neutral"]
    assert (out / "a-emotion.png").read_bytes().startswith(b"\x89PNG")


def test_ratings_have_a_picture_of_both_too(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="pictures need the 'agree' extra")
    for name, by in (("a", 0.0), ("b", 0.3)):
        rows = "".join(f"{t / 2},{np.sin(t / 9) / 2 + by:.3f}\n" for t in range(60))
        (tmp_path / f"{name}.csv").write_text("time,valence\n" + rows)
    command = ("agree", tmp_path / "a.csv", tmp_path / "b.csv", "-o", tmp_path / "out")
    assert run_command(*command) == exits.DONE
    assert "valence, rated" in capsys.readouterr().out
    assert (tmp_path / "out/a-valence.png").read_bytes().startswith(b"\x89PNG")


def test_a_renamed_label_that_nobody_gave_is_named(tmp_path, capsys):
    (tmp_path / "a.csv").write_text("start,end,label\n0,4,joy\n")
    command = ("agree", tmp_path / "a.csv", tmp_path / "a.csv", "--rename", "jo=neutral")
    assert run_command(*command) == exits.USAGE
    assert "--rename jo: no annotation has 'jo'; they have joy" in capsys.readouterr().err


def test_a_mistake_in_an_option_is_a_mistake_of_usage(tmp_path, capsys):
    assert run_command("agree", tmp_path, tmp_path, "--person", "1") == exits.USAGE
    assert "expected A=B" in capsys.readouterr().err
    assert run_command("agree", tmp_path / "none", tmp_path) == exits.NOTHING
    (tmp_path / "file").write_text("mine")
    assert run_command("agree", tmp_path, tmp_path, "-o", tmp_path / "file") == exits.USAGE
