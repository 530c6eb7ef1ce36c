"""A transcript as the input itself: readings of the recording from its words alone."""

import asyncio
import json
import shutil

import numpy as np
import pytest

from affectstream.engines.bundle.folder import MANIFEST, POCKET
from affectstream.engines.cache.digest import sha256
from affectstream.stream import Recognizer, SourceError, SourceOptions, parse_event
from affectstream.stream.transcript.context import CURRENT_FOR_US
from tests.support.scoring import events_of, run

SRT = """1
00:00:01,000 --> 00:00:02,500
I am so happy to see you!

2
00:00:04,000 --> 00:00:06,200
Alice: This is terrible, I am furious.
"""
VTT = "WEBVTT\n\n00:01.000 --> 00:02.000\n<v Alice>How wonderful!\n"


@pytest.fixture
def talk(tmp_path):
    path = tmp_path / "talk.srt"
    path.write_text(SRT)
    return path


@pytest.fixture(scope="module")
def recognizer():
    with Recognizer.open(threads=1) as opened:
        yield opened


def test_every_hop_has_one_reading_of_the_recording(talk, recognizer):
    result = recognizer.score(talk)
    emotions = events_of(result, "emotion")
    assert {event.track for event in emotions} == {None}
    # Up to 5 s after the last cue, which is how long it stays the current utterance.
    assert [event.t_start for event in emotions] == [i / 2 for i in range(23)]
    assert emotions[-1].t_end == 6.2 + CURRENT_FOR_US / 1e6
    assert events_of(result, "attention") == []
    assert result.complete
    first, last = result.events[0], result.events[-1]
    assert (first.what, last.what) == ("started", "ended")
    assert first.modalities == ("text",)
    assert result.readings.num_rows == 23


def test_the_speaker_of_the_words_is_named(talk, recognizer):
    named = {e.t_start: e.speaker for e in events_of(recognizer.score(talk), "emotion")}
    assert named[3.0] is None
    assert named[6.0] == "Alice"
    talk.with_suffix(".vtt").write_text(f"WEBVTT\n\n00:01.000 --> 00:02.000\n<v {'A' * 999}>Hi!\n")
    long = events_of(recognizer.score(talk.with_suffix(".vtt")), "emotion")
    assert [e.speaker for e in long if e.t_start == 3] == ["A" * 255]


async def _follow(recognizer, path):
    return [event async for event in recognizer.follow(path)]


def test_follow_gives_the_same_events(talk, recognizer):
    assert tuple(asyncio.run(_follow(recognizer, talk))) == recognizer.score(talk).events


def test_a_cue_counts_from_its_end_on(talk, recognizer):
    used = {event.t_end: event for event in events_of(recognizer.score(talk), "emotion")}
    assert used[2.0].abstain == "no_words"
    assert used[2.5].modalities == ("text",)
    assert used[6.0].scores == used[2.5].scores  # the second cue is not over
    assert used[6.5].scores != used[2.5].scores
    assert used[11.0].modalities == ("text",)
    assert used[11.2].abstain == "no_words"


def test_a_part_keeps_the_clock(talk, recognizer):
    whole = {e.t_start: e.scores for e in events_of(recognizer.score(talk), "emotion")}
    part = recognizer.score(talk, SourceOptions(start_us=2_000_000, end_us=4_200_000))
    emotions = events_of(part, "emotion")
    assert [e.t_start for e in emotions] == [2.0, 2.5, 3.0, 3.5, 4.0]
    assert emotions[-1].t_end == 4.2
    assert [e.scores for e in emotions] == [whole[e.t_start] for e in emotions]
    with pytest.raises(SourceError, match=r"start 60\.0 s is beyond its end at 11\.200 s"):
        recognizer.score(talk, SourceOptions(start_us=60_000_000))


def test_the_language_of_the_name_masks_the_words(tmp_path, recognizer):
    path = tmp_path / "talk.de.srt"
    path.write_text(SRT)
    assert {e.abstain for e in events_of(recognizer.score(path), "emotion")} == {"language"}


