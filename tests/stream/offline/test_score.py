"""From a file to results through the command line, and every way in which that can go wrong."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import version

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pytest

from affectstream.engines.bundle.folder import POCKET
from affectstream.stream import Assignment, Recognizer, SourceOptions, json_schema, parse_event
from affectstream.stream.demo import babble, write_clip
from affectstream.stream.media.recording import Recording
from affectstream.stream.media.types import SAMPLE_RATE, Samples
from tests.support.media import (
    Muxing,
    Sound,
    Text,
    numbered,
    tone,
    write_video,
)


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """The demo's clip with its transcript: a real face, made-up sound."""
    pytest.importorskip("skimage", reason="the portrait comes with the 'demo' extra")
    return write_clip(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="session")
def result(clip):
    with Recognizer.open(threads=2) as recognizer:
        return recognizer.score(clip)


def run(*arguments, **options):
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from affectstream.stream.cli import main; main()",
            *map(str, arguments),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


def of(result, kind):
    return [event for event in result.events if event.type == kind]


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
    stretches = [s for s in of(result, "segment") if s.of == "attention" and s.track == 1]
    assert {s.state for s in stretches} == set(strength)
    for stretch in stretches:
        scores = [
            strength[e.state](e.score)
            for e in of(result, "attention")
            if e.track == 1
            and e.state == stretch.state
            and stretch.t_start <= e.t_start < stretch.t_end
        ]
        assert stretch.mean == pytest.approx(np.mean(scores), abs=2e-4)
        assert stretch.peak == pytest.approx(max(scores), abs=2e-4)
        assert stretch.mean > 0.6  # it would not have been in this state for less


def test_a_single_person_has_one_reading_for_each_half_second(result):
    emotions = of(result, "emotion")
    assert {event.track for event in emotions} == {1, None}
    assert [event.t_start for event in emotions if event.track == 1] == [i / 2 for i in range(32)]
    # While nobody is in view, voice and words belong to the recording.
    assert {event.modalities for event in emotions if event.track is None} == {("voice", "text")}
    for event in emotions:
        if event.scores is not None:
            assert sum(event.scores.values()) == pytest.approx(1.0, abs=1e-3)
            assert event.confidence == max(event.scores.values())


def test_a_person_who_returns_keeps_the_track_number(result):
    states = {event.t_start: event.state for event in of(result, "attention")}
    assert states[2.0] == "attentive"
    assert states[13.0] == "absent"
    assert states[15.5] == "attentive"


def test_modalities_are_those_that_were_used(result):
    by_time = {event.t_start: event for event in of(result, "emotion")}
    assert by_time[1.0].modalities == ("video", "voice")
    assert "text" in by_time[3.5].modalities  # the cue ends at 3.5 s; not before
    assert "text" not in by_time[2.5].modalities
    assert by_time[3.5].assigned_by == "only_track"
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
    assert table.num_rows == len(of(result, "emotion"))
    rows = table.to_pylist()
    assert rows[4]["left"] < rows[4]["nose_x"] < rows[4]["right"]
    assert [r["label"] for r in rows] == [e.label for e in of(result, "emotion")]


async def _follow(clip):
    with Recognizer.open(threads=2) as recognizer:
        return [event async for event in recognizer.follow(clip)]


def test_follow_yields_the_same_events(clip, result):
    import asyncio

    assert tuple(asyncio.run(_follow(clip))) == result.events


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
    assert [event.t_start for event in of(part, "emotion")] == [5.0, 5.5, 6.0, 6.5]


def test_two_runs_write_the_same_bytes_without_paths(clip, tmp_path):
    for name in ("one", "two"):
        done = run(
            "score",
            clip,
            "--output",
            tmp_path / name,
            "--format",
            "jsonl,parquet,csv,vtt",
            "--threads",
            2,
        )
        assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (tmp_path / "one/demo").iterdir())
    assert names == ["events.jsonl", "readings.csv", "readings.parquet", "run.json", "segments.vtt"]
    for name in names[:3] + names[4:]:
        one, two = (tmp_path / d / "demo" / name for d in ("one", "two"))
        assert one.read_bytes() == two.read_bytes(), name
        assert str(tmp_path).encode() not in one.read_bytes()
    about = json.loads((tmp_path / "one/demo/run.json").read_text())
    assert about["status"] == "complete"
    assert about["media_s"] == pytest.approx(16, abs=0.1)


