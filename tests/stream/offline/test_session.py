"""What scoring a recording gives: events, readings, and the part of the source that they use."""

import json
import time

import jsonschema
import numpy as np
import pytest

from affectstream.stream import (
    Assignment,
    Recognizer,
    Session,
    SourceOptions,
    json_schema,
    parse_event,
)
from affectstream.stream.demo import babble
from affectstream.stream.media.recording import Recording
from affectstream.stream.media.types import SAMPLE_RATE, Samples
from tests.support.media import (
    Muxing,
    Sound,
    numbered,
    tone,
    write_video,
)
from tests.support.scoring import events_of, run

# --- what a recording gives ---


def test_every_line_fits_the_schema_and_times_increase(result):
    from affectstream.stream.events import encode

    schema = json_schema()
    for event in result.events:
        jsonschema.validate(json.loads(encode(event)), schema)
    starts = [event.t_start for event in result.events if event.type in ("emotion", "attention")]
    assert starts == sorted(starts)


def test_mean_and_peak_of_a_segment_are_of_its_own_state(result):
    """The demo turns away for a moment: what counts then is how far she has turned."""
    strength = {
        "attentive": lambda score: score,
        "away": lambda score: 1 - score,
        "absent": lambda score: 1.0,
    }
    stretches = [s for s in events_of(result, "segment") if s.of == "attention" and s.track == 1]
    assert {s.state for s in stretches} == set(strength)
    for stretch in stretches:
        scores = [
            strength[e.state](e.score)
            for e in events_of(result, "attention")
            if e.track == 1
            and e.state == stretch.state
            and stretch.t_start <= e.t_start < stretch.t_end
        ]
        assert stretch.mean == pytest.approx(np.mean(scores), abs=2e-4)
        assert stretch.peak == pytest.approx(max(scores), abs=2e-4)
        assert stretch.mean > 0.6  # it would not have been in this state for less


def test_a_single_person_has_one_reading_for_each_half_second(result):
    emotions = events_of(result, "emotion")
    assert {event.track for event in emotions} == {1, None}
    assert [event.t_start for event in emotions if event.track == 1] == [i / 2 for i in range(32)]
    # While nobody is in view, words belong to the recording; the voice has ended by then.
    assert {event.modalities for event in emotions if event.track is None} == {("text",)}
    for event in emotions:
        if event.scores is not None:
            assert sum(event.scores.values()) == pytest.approx(1.0, abs=1e-3)
            assert event.confidence == max(event.scores.values())


def test_a_person_who_returns_keeps_the_track_number(result):
    states = {event.t_start: event.state for event in events_of(result, "attention")}
    assert states[2.0] == "attentive"
    assert states[13.0] == "absent"
    assert states[15.5] == "attentive"


def test_modalities_are_those_that_were_used(result):
    by_time = {event.t_start: event for event in events_of(result, "emotion")}
    assert by_time[1.0].modalities == ("video", "voice")
    assert "text" in by_time[3.5].modalities  # the cue ends at 3.5 s; not before
    assert "text" not in by_time[2.5].modalities
    assert by_time[3.5].assigned_by == "mouth"
    assert by_time[15.5].modalities == ("video",)  # the sound fell silent
    assert by_time[13.0].abstain == "no_face"


def test_stream_events_begin_and_end_a_recording(result):
    first, last = result.events[0], result.events[-1]
    assert (first.what, last.what) == ("started", "ended")
    assert last.complete
    assert 16 * 8 <= last.counts["frames"] < 400  # those that the grid needs, and what they rest on
    assert result.complete
    assert result.detail is None


def test_readings_have_the_same_values_as_events(result):
    table = result.readings
    assert table.num_rows == len(events_of(result, "emotion"))
    rows = table.to_pylist()
    assert rows[4]["left"] < rows[4]["nose_x"] < rows[4]["right"]
    assert [r["label"] for r in rows] == [e.label for e in events_of(result, "emotion")]


async def _follow(clip):
    with Recognizer.open(threads=2) as recognizer:
        return [event async for event in recognizer.follow(clip)]


def test_follow_yields_the_same_events(clip, result):
    import asyncio

    assert tuple(asyncio.run(_follow(clip))) == result.events


