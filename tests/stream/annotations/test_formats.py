"""Files for ELAN, Praat and BORIS: other programs read them back."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from affectstream.stream.annotations.boris import aggregated_events
from affectstream.stream.annotations.elan import eaf
from affectstream.stream.annotations.praat import textgrid
from affectstream.stream.annotations.tiers import Annotation, Tier, tiers
from affectstream.stream.events import Segment
from affectstream.stream.media.types import Cue

STATES = {"emotion": ["joy", "anger"], "attention": ["attentive", "away", "absent"]}


def segment(track: int | None, start_s: float, end_s: float, of: Any, state: str) -> Segment:
    times = {"stream": "talk.mp4", "t_start": start_s, "t_end": end_s}
    return Segment(
        **times, track=track, modalities=("video",), of=of, state=state, mean=0.5, peak=0.75
    )


def readings(*rows: tuple[int | None, float, str]) -> pa.Table:
    """A table of hops of half a second: (track, start, modalities)."""
    names = ("track", "t_start", "t_end", "modalities")
    columns = zip(*((t, start, start + 0.5, used) for t, start, used in rows), strict=True)
    return pa.table(
        dict(zip(names, columns, strict=True)) if rows else {name: [] for name in names}
    )


@pytest.fixture
def found() -> list[Tier]:
    events = [
        segment(1, 0.0, 2.0, "emotion", "joy"),
        segment(None, 0.0, 5.0, "emotion", "neutral"),
        segment(1, 2.5, 4.0, "emotion", "anger"),
        segment(2, 1.0, 4.123456, "attention", "away"),
    ]
    hops = readings(
        (1, 0.0, "video"),
        (1, 0.5, "video+voice"),
        (2, 0.5, "video"),
        (1, 1.0, "video+voice"),
        (2, 1.5, "voice"),
        (1, 3.0, "video+voice"),
    )
    words = [
        Cue(500_000, 1_500_000, 'She said "no" & left', "Ann"),
        Cue(1_400_000, 2_000_000, "Oh\x00\n<b>"),
    ]
    return tiers(events, hops, words, {"Ann": 1})


def test_tiers_are_sorted_by_person_and_kind(found: list[Tier]) -> None:
    assert [tier.name for tier in found] == [
        "person 1 emotion",
        "person 1 speech",
        "person 1 words",
        "person 2 attention",
        "person 2 speech",
        "recording emotion",
        "recording speech",
        "recording words",
    ]


def test_speech_is_of_a_person_only_where_their_voice_was_used(found: list[Tier]) -> None:
    by_name = {tier.name: tier.annotations for tier in found}
    assert by_name["person 1 speech"] == (
        Annotation(0.5, 1.5, "speech"),
        Annotation(3.0, 3.5, "speech"),
    )
    assert by_name["recording speech"] == (
        Annotation(0.5, 2.0, "speech"),
        Annotation(3.0, 3.5, "speech"),
    )


def test_overlapping_words_are_cut_or_joined_and_none_is_lost() -> None:
    times = [(0, 2_000_000, "one"), (1_000_000, 1_500_000, "two"), (1_000_000, 3_000_000, "three")]
    (tier,) = tiers([], readings(), [Cue(*one) for one in times])
    spans = [(one.start_s, one.end_s, one.text) for one in tier.annotations]
    assert spans == [(0.0, 1.0, "one"), (1.0, 3.0, "two / three")]


def test_each_named_speaker_has_words_of_their_own() -> None:
    words = [Cue(0, 2_000_000, "Hello", "Ann"), Cue(1_000_000, 2_000_000, "Hi", "Bob")]
    found = tiers([], readings(), words, {"Bob": 2})
    assert [(tier.name, tier.track) for tier in found] == [
        ("person 2 words", 2),
        ("Ann words", None),
    ]


def test_pympi_reads_the_elan_file_back(found: list[Tier], tmp_path: Path) -> None:
    elan = pytest.importorskip("pympi", reason="pympi-ling reads ELAN files")
    path = tmp_path / "talk.eaf"
    path.write_bytes(eaf(found, "../talk.mp4", STATES, {"consent": "form <12>"}))
    read = elan.Elan.Eaf(str(path))
    assert set(read.get_tier_names()) == {tier.name for tier in found}
    assert read.get_annotation_data_for_tier("person 1 emotion") == [
        (0, 2000, "joy"),
        (2500, 4000, "anger"),
    ]
    assert read.get_annotation_data_for_tier("person 1 words")[0][2] == 'She said "no" & left'
    assert read.get_annotation_data_for_tier("recording words")[0][2] == "Oh\n<b>"
    assert ("consent", "form <12>") in read.properties
    assert read.get_linked_files()[0]["RELATIVE_MEDIA_URL"] == "./../talk.mp4"
    assert read.get_linked_files()[0]["MIME_TYPE"] == "video/mp4"
    assert set(read.get_cv_entries("emotion")) == {"emotion-1", "emotion-2"}
    assert read.get_parameters_for_tier("person 1 emotion")["PARTICIPANT"] == "person 1"


@pytest.mark.parametrize("whole", [True, False])
def test_the_elan_file_follows_the_schema(found: list[Tier], whole: bool) -> None:
    """`AFFECTSTREAM_EAF_SCHEMA` names EAFv3.0.xsd, to check against the schema of ELAN's makers too."""
    xmlschema = pytest.importorskip("xmlschema", reason="xmlschema checks XML")
    document = eaf(found, "../talk.mp4", STATES, {"purpose": "a"}) if whole else eaf([])
    official = os.environ.get("AFFECTSTREAM_EAF_SCHEMA")
    for schema in filter(None, ["tests/fixtures/eaf_3_0_part.xsd", official]):
        place = Path(__file__).parents[3] / schema
        xmlschema.XMLSchema(str(place)).validate(document.decode())


