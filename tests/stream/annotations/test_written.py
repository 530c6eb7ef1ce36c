"""`score --format eaf,textgrid,boris` from a recording to files that hold its segments."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.support.command import run_command
from tests.support.live_media import write_face

WORDS = """1
00:00:00,500 --> 00:00:02,000
Ann: I am so happy, this is wonderful!
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("written")
    write_face(root / "talk.mp4", 4)
    (root / "talk.srt").write_text(WORDS)
    formats = ("--format", "jsonl,eaf,textgrid,boris", "--language", "en")
    code = run_command(
        "score", root / "talk.mp4", "-o", root / "out", *formats, "--speaker", "Ann=1"
    )
    assert code == 0
    return root / "out/talk.mp4"


def test_every_segment_is_in_every_file(folder: Path) -> None:
    elan = pytest.importorskip("pympi", reason="pympi-ling reads ELAN files")
    praat = pytest.importorskip("praatio.textgrid", reason="praatio reads TextGrids")
    lines = map(json.loads, (folder / "events.jsonl").read_text().splitlines())
    segments = [line for line in lines if line["type"] == "segment"]
    assert segments
    annotated = elan.Elan.Eaf(str(folder / "annotations.eaf"))
    grid = praat.openTextgrid(str(folder / "annotations.TextGrid"), includeEmptyIntervals=False)
    with (folder / "boris.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for one in segments:
        person = "recording" if one["track"] is None else f"person {one['track']}"
        times = tuple(round(1000 * one[name]) for name in ("t_start", "t_end"))
        name = f"{person} {one['of']}"
        assert (*times, one["state"]) in annotated.get_annotation_data_for_tier(name)
        assert one["state"] in [entry.label for entry in grid.getTier(name).entries]
        found = [row for row in rows if row["Subject"] == person]
        assert one["state"] in [row["Behavior"] for row in found]
    assert annotated.get_linked_files()[0]["RELATIVE_MEDIA_URL"] == "./../../talk.mp4"
    said = annotated.get_annotation_data_for_tier("person 1 words")
    assert said == [(500, 2000, "I am so happy, this is wonderful!")]
