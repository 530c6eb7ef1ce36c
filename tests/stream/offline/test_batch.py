"""`affectstream score`: result files, messages and exit codes."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import version

import pyarrow.parquet as pq
import pytest

from affectstream.engines.bundle.folder import POCKET
from affectstream.stream import parse_event
from tests.support.media import (
    Text,
    write_video,
)
from tests.support.scoring import run


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
    names = sorted(path.name for path in (tmp_path / "one/demo.mp4").iterdir())
    assert names == ["events.jsonl", "readings.csv", "readings.parquet", "run.json", "segments.vtt"]
    for name in names[:3] + names[4:]:
        one, two = (tmp_path / d / "demo.mp4" / name for d in ("one", "two"))
        assert one.read_bytes() == two.read_bytes(), name
        assert str(tmp_path).encode() not in one.read_bytes()
    about = json.loads((tmp_path / "one/demo.mp4/run.json").read_text())
    assert about["status"] == "complete"
    assert about["media_s"] == pytest.approx(16, abs=0.1)


def test_other_libraries_read_the_result_files(clip, tmp_path):
    assert run("score", clip, "--output", tmp_path / "out").returncode == 0
    events = [
        parse_event(line)
        for line in (tmp_path / "out/demo.mp4/events.jsonl").read_bytes().splitlines()
    ]
    table = pq.read_table(tmp_path / "out/demo.mp4/readings.parquet")
    assert table.num_rows == sum(event.type == "emotion" for event in events)
    import av

    with av.open(str(tmp_path / "out/demo.mp4/segments.vtt")) as cues:
        found = [p for p in cues.demux() if p.size]
    assert len(found) == sum(event.type == "segment" for event in events) > 0


# --- inputs of every kind ---

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
        assert done.returncode == (2 if name == "folder.mp4" else 4), name
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
    assert (tmp_path / "out/demo.mp4/run.json").exists()
    about = json.loads((tmp_path / "out/text.mp4/run.json").read_text())
    assert (about["status"], about["failure"]["kind"]) == ("failed", "input")


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
    about = json.loads((tmp_path / "out/cut.mp4/run.json").read_text())
    assert about["status"] == "incomplete"
    assert 3 < about["media_s"] < 14
    last = parse_event((tmp_path / "out/cut.mp4/events.jsonl").read_bytes().splitlines()[-1])
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
    assert list((tmp_path / "out/demo.mp4").iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "a b.mp4",
        "new\nline.mp4",
        "100%d [b]x.mp4",
        "-dash.mp4",
        "no suffix",
        "...mp4",
        os.fsdecode(b"\xff\xfe.mp4"),
    ],
)
def test_any_file_name_works(tmp_path, name):
    shutil.copy(write_video(tmp_path / "short.mp4", 10), tmp_path / name)
    done = run("score", "--output", tmp_path / "out", tmp_path / name)
    assert done.returncode == 0, done.stderr
    folders = [path.name for path in (tmp_path / "out").iterdir() if path.is_dir()]
    assert folders == [name]
    (line, *_) = (tmp_path / "out" / name / "events.jsonl").read_bytes().splitlines()
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


def test_a_folder_of_results_never_replaces_the_recording(clip, tmp_path):
    recording = tmp_path / "talk.mp4"
    recording.write_bytes(clip.read_bytes())
    done = run("score", recording, "--output", tmp_path, "--end", 1)
    assert done.returncode == 4
    assert "where a file of that name stands: choose another --output" in done.stderr
    assert recording.read_bytes() == clip.read_bytes()


def test_results_of_an_older_run_are_removed(clip, tmp_path):
    assert run("score", clip, "--output", tmp_path / "out", "--end", 1).returncode == 0
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
    parts = (tmp_path / "out/long.mp4").glob
    deadline = time.monotonic() + 60
    while (
        not any(p.stat().st_size for p in parts(".events.jsonl.*.part"))
        and time.monotonic() < deadline
    ):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=30)
    assert process.returncode == 130, messages
    assert "marked incomplete" in messages
    about = json.loads((tmp_path / "out/long.mp4/run.json").read_text())
    assert about["status"] == "incomplete"
    events = [
        parse_event(x) for x in (tmp_path / "out/long.mp4/events.jsonl").read_bytes().splitlines()
    ]
    assert events[-1].what == "ended"
    assert not events[-1].complete
    assert pq.read_table(tmp_path / "out/long.mp4/readings.parquet").num_rows > 0


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


@pytest.mark.slow
def test_schema_doctor_and_demo_run(tmp_path):
    assert json.loads(run("schema").stdout)["oneOf"]
    doctor = run("doctor")
    assert doctor.returncode == 0, doctor.stdout
    assert "all hashes, names and shapes match" in doctor.stdout
    assert "CC-BY-NC-SA" in doctor.stdout
    demo = run("demo", "--keep", tmp_path, env={**os.environ, "COLUMNS": "100"})
    assert demo.returncode == 0, demo.stderr
    assert "attentive" in demo.stdout
    assert "affectstream score" in demo.stdout
    assert (tmp_path / "demo.mp4").exists()