def test_praatio_reads_the_textgrid_back(found: list[Tier], tmp_path: Path) -> None:
    praat = pytest.importorskip("praatio.textgrid", reason="praatio reads TextGrids")
    path = tmp_path / "talk.TextGrid"
    path.write_text(textgrid(found, 5.0, {"purpose": 'a "study"'}), encoding="utf-8")
    read = praat.openTextgrid(str(path), includeEmptyIntervals=True)
    assert read.tierNames == (*(tier.name for tier in found), "purpose")
    assert [tuple(one) for one in read.getTier("purpose").entries] == [(0, 5, 'a "study"')]
    assert read.maxTimestamp == 5.0
    entries = [(one.start, one.end, one.label) for one in read.getTier("person 1 emotion").entries]
    assert entries == [(0, 2, "joy"), (2, 2.5, ""), (2.5, 4, "anger"), (4, 5, "")]
    (first, second, _) = read.getTier("person 1 words").entries
    assert first.label == "" and second.label == 'She said "no" & left'


def test_an_empty_textgrid_can_be_written() -> None:
    assert "size = 0" in textgrid([], 3.0)


def test_boris_rows_are_state_events_in_the_order_of_time(found: list[Tier]) -> None:
    rows = list(csv.DictReader(io.StringIO(aggregated_events(found, "talk.mp4", 5.0))))
    assert [float(row["Start (s)"]) for row in rows] == sorted(float(r["Start (s)"]) for r in rows)
    (away,) = (row for row in rows if row["Behavior"] == "away")
    assert away["Subject"] == "person 2"
    assert away["Behavioral category"] == "attention"
    assert away["Behavior type"] == "STATE"
    assert (away["Stop (s)"], away["Duration (s)"]) == ("4.123", "3.123")
    assert away["Comment start"] == "mean 0.50, peak 0.75"
    said = [row["Comment start"] for row in rows if row["Behavior"] == "words"]
    assert said[0] == 'She said "no" & left'