def test_other_libraries_read_the_result_files(clip, tmp_path):
    assert run("score", clip, "--output", tmp_path).returncode == 0
    events = [
        parse_event(line) for line in (tmp_path / "demo/events.jsonl").read_bytes().splitlines()
    ]
    table = pq.read_table(tmp_path / "demo/readings.parquet")
    assert table.num_rows == sum(event.type == "emotion" for event in events)
    import av

    with av.open(str(tmp_path / "demo/segments.vtt")) as cues:
        found = [p for p in cues.demux() if p.size]
    assert len(found) == sum(event.type == "segment" for event in events) > 0


# --- inputs of every kind ---


def test_sound_alone_gives_readings_of_the_recording(tmp_path, data_root):
    with Recognizer.open(threads=1) as recognizer:
        found = recognizer.score(data_root / "video/speech_1.wav")
    emotions = of(found, "emotion")
    assert {event.track for event in emotions} == {None}
    assert ("voice",) in {event.modalities for event in emotions}
    assert of(found, "attention") == []


def test_silence_is_a_missing_modality(tmp_path):
    path = write_video(
        tmp_path / "quiet.wav", 0, sound=Sound(0 * tone(3, 16_000), 16_000, "pcm_s16le")
    )
    with Recognizer.open(threads=1) as recognizer:
        found = of(recognizer.score(path), "emotion")
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
    assert all("text" not in event.modalities for event in of(found, "emotion"))


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
    labels = [event.label for event in of(one, "emotion")]
    assert [event.label for event in of(two, "emotion")] == labels
    for a, b in zip(of(one, "emotion"), of(two, "emotion"), strict=True):
        assert a.scores == pytest.approx(b.scores, abs=0.1)


# --- what can go wrong ---


@pytest.fixture
def bad(tmp_path, clip):
    """Files that cannot be scored, by name, with what the message must say."""
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("Dear diary, this is not a film.\n" * 40)
    (tmp_path / "noindex.mp4").write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    (tmp_path / "folder.mp4").mkdir()
    return {
        "missing.mp4": "no such file",
        "folder.mp4": "directory",
        "empty.mp4": "empty",
        "text.mp4": "not a media file",
        "noindex.mp4": "cut off before its index",
    }


def test_a_bad_file_is_reported_with_name_and_reason(bad, tmp_path):
    for name, reason in bad.items():
        done = run("score", tmp_path / name)
        assert done.returncode == 4, name
        assert name in done.stderr
        assert reason in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""


def test_a_file_without_video_and_sound_is_refused(tmp_path):
    text = Text([(0.0, 1.0, "hello")], "subrip")
    path = write_video(tmp_path / "words.mkv", 0, text=text)
    done = run("score", path)
    assert done.returncode == 4
    assert "words.mkv: has no video and no audio stream, found subtitles only" in done.stderr


def test_a_bad_file_does_not_stop_the_others(bad, clip, tmp_path):
    done = run("score", tmp_path / "text.mp4", clip, "--output", tmp_path / "out", "--end", 2)
    assert done.returncode == 3
    assert (tmp_path / "out/demo/run.json").exists()
    assert not (tmp_path / "out/text").exists()


def test_a_truncated_file_with_an_index_is_scored_up_to_its_end(clip, tmp_path):
    whole = tmp_path / "fast.mp4"
    import av

    with (
        av.open(str(clip)) as source,
        av.open(str(whole), "w", options={"movflags": "faststart"}) as target,
    ):
        streams = {s.index: target.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    done = run("score", cut, "--output", tmp_path / "out")
    assert done.returncode == 3
    about = json.loads((tmp_path / "out/cut/run.json").read_text())
    assert about["status"] == "incomplete"
    assert 3 < about["media_s"] < 14
    last = parse_event((tmp_path / "out/cut/events.jsonl").read_bytes().splitlines()[-1])
    assert last.complete is False
    assert "cut off" in last.detail


def test_an_output_folder_that_cannot_be_written_is_reported(clip, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = run("score", clip, "--output", tmp_path / "file")
    assert done.returncode == 4
    assert "cannot write" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_leaves_no_incomplete_result(clip, tmp_path):
    """The limit on file size stands in for the disk: writes beyond it fail in the same way."""

    def small_disk():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    done = run("score", clip, "--output", tmp_path / "out", preexec_fn=small_disk)
    assert done.returncode == 4
    assert "cannot write" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "out/demo").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("a b.mp4", "a b"),
        ("new\nline.mp4", "new\nline"),
        ("100%d [b]x.mp4", "100%d [b]x"),
        ("-dash.mp4", "-dash"),
        ("no suffix", "no suffix"),
        ("...mp4", "...mp4"),  # without the suffix it would be the folder above
        ("..mp4", "..mp4"),
        (os.fsdecode(b"\xff\xfe.mp4"), os.fsdecode(b"\xff\xfe")),
    ],
)
def test_any_file_name_works(tmp_path, name, folder):
    shutil.copy(write_video(tmp_path / "short.mp4", 10), tmp_path / name)
    done = run("score", "--output", tmp_path / "out", tmp_path / name)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == [folder]
    (line, *_) = (tmp_path / "out" / folder / "events.jsonl").read_bytes().splitlines()
    assert parse_event(line).stream == os.fsencode(name).decode("utf-8", "replace")


