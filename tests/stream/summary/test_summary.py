"""What a summary counts, compares and shows."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from affectstream.bench.score.report import invented
from affectstream.stream.report import people_file
from affectstream.stream.report.people_file import people_summary
from affectstream.stream.summary.compare import compared, group_means, mark_outliers
from affectstream.stream.summary.files import write_summary
from affectstream.stream.summary.rows import Row
from tests.stream.report.test_page import CHROMIUM, data_of, opened, wait
from tests.support.command import run_command

Runs = list[tuple[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Runs]:
    """Twelve recordings of two groups, one cut off and one broken."""
    output = tmp_path_factory.mktemp("study")
    runs: Runs = []
    for number in range(12):
        name = f"day {number % 2}/talk_{number:02d}.mp4"
        folder = output / name
        folder.mkdir(parents=True)
        recording = invented(70.0, 2, Path(f"talk_{number:02d}.mp4"), seed=number)
        people_file.write(recording, folder / "people.json")
        (folder / "report.html").write_text("a report")
        failure = {"kind": "input", "reason": "cut off"} if number == 3 else None
        run = {"status": "incomplete" if failure else "complete", "failure": failure}
        runs.append((name, run | {"group": "ab"[number % 2], "media_s": 70.0}))
    failure = {"kind": "input", "reason": "no audio or video"}
    broken = {"status": "failed", "failure": failure, "group": "a", "media_s": 0.0}
    runs.append(("broken.mov", broken))
    write_summary(output, runs)
    return output, runs


def test_the_table_has_a_row_for_each_recording_and_person(study: tuple[Path, Runs]) -> None:
    rows = pq.read_table(study[0] / "summary.parquet").to_pylist()
    assert len(rows) == 2 * 12 + 1
    assert [row["recording"] for row in rows] == sorted(row["recording"] for row in rows)
    (broken,) = (row for row in rows if row["status"] == "failed")
    assert broken["reason"] == "no audio or video"
    assert broken["track"] is None and broken["report"] is None
    one = next(row for row in rows if row["recording"] == "day 0/talk_00.mp4")
    assert one["report"] == "day 0/talk_00.mp4/report.html"
    expected = people_summary(invented(70.0, 2, Path("talk_00.mp4"), seed=0)).people[0]
    assert one["valence"] == expected.valence
    assert one["share_joy"] == expected.labels["joy"]
    assert one["attentive"] == expected.states["attentive"]
    with (study[0] / "summary.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(rows)


def test_a_summary_does_not_depend_on_the_order(study: tuple[Path, Runs], tmp_path: Path) -> None:
    output, runs = study
    files = ("summary.parquet", "summary.csv", "pairs.csv", "summary.html")
    before = {name: (output / name).read_bytes() for name in files}
    write_summary(output, reversed(runs))
    assert before == {name: (output / name).read_bytes() for name in files}


def test_shares_and_times_of_a_person() -> None:
    recording = invented(70.0, 2, Path("talk.mp4"), seed=5)
    first = people_summary(recording).people[0]
    rows = [row for row in recording.readings.to_pylist() if row["track"] == 1]
    labeled = [row for row in rows if row["label"] is not None]
    assert first.labeled == pytest.approx(len(labeled) / len(rows), abs=1e-3)
    joy = sum(row["label"] == "joy" for row in labeled)
    assert first.labels["joy"] == pytest.approx(joy / len(labeled), abs=1e-3)
    known = [row["valence"] for row in rows if row["valence"] is not None]
    assert first.valence == pytest.approx(sum(known) / len(known), abs=1e-3)
    seen = [row for row in rows if row["attention_state"] in ("attentive", "away")]
    away = sum(row["attention_state"] == "away" for row in seen)
    assert first.gaze_away == pytest.approx(away / len(seen), abs=1e-3)
    spoken = sum("voice" in row["modalities"] for row in rows)
    assert first.speaking == pytest.approx(spoken / len(rows), abs=1e-3)
    changes = sum(s.track == 1 and s.of == "emotion" for s in recording.segments)
    assert first.segments_per_minute == pytest.approx(changes / (len(labeled) / 120), abs=1e-2)


def row(recording: str, valence: float, group: str | None = None, track: int = 1) -> Row:
    about = {"recording": recording, "group": group, "track": track, "brief": False}
    return about | {"valence": valence}


def test_only_what_is_far_from_all_others_stands_out() -> None:
    rows = [row(f"{n}", 0.1 + 0.01 * (n % 5)) for n in range(20)]
    rows += [row("far", -0.6), row("near", 0.17), row("brief", -0.9) | {"brief": True}]
    mark_outliers(rows, ())
    assert [one["recording"] for one in rows if one["outlier"]] == ["far"]
    few = rows[:5]
    mark_outliers([*few, row("far", 9.0)], ())
    assert not any(one["outlier"] for one in few)


def test_what_stands_out_leads_to_where_it_does_most() -> None:
    rows = [row(f"{n}", 0.1) | {"moments": {"valence": (1.0, 2.0)}} for n in range(20)]
    rows += [row("low", -0.6) | {"moments": {"valence": (33.5, 2.0)}}]
    rows += [row("high", 0.9) | {"moments": {"valence": (1.0, 44.5)}}, row("older", 0.9)]
    mark_outliers(rows, ())
    at = {one["recording"]: one["outlier_at"] for one in rows if one["outlier"]}
    assert at == {"low": [33.5], "high": [44.5], "older": [None]}
    assert {one["outlier_at"] is None for one in rows if not one["outlier"]} == {True}


def test_what_a_third_of_all_have_stands_out_for_nobody() -> None:
    """Most people are near 0, as shares of time often are."""
    rows = [row(f"{n}", 0.01 * (n % 3)) for n in range(10)]
    alone = [*rows, row("far", 0.9)]
    mark_outliers(alone, ())
    assert [one["recording"] for one in alone if one["outlier"]] == ["far"]
    many = [*rows, *(row(f"far {n}", 0.9) for n in range(5))]
    mark_outliers(many, ())
    assert not any(one["outlier"] for one in many)


def test_a_recording_of_voices_alone_counts_as_one_person() -> None:
    heard = row("call", 0.3, track=1) | {"track": None}
    beside = row("talk", 0.5) | {"track": None}
    assert compared([heard, beside, row("talk", 0.1)]) == [heard, row("talk", 0.1)]


def test_recordings_are_what_a_group_is_drawn_from() -> None:
    """Ten people of one recording do not make an interval narrow."""
    one_each = [row(f"{n}", 0.1 * n, "a") for n in range(5)]
    ten_each = [row(f"{n}", 0.1 * n, "a", track) for n in range(5) for track in range(1, 11)]
    (first,), (second,) = (
        [mean for mean in group_means(rows, ()) if mean.column == "valence"]
        for rows in (one_each, ten_each)
    )
    assert (first.mean, first.low, first.high) == (second.mean, second.low, second.high)
    assert (second.recordings, second.people) == (5, 50)
    assert first.low is not None and first.high is not None
    assert first.mean == pytest.approx(0.2)
    assert first.low < 0.2 < first.high
    (small,) = [m for m in group_means(one_each[:2], ()) if m.column == "valence"]
    assert small.low is None


def test_scoring_several_recordings_writes_the_summary(tmp_path: Path) -> None:
    for name in ("one", "two"):
        text = "1\n00:00:00,000 --> 00:00:02,000\nI am so happy, this is wonderful!\n"
        (tmp_path / f"{name}.srt").write_text(text)
    table = tmp_path / "talks.csv"
    table.write_text("path,language,group\none.srt,en,a\ntwo.srt,en,b\n")
    assert run_command("score", table, "-o", tmp_path / "out") == 0
    rows = pq.read_table(tmp_path / "out/summary.parquet").to_pylist()
    assert [(one["recording"], one["group"], one["status"]) for one in rows] == [
        ("one.srt", "a", "complete"),
        ("two.srt", "b", "complete"),
    ]
    assert rows[0]["share_joy"] == 1.0
    shown = data_of((tmp_path / "out/summary.html").read_text("utf-8"))
    assert shown["rows"]["report"] == ["one.srt/report.html", "two.srt/report.html"]
    # Without its own file the numbers come from the results.
    before = (tmp_path / "out/summary.csv").read_bytes()
    (tmp_path / "out/one.srt/people.json").unlink()
    run = json.loads((tmp_path / "out/one.srt/run.json").read_text())
    other = json.loads((tmp_path / "out/two.srt/run.json").read_text())
    write_summary(tmp_path / "out", [("one.srt", run), ("two.srt", other)])
    assert (tmp_path / "out/summary.csv").read_bytes() == before
    (tmp_path / "out/one.srt/report.html").rename(tmp_path / "out/one.srt/report-embedded.html")
    write_summary(tmp_path / "out", [("one.srt", run), ("two.srt", other)])
    table = pq.read_table(tmp_path / "out/summary.parquet")
    assert table["report"].to_pylist()[0] == "one.srt/report-embedded.html"


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_sorts_finds_and_leads_to_reports(
    study: tuple[Path, Runs], width: int, tmp_path: Path
) -> None:
    output = shutil.copytree(study[0], tmp_path / "study")
    with opened(output / "summary.html", viewport={"width": width, "height": 900}) as page:
        assert page.locator("#panels canvas").count() >= 8
        fits = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        assert page.evaluate(fits)
        assert page.locator("#failures tbody tr").count() == 2
        page.click("#all th button:has-text('Valence')")
        values = page.evaluate("[...document.querySelectorAll('#all tbody tr')].length")
        assert values == 25
        page.fill("#find", "talk_07")
        assert page.locator("#all tbody tr").count() == 2
        page.click("#all tbody tr:nth-child(2) a")
        wait(page, "location.href.includes('talk_07.mp4/report.html#t=')")
        assert "&person=" in page.url


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")
@pytest.mark.parametrize(("has_moments", "expected"), [(True, "#t=33.5&"), (False, "#t=0&")])
def test_what_stands_out_opens_the_report_where_it_does_most(
    study: tuple[Path, Runs], tmp_path: Path, has_moments: bool, expected: str
) -> None:
    output = shutil.copytree(study[0], tmp_path / "study")
    numbers = output / "day 1/talk_07.mp4/people.json"
    document = json.loads(numbers.read_text())
    document["people"][0]["valence"] = -0.99
    document["moments"][0]["valence"] = [33.5, 1.0]
    if not has_moments:
        del document["moments"]
    numbers.write_text(json.dumps(document))
    write_summary(output, study[1])
    with opened(output / "summary.html") as page:
        line = page.locator("#outliers tbody tr", has_text="Valence")
        assert line.count() == 1
        line.locator("a").click()
        wait(page, "location.href.includes('talk_07.mp4/report.html#t=')")
        assert expected in page.url