@pytest.mark.slow
def test_leaving_follow_early_stops_all_threads(clip):
    import asyncio
    import threading

    async def some():
        with Recognizer.open(threads=2) as recognizer:
            async for event in recognizer.follow(clip):
                if event.type == "emotion":
                    break

    asyncio.run(some())
    deadline = time.monotonic() + 5
    while threading.active_count() > 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [t.name for t in threading.enumerate() if t.name in ("reader", "follow")] == []


def test_times_of_a_part_are_those_of_the_whole_recording(clip):
    options = SourceOptions(start_us=5_000_000, end_us=7_000_000)
    with Recognizer.open(threads=2) as recognizer:
        part = recognizer.score(clip, options)
    assert [event.t_start for event in events_of(part, "emotion")] == [5.0, 5.5, 6.0, 6.5]


def test_sound_alone_gives_readings_of_the_recording(tmp_path, data_root):
    with Recognizer.open(threads=1) as recognizer:
        found = recognizer.score(data_root / "video/speech_1.wav")
    emotions = events_of(found, "emotion")
    assert {event.track for event in emotions} == {None}
    assert ("voice",) in {event.modalities for event in emotions}
    assert events_of(found, "attention") == []


def test_silence_is_a_missing_modality(tmp_path):
    path = write_video(
        tmp_path / "quiet.wav", 0, sound=Sound(0 * tone(3, 16_000), 16_000, "pcm_s16le")
    )
    with Recognizer.open(threads=1) as recognizer:
        found = events_of(recognizer.score(path), "emotion")
    assert {(event.modalities, event.abstain, event.label) for event in found} == {
        ((), "no_speech", None)
    }


def test_a_recording_without_a_face_is_scored(tmp_path):
    path = write_video(
        tmp_path / "bars.mp4", [numbered(i, (320, 240)) for i in range(75)], size=(320, 240)
    )
    done = run("score", path)
    assert done.returncode == 0
    events = [parse_event(line) for line in done.stdout.splitlines()]
    assert {event.abstain for event in events if event.type == "emotion"} == {"no_face"}
    assert {event.state for event in events if event.type == "attention"} == {"absent"}


def test_words_of_an_unknown_language_are_masked(clip):
    with Recognizer.open(threads=2) as recognizer:
        found = recognizer.score(clip, SourceOptions(language="de"))
    assert all("text" not in event.modalities for event in events_of(found, "emotion"))


def test_audio_track_selects_the_voice(tmp_path, data_root):
    """Speech on the second track only: the first one gives nothing to read."""
    with Recording.open(data_root / "video/speech_1.wav", end_us=4_000_000) as recording:
        speech = np.concatenate([item.data for item in recording if isinstance(item, Samples)])
    sounds = [
        Sound(0 * speech, SAMPLE_RATE, "pcm_s16le", language="eng"),
        Sound(speech, SAMPLE_RATE, "pcm_s16le", language="deu"),
    ]
    path = write_video(tmp_path / "two.mkv", 50, sound=sounds)
    used = {}
    for track in ("1", "2", "deu"):
        done = run("score", path, "--audio-track", track)
        assert done.returncode == 0, done.stderr
        events = [parse_event(line) for line in done.stdout.splitlines()]
        used[track] = {e.modalities for e in events if e.type == "emotion"}
    assert used["1"] == {()}
    assert ("voice",) in used["2"]
    assert used["2"] == used["deu"]


def test_voiced_is_measured_on_the_channel_of_the_speaker(tmp_path, portrait):
    """Person 1, on the left, is seen and silent; person 2, on the right, is heard alone."""
    speech = babble(6)[: 4 * SAMPLE_RATE]
    sides = Sound(np.stack([0 * speech, speech], axis=1), SAMPLE_RATE)
    frames = [np.ascontiguousarray(portrait[:400, :320])] * 100
    path = write_video(tmp_path / "call.mp4", frames, sound=sides)
    options = SourceOptions(assignment=Assignment(channels=(1, 2)))
    with Recognizer.open(threads=1) as recognizer:
        rows = recognizer.score(path, options).readings.to_pylist()
    seen = [row for row in rows if row["track"] == 1]
    alone = [row for row in rows if row["track"] == 2 and row["modalities"] == "voice"]
    assert len(seen) >= 7
    assert {row["voiced"] for row in seen} == {0.0}
    assert {row["modalities"] for row in seen} == {"video"}
    assert min(row["voiced"] for row in alone) > 0.15
    assert {row["attention_state"] for row in alone} == {"absent"}


