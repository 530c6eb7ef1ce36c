"""Transcripts beside a recording and inside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from affectstream.stream.errors import SourceError
from affectstream.stream.transcript.cues import MAX_CUE_CHARS, parse_cue
from affectstream.stream.transcript.files import (
    MAX_BYTES,
    embedded_transcript,
    find_transcript,
    read_transcript,
)
from tests.support.media import Sound, Text, numbered, tone, write_video

SRT = """1
00:00:01,000 --> 00:00:02,500
<i>Hello</i> there,
second &amp; last line

2
00:01:00.000 --> 01:00:00.500 X1:10 X2:20
{\\an8}ALICE: Fine.

3
00:00:05,000 --> 00:00:05,900


4
00:00:04,000 --> 00:00:09,000
[Bob] Earlier, but longer.
"""

VTT = """WEBVTT - a talk
Language: en

NOTE nobody says this

STYLE
::cue { color: red }

intro
00:01.000 --> 00:02.000 align:start
<v.loud Alice Smith>Hi <b>you</b> &lt;3 &nbsp;&amp; all</v>
<v Bob>Yes</v>

00:00:03.000 --> 00:00:04.000
- one
- two <00:00:03.500>three
"""

ASS = """[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname
Style: Default,Arial

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:01.00,0:00:02.00,Default,Alice,0,0,0,,{\\i1}Hello\\Nthere, you
Dialogue: 0,0:00:03.00,0:00:04.00,Default,,0,0,0,,{\\p1}m 0 0 l 1 1{\\p0}
Comment: 0,0:00:01.00,0:00:02.00,Default,Alice,0,0,0,,not shown
"""


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def cues_of(transcript):
    return [(c.start_us / 1e6, c.end_us / 1e6, c.speaker, c.text) for c in transcript.cues]


# --- files ---


def test_srt(tmp_path):
    transcript = read_transcript(write(tmp_path / "a.srt", SRT))
    assert cues_of(transcript) == [
        (1.0, 2.5, None, "Hello there, second & last line"),
        (4.0, 9.0, "Bob", "Earlier, but longer."),
        (60.0, 3600.5, "ALICE", "Fine."),
    ]
    assert transcript.language is None


def test_webvtt(tmp_path):
    transcript = read_transcript(write(tmp_path / "a.vtt", VTT))
    assert cues_of(transcript) == [
        (1.0, 2.0, "Alice Smith", "Hi you <3 & all"),
        (1.0, 2.0, "Bob", "Yes"),
        (3.0, 4.0, None, "one two three"),
    ]
    assert transcript.language == "en"


def test_ass(tmp_path):
    transcript = read_transcript(write(tmp_path / "a.ass", ASS))
    assert cues_of(transcript) == [(1.0, 2.0, "Alice", "Hello there, you")]


@pytest.mark.parametrize(
    "encoded",
    [
        "Grüße, “Ana”".encode(),
        "Grüße, “Ana”".encode("utf-8-sig"),
        "Grüße, “Ana”".encode("cp1252"),
        "Grüße, “Ana”".encode("utf-16"),
    ],
)
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_any_usual_encoding(tmp_path, encoded, ends):
    head = f"1{ends}00:00:01,000 --> 00:00:02,000{ends}"
    mark = next((m for m in (b"\xff\xfe", b"\xef\xbb\xbf") if encoded.startswith(m)), b"")
    head_bytes = head.encode("utf-16-le" if mark == b"\xff\xfe" else "ascii")
    path = write(tmp_path / "a.srt", mark + head_bytes + encoded[len(mark) :])
    assert cues_of(read_transcript(path)) == [(1.0, 2.0, None, "Grüße, “Ana”")]


def test_latin_1_is_read(tmp_path):
    path = write(tmp_path / "a.srt", SRT.replace("Hello", "Größe").encode("latin-1"))
    assert read_transcript(path).cues[0].text.startswith("Größe there")


def test_a_webvtt_file_without_cues_is_an_empty_transcript(tmp_path):
    assert read_transcript(write(tmp_path / "a.vtt", "WEBVTT\n")).cues == ()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "a.srt",
            SRT.replace("00:00:04,000", "00:0x:04,000"),
            r"line 15: .* is not the time of a cue",
        ),
        (
            "a.srt",
            SRT.replace("00:00:02,500", "2"),
            r"line 2: .* is not the time of a cue; expected",
        ),
        (
            "a.srt",
            SRT.replace("00:00:09,000", "00:00:03,000"),
            r"line 15: .*ends at 00:00:03,000, before",
        ),
        (
            "a.srt",
            SRT.replace("00:00:02,500", "00:00:02.5"),
            r"line 2: .* is not the time of a cue",
        ),
        ("a.srt", "Dear diary,\nnothing.\n", "holds no cues; expected a .srt or .vtt"),
        ("a.srt", "", "holds no cues"),
        ("a.vtt", SRT, "line 1: a WebVTT file begins with WEBVTT, found '1"),
        ("a.vtt", "", "line 1: a WebVTT file begins"),
        ("a.ass", "Dear diary", r"holds no \[Events\]"),
        ("a.txt", SRT, "does not end like a transcript's"),
    ],
)
def test_malformed_files_are_refused_with_the_line(tmp_path, name, text, message):
    path = write(tmp_path / name, text)
    with pytest.raises(SourceError, match=message) as caught:
        read_transcript(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(SourceError, match="no such transcript"):
        read_transcript(tmp_path / "none.srt")
    (tmp_path / "folder.srt").mkdir()
    with pytest.raises(SourceError, match="may not be read"):
        read_transcript(tmp_path / "folder.srt")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.srt")
    with pytest.raises(SourceError, match="is not a regular file"):
        read_transcript(tmp_path / "pipe.srt")


# --- which file belongs to a recording ---


@pytest.mark.parametrize(
    ("beside", "found"),
    [
        (["talk.srt"], "talk.srt"),
        (["talk.srt", "talk.vtt", "talk.en.vtt"], "talk.vtt"),
        (["talk.en.srt", "talk.de.srt"], "talk.de.srt"),
        (["talk.pt-BR.SRT"], "talk.pt-BR.SRT"),
        (["talk.eng.vtt", "talk.txt"], "talk.eng.vtt"),
        (["talk2.srt", "talk.ok.srt", "talk.part.srt", "other.vtt", "alk.srt"], None),
        ([], None),
    ],
)
def test_the_transcript_beside_a_recording(tmp_path, beside, found):
    for name in beside:
        write(tmp_path / name, SRT)
    path = find_transcript(tmp_path / "talk.mp4")
    assert (path and path.name) == found
    assert find_transcript(tmp_path / "nowhere" / "talk.mp4") is None


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("talk.en.srt", "en"),
        ("talk.ENG.srt", "en"),
        ("talk.ger.srt", "de"),
        ("talk.pt-BR.srt", "pt-BR"),
        ("talk.srt", None),
        ("talk.one.srt", None),
        ("talk.ok.srt", None),
        ("my.talk.srt", None),
    ],
)
def test_the_language_of_a_file_name(tmp_path, name, language):
    assert read_transcript(write(tmp_path / name, SRT)).language == language


# --- inside a recording ---


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "mov_text"), ("a.mkv", "subrip"), ("b.mkv", "ass"), ("c.mkv", "webvtt")],
)
def test_subtitles_inside_a_recording(tmp_path, name, codec):
    cues = [(0.5, 0.9, "Grüße"), (1.0, 1.5, "ALICE: Fine.")]
    text = [Text(cues, codec, language="deu"), Text([(0, 1, "Other")], codec)]
    path = write_video(tmp_path / name, 50, text=text, sound=Sound(tone(2, 48_000)))
    transcript = embedded_transcript(path)
    assert cues_of(transcript) == [(0.5, 0.9, None, "Grüße"), (1.0, 1.5, "ALICE", "Fine.")]
    assert transcript.language == "de"


def test_subtitles_keep_the_clock_of_a_recording_that_starts_late(tmp_path):
    times = [100 + i / 25 for i in range(50)]
    text = Text([(100.5, 101, "Hello")], "subrip")
    path = write_video(tmp_path / "a.mkv", 50, times_s=times, text=text)
    assert cues_of(embedded_transcript(path)) == [(0.5, 1.0, None, "Hello")]


def test_words_of_a_recording_that_was_cut_off_are_read_up_to_there(tmp_path):
    cues = [(float(t), t + 0.5, f"Cue {t}") for t in range(40)]
    path = write_video(
        tmp_path / "a.mkv", [numbered(i) for i in range(1000)], text=Text(cues, "subrip")
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = embedded_transcript(path).cues
    assert 5 < len(found) < 35
    assert [cue.text for cue in found] == [f"Cue {t}" for t in range(len(found))]


def test_a_recording_without_subtitles_has_no_transcript(tmp_path):
    assert embedded_transcript(write_video(tmp_path / "a.mp4", 5)) is None
    with pytest.raises(SourceError, match="no such file"):
        embedded_transcript(tmp_path / "none.mp4")


# --- who says what ---


@pytest.mark.parametrize(
    ("text", "speaker", "words"),
    [
        ("ALICE: Fine.", "ALICE", "Fine."),
        ("Alice: Fine.", "Alice", "Fine."),
        ("Dr. Alice Smith: Fine.", "Dr. Alice Smith", "Fine."),
        ("Speaker 2: Fine.", "Speaker 2", "Fine."),
        ("Élodie: Bien.", "Élodie", "Bien."),
        (">> BOB: Yes: no.", "BOB", "Yes: no."),
        ("- ALICE: Fine.", "ALICE", "Fine."),
        ("[Alice] Fine.", "Alice", "Fine."),
        ("[Alice]: Fine.", "Alice", "Fine."),
        ("Note: this is no name.", None, "Note: this is no name."),
        ("The thing is: no.", None, "The thing is: no."),
        ("at 10:30 or so", None, "at 10:30 or so"),
        ("It ends here:", None, "It ends here:"),
        ("[Applause] Thank you.", None, "[Applause] Thank you."),
        ("[music]", None, "[music]"),
        ("see: nothing", None, "see: nothing"),
        ("5 < 6 and 7 > 2", None, "5 < 6 and 7 > 2"),
        ("a&#8217;s &quot;b&quot;", None, 'a\u2019s "b"'),
    ],
)
def test_speakers_are_split_from_the_words(text, speaker, words):
    assert parse_cue(text, "subrip") == [(speaker, words)]


def test_cues_without_words_are_dropped():
    for text in ("", " \n ", "<i></i>", "{\\an8}", "&nbsp;"):
        assert parse_cue(text, "subrip") == []
    assert parse_cue("", "ass") == []


LONG = 200_000


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("voice.vtt", "WEBVTT\n\n00:00.000 --> 00:03.000\n" + "<v " * LONG + "\n"),
        ("tag.srt", "1\n00:00:00,000 --> 00:00:03,000\n" + "<i" * LONG + "\n"),
        ("brace.srt", "1\n00:00:00,000 --> 00:00:03,000\n" + "{\\" * LONG + "\n"),
        ("blank.srt", "1\n00:00:00,000 --> 00:00:03,000\n" + "&#" + "9" * LONG + ";\n"),
        ("dash.srt", "1\n00:00:00,000 --> 00:00:03,000\nhi\n\n1:" + "-" * LONG + "\n"),
    ],
)
def test_no_pattern_scans_a_cue_again_and_again(tmp_path, name, text):
    """198 KB of ``<v `` cost 37 s: the time grew with the square of the length."""
    path = write(tmp_path / name, text)
    assert all(len(cue.text) <= MAX_CUE_CHARS for cue in read_transcript(path).cues)


@pytest.mark.parametrize("codec", ["webvtt", "subrip", "ass"])
@pytest.mark.parametrize(
    "piece", ["<v ", "<i", "<v.a ", "{\\", "{\\p1", "\n ", "- ", "[a", "&", "<1"]
)
def test_any_repetition_is_parsed(codec, piece):
    prefix = "0,0,D,N,0,0,0,," if codec == "ass" else ""
    for _, words in parse_cue(prefix + piece * LONG, codec):
        assert len(words) <= MAX_CUE_CHARS


def test_a_file_larger_than_any_transcript_is_refused(tmp_path):
    path = tmp_path / "a.srt"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(
        SourceError, match=r"a\.srt: has 8,388,609 bytes, expected at most 8,388,608"
    ):
        read_transcript(path)


def test_an_hour_of_many_digits_is_no_time(tmp_path):
    text = "1\n" + "9" * 5_000 + ":00:00,000 --> 00:00:03,000\nhi\n"
    with pytest.raises(SourceError, match=r"a\.srt"):
        read_transcript(write(tmp_path / "a.srt", text))