def test_files_of_the_same_name_are_separate_and_a_repeated_file_is_scored_once(tmp_path):
    name = os.fsdecode(b"\xff.mp4")
    paths = [write_video(tmp_path / "short.mp4", 10)]
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        paths.append(shutil.copy(paths[0], tmp_path / folder / name))
    done = run("score", *paths, *paths, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").glob("*/run.json"))) == 3


def test_results_of_an_older_run_are_removed(clip, tmp_path):
    assert run("score", clip, "--output", tmp_path, "--end", 1).returncode == 0
    broken = shutil.copytree(POCKET, tmp_path / "bundle")
    (broken / "fusion.onnx").write_bytes(b"")
    done = run("score", clip, "--output", tmp_path, "--bundle", broken)
    assert done.returncode == 4
    assert "fusion.onnx was changed" in done.stderr


def test_ctrl_c_keeps_results_and_marks_them_incomplete(clip, tmp_path):
    from affectstream.bench.recordings import repeat_clip

    long = repeat_clip(clip, 900, tmp_path / "long.mp4")
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from affectstream.stream.cli import main; main()",
            "score",
            str(long),
            "--output",
            str(tmp_path / "out"),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    part = tmp_path / "out/long/.events.jsonl.part"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size > 0) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=30)
    assert process.returncode == 130, messages
    assert "marked incomplete" in messages
    about = json.loads((tmp_path / "out/long/run.json").read_text())
    assert about["status"] == "incomplete"
    events = [
        parse_event(x) for x in (tmp_path / "out/long/events.jsonl").read_bytes().splitlines()
    ]
    assert events[-1].what == "ended"
    assert not events[-1].complete
    assert pq.read_table(tmp_path / "out/long/readings.parquet").num_rows > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--start", "5", "--end", "2"], "must come after start"),
        (["--start", "500"], "beyond its end"),
        (["--format", "xls", "--output", "out"], "expected some of jsonl, parquet, csv, vtt"),
        (["--baseline", "soon"], "expected seconds such as 10s"),
        (["--speaker", "Alice"], "expected a track"),
        (["--channel", "left"], "expected left=TRACK,right=TRACK"),
        (["--device", "gpu"], "'gpu' is not known"),
        (["--bundle", "nowhere"], "'nowhere' not found"),
        (["--audio-track", "7"], "7"),
        (["--transcript", "nowhere.srt"], "nowhere.srt"),
        (["--format", "csv"], "needs --output"),
        (["--speaker", "1", "--speaker", "2"], "already has a track"),
        (["--speaker", "A=1", "--speaker", "A=2"], "already has a track"),
        (["--channel", "left=1,right=2,left=3"], "expected left=TRACK,right=TRACK"),
        (["--channel", "left=2,right=2"], "a different track for each; for a single speaker"),
        (["--threads", "0"], "greater than or equal to 1"),
        (["--threads", "9999"], "less than or equal to 1024"),
        (["--what"], "--what"),
    ],
)
def test_a_bad_option_is_named(clip, options, message):
    done = run("score", clip, *options)
    assert done.returncode in (2, 4)
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_a_closed_reader_ends_it_without_an_error(clip):
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from affectstream.stream.cli import main; main()",
            "score",
            str(clip),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.readline()
    process.stdout.close()
    messages = process.stderr.read().decode()
    assert process.wait(timeout=60) == 0
    assert messages == ""


def test_version_is_printed():
    done = run("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"affectstream {version('affectstream')}\n"


def test_schema_doctor_and_demo_run(tmp_path):
    assert json.loads(run("schema").stdout)["oneOf"]
    doctor = run("doctor")
    assert doctor.returncode == 0, doctor.stdout
    assert "every hash, name and shape agrees" in doctor.stdout
    assert "CC-BY-NC-SA" in doctor.stdout
    demo = run("demo", "--keep", tmp_path, env={**os.environ, "COLUMNS": "100"})
    assert demo.returncode == 0, demo.stderr
    assert "attentive" in demo.stdout
    assert "affectstream score" in demo.stdout
    assert (tmp_path / "demo.mp4").exists()