def test_the_command_line_writes_the_same_results_twice(talk, tmp_path):
    for name in ("one", "two"):
        done = run("score", talk, "--output", tmp_path / name)
        assert done.returncode == 0, done.stderr
        assert "error" not in done.stderr
    for name in ("events.jsonl", "readings.parquet", "segments.vtt"):
        one, two = (tmp_path / folder / "talk.srt" / name for folder in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
    about = json.loads((tmp_path / "one/talk.srt/run.json").read_text())
    assert (about["status"], about["media_s"]) == ("complete", 11.2)
    lines = (tmp_path / "one/talk.srt/events.jsonl").read_bytes().splitlines()
    assert "segment" in {parse_event(line).type for line in lines}


def test_webvtt_and_recordings_go_together(talk, tmp_path):
    (tmp_path / "talk.vtt").write_text(VTT)
    done = run("score", talk, tmp_path / "talk.vtt", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").glob("talk.*/run.json"))) == 2


def test_assigning_words_to_people_who_are_not_there_is_told(talk, recognizer):
    from affectstream.stream import Assignment

    options = SourceOptions(assignment=Assignment(names={"Alice": 1, "Bob": 2}))
    told = [e.detail for e in events_of(recognizer.score(talk, options), "stream") if e.detail]
    assert told == [
        "person 1 was never seen",
        "person 2 was never seen",
        "nobody in the transcript is named 'Bob'",
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.srt", "Dear diary\n", "holds no cues"),
        ("a.vtt", "WEBVTT\n", "holds no cues"),
        ("a.vtt", SRT, "line 1: a WebVTT file begins with WEBVTT"),
        ("a.srt", SRT.replace("00:00:06", "200:00:06"), "last cue ends at 200.0 h"),
        ("a.txt", SRT, "or a transcript (.srt, .vtt)"),
    ],
)
def test_a_transcript_that_cannot_be_used_is_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    done = run("score", tmp_path / name)
    assert done.returncode == 4
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--transcript", "other.srt"], 2, "is a transcript: leave out the transcript other.srt"),
        (["--audio-track", "1"], 4, "has no audio track 1: it holds words only"),
        (["--channel", "left=1,right=2"], 4, "needs stereo sound, found 0 channels"),
    ],
)
def test_options_that_need_sound_are_refused(talk, options, code, message):
    done = run("score", talk, *options)
    assert done.returncode == code
    assert message in done.stderr


@pytest.fixture
def wordless(tmp_path):
    """`pocket` without its text encoder, and a head that does not ask for words."""
    onnx = pytest.importorskip("onnx", reason="graphs are changed with the 'train' extra")
    bundle = shutil.copytree(POCKET, tmp_path / "wordless")
    graph = onnx.load(str(bundle / "fusion.onnx"))
    for given in [i for i in graph.graph.input if i.name.startswith("text")]:
        graph.graph.input.remove(given)
        kind = onnx.helper.tensor_dtype_to_np_dtype(given.type.tensor_type.elem_type)
        shape = [dim.dim_value or 1 for dim in given.type.tensor_type.shape.dim]
        none = onnx.numpy_helper.from_array(np.zeros(shape, kind), given.name)
        graph.graph.initializer.append(none)
    onnx.save(graph, str(bundle / "fusion.onnx"))
    manifest = json.loads((bundle / MANIFEST).read_text())
    del manifest["engines"]["text_encoder"]
    manifest["engines"]["fusion"]["sha256"] = sha256(bundle / "fusion.onnx")
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    return bundle


def test_a_bundle_that_reads_no_words_says_so(talk, wordless):
    done = run("score", talk, "--bundle", wordless)
    assert done.returncode == 4
    assert "holds text and nothing that bundle 'pocket' reads: video, voice" in done.stderr
    assert done.stderr.count("\n") == 1