def _faces(table):
    """Median box (left, top, right, bottom) and roll of the readings that show a face."""
    rows = [row for row in table.to_pylist() if row["left"] is not None]
    return len(rows), {
        name: np.median([row[name] for row in rows])
        for name in ("left", "top", "right", "bottom", "roll")
    }


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_a_rotated_video_is_scored_as_it_is_shown(tmp_path, portrait, degrees):
    upright = np.ascontiguousarray(portrait[:400, :320])
    stored = np.ascontiguousarray(np.rot90(upright, -degrees // 90))
    plain = write_video(tmp_path / "plain.mp4", [upright] * 50)
    turned = write_video(tmp_path / "turned.mp4", [stored] * 50, muxing=Muxing(degrees))
    with Recognizer.open(threads=1) as recognizer:
        many, expected = _faces(recognizer.score(plain).readings)
        found, shown = _faces(recognizer.score(turned).readings)
    assert found == many == 4
    assert shown["roll"] == pytest.approx(expected["roll"], abs=2)
    for side in ("left", "top", "right", "bottom"):
        assert shown[side] == pytest.approx(expected[side], abs=0.02)


def test_ten_bit_video_shows_the_same_face(tmp_path, portrait):
    frames = [np.ascontiguousarray(portrait[:400, :320])] * 50
    eight = write_video(tmp_path / "eight.mp4", frames)
    ten = write_video(tmp_path / "ten.mp4", frames, codec="libx265", pix_fmt="yuv420p10le")
    with Recognizer.open(threads=1) as recognizer:
        one, two = recognizer.score(eight), recognizer.score(ten)
    assert _faces(two.readings)[1] == pytest.approx(_faces(one.readings)[1], abs=0.5)
    labels = [event.label for event in events_of(one, "emotion")]
    assert [event.label for event in events_of(two, "emotion")] == labels
    for a, b in zip(events_of(one, "emotion"), events_of(two, "emotion"), strict=True):
        assert a.scores == pytest.approx(b.scores, abs=0.1)


# --- what counts ---


def test_the_modalities_of_the_option_are_used_and_no_others(clip):
    with Recognizer.open(threads=2) as recognizer:
        for chosen in (("video",), ("voice",), ("text",), ("video", "voice")):
            options = SourceOptions(end_us=5_000_000, modalities=chosen)
            result = recognizer.score(clip, options)
            used = {m for e in events_of(result, "emotion") for m in e.modalities}
            assert used == set(chosen)
            assert set(result.events[-1].modalities) == set(chosen)
            assert bool(events_of(result, "attention")) == ("video" in chosen)


def test_no_label_and_no_segment_below_the_least_confidence(clip):
    with Recognizer.open(threads=2) as recognizer:
        free = recognizer.score(clip, SourceOptions(end_us=5_000_000))
        strict = recognizer.score(clip, SourceOptions(end_us=5_000_000, min_confidence=1.0))
    assert any(e.label for e in events_of(free, "emotion"))
    assert any(s.of == "emotion" for s in events_of(free, "segment"))
    assert all(e.label is None or e.confidence == 1.0 for e in events_of(strict, "emotion"))
    assert "low_confidence" in {e.abstain for e in events_of(strict, "emotion")}
    assert all(s.mean == 1.0 for s in events_of(strict, "segment") if s.of == "emotion")
    pairs = zip(events_of(free, "emotion"), events_of(strict, "emotion"), strict=True)
    assert all(one.scores == other.scores for one, other in pairs)


def test_readings_do_not_depend_on_how_far_ahead_the_recording_is_read(clip, monkeypatch):
    options = SourceOptions(end_us=3_000_000)
    with Recognizer.open(threads=1) as recognizer:
        before = recognizer.score(clip, options).readings
        monkeypatch.setattr(Session, "end_us", property(lambda session: 1_000_000))
        assert recognizer.score(clip, options).readings.equals(before)
    assert before["t_end"].to_pylist()[-1] == pytest.approx(3.0)
