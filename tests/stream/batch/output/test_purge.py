"""Purpose and consent in every result, and removing all that was derived from one recording."""

import hashlib
import json
import shutil
from pathlib import Path, PureWindowsPath

import pyarrow.parquet as pq
import pytest

from affectstream.stream.batch.output.belonging import is_called
from affectstream.stream.batch.output.storage import ObjectStorage
from affectstream.stream.batch.output.store_versions import StoreVersions
from affectstream.stream.events import parse_event
from affectstream.stream.results.origin import METADATA_KEY
from affectstream.stream.sinks import DEFAULT_FORMATS
from tests.stream.batch.test_run import contents, status
from tests.stream.report.test_page import data_of
from tests.support.command import run_command


@pytest.fixture
def scored(talks, tmp_path):
    shutil.copy(talks / "one.srt", talks / "day1/one.srt")
    (talks / "day1/broken.mp4").touch()
    assert run_command("score", talks, "-o", tmp_path / "out", "--workers", 1) == 3
    return tmp_path / "out"


def test_purpose_and_consent_are_in_every_result(talks, tmp_path):
    line = ("score", talks / "one.srt", "-o", tmp_path / "out")
    line = (*line, "--format", ",".join((*DEFAULT_FORMATS, "csv")))
    stated = ("--purpose", "a study of laughter --> 2026", "--consent", "form 12, 2026-03-01")
    assert run_command(*line, *stated) == 0
    folder = tmp_path / "out/one.srt"
    run = json.loads((folder / "run.json").read_text())
    assert (run["purpose"], run["consent"]) == (stated[1], stated[3])
    first, second, *_ = (folder / "events.jsonl").read_bytes().splitlines()
    started = parse_event(first)
    assert (started.purpose, started.consent) == (stated[1], stated[3])
    assert b"purpose" not in second
    table = json.loads(pq.read_schema(folder / "readings.parquet").metadata[METADATA_KEY])
    assert table["options"] == {"purpose": stated[1], "consent": stated[3]}
    words = (folder / "segments.vtt").read_text()
    assert words.startswith(
        "WEBVTT\n\nNOTE purpose: a study of laughter -> 2026\n\nNOTE consent: form 12, 2026-03-01\n"
    )
    others = ("report.html", "people.json", "annotations.eaf", "annotations.TextGrid", "boris.csv")
    for name in (*others, "readings.csv"):
        assert stated[3] in (folder / name).read_text("utf-8"), name
    # Results for one purpose are never taken for those of another.
    assert run_command(*line, "--purpose", "something else") == 2
    assert run_command(*line, "--purpose", "two\nlines", "--overwrite") == 2


def test_consent_may_stand_in_the_table_and_the_summary_has_it(talks, tmp_path):
    (talks / "table.csv").write_text("path,consent\none.srt,form 7\nday1/two.srt,\n")
    assert run_command("score", talks / "table.csv", "-o", tmp_path / "out") == 0
    assert json.loads((tmp_path / "out/one.srt/run.json").read_text())["consent"] == "form 7"
    rows = pq.read_table(tmp_path / "out/summary.parquet").to_pylist()
    assert [row["consent"] for row in rows] == [None, "form 7"]
    shown = data_of((tmp_path / "out/summary.html").read_text("utf-8"))
    assert shown["rows"]["consent"] == [None, "form 7"]


def test_all_results_of_a_recording_are_removed_and_no_others(scored, talks, tmp_path, capsys):
    before, states = contents(scored), status(scored)
    (scored / "day1/two.srt/overlay.mp4").write_bytes(b"made later")
    capsys.readouterr()
    assert run_command("purge", talks / "day1/two.srt", "-o", scored) == 0
    done = json.loads(capsys.readouterr().out)
    assert {one["path"] for one in done["removed"]} >= {
        "day1/two.srt/events.jsonl",
        "day1/two.srt/overlay.mp4",
        "day1/two.srt/run.json",
    }
    assert done["left"] == [] and done["searched"] > 5
    assert not (scored / "day1/two.srt").exists()
    del states["day1/two.srt"]
    assert status(scored) == states
    assert contents(scored) == {n: b for n, b in before.items() if "day1/two.srt" not in n}
    assert run_command("purge", talks / "day1/two.srt", "-o", scored) == 4


def test_a_recording_is_found_by_its_content_or_after_it_is_gone(scored, talks, tmp_path, capsys):
    moved = shutil.copy(talks / "one.srt", tmp_path / "moved.srt")
    (talks / "day1/one.srt").unlink()
    assert run_command("purge", moved, "-o", scored) == 0
    assert not (scored / "one.srt").exists() and not (scored / "day1/one.srt").exists()
    (talks / "day1/three.vtt").unlink()
    assert run_command("purge", talks / "day1/three.vtt", "-o", scored) == 0
    assert run_command("purge", "day1/broken.mp4", "-o", scored) == 0
    assert (scored / "failures.csv").read_text() == "recording,status,kind,reason\n"
    assert set(status(scored)) == {"day1/two.srt"}


def test_a_file_that_still_names_it_is_reported(scored, talks, capsys):
    (scored / "notes.txt").write_text("day1/two.srt was hard to watch")
    table = pq.read_table(scored / "one.srt/readings.parquet")
    names = ["day1/two.srt"] * table.num_rows
    pq.write_table(table.append_column("seen", [names]), scored / "all.parquet", compression="zstd")
    assert run_command("purge", talks / "day1/two.srt", "-o", scored) == 3
    captured = capsys.readouterr()
    assert json.loads(captured.out)["left"] == ["all.parquet", "notes.txt"]
    assert "still name" in captured.err
    assert run_command("purge", "x.mp4", "-o", scored / "nowhere") == 2


def test_a_file_name_that_no_other_recording_has_is_searched_for(scored, talks, capsys):
    (scored / "notes.txt").write_text("two.srt was hard to watch; so was one.srt")
    (scored / "others.txt").write_text("fortytwo.srt, two.srt.0a1b2c3d")
    assert run_command("purge", talks / "day1/two.srt", "-o", scored) == 3
    assert json.loads(capsys.readouterr().out)["left"] == ["notes.txt"]


def test_a_file_name_of_two_recordings_says_nothing(scored, talks, capsys):
    shutil.copytree(scored / "day1/three.vtt", scored / "day2/two.srt")
    (scored / "notes.txt").write_text("two.srt")
    assert run_command("purge", talks / "day1/two.srt", "-o", scored) == 0
    assert json.loads(capsys.readouterr().out)["left"] == []


def test_names_that_hold_the_name_are_those_of_others(talks, tmp_path, capsys):
    for name in ("1.srt", "Interview 1.srt", "访谈1.srt"):
        (talks / name).write_text((talks / "one.srt").read_text().replace("a", name[0], 1))
    assert run_command("score", talks, "-o", tmp_path / "out", "--workers", 1) == 0
    capsys.readouterr()
    assert run_command("purge", talks / "1.srt", "-o", tmp_path / "out") == 0
    assert json.loads(capsys.readouterr().out)["left"] == []


def test_results_that_are_gone_are_still_searched_for(scored, talks, capsys):
    shutil.rmtree(scored / "day1/two.srt")
    (scored / "notes.txt").write_text("two.srt")
    assert run_command("purge", talks / "day1/two.srt", "-o", scored) == 3
    assert json.loads(capsys.readouterr().out)["left"] == ["notes.txt"]
    assert "two.srt" not in (scored / "summary.csv").read_text()


def explanation(folder, **document):
    """The files of an explanation, and one that somebody has put beside them."""
    folder.mkdir(parents=True)
    (folder / "explanation.json").write_text(json.dumps({"type": "explanation"} | document))
    for name in ("explanation.html", "face.png", "frame_2.png", "voice.png", "mine.png"):
        (folder / name).write_bytes(b"a picture")
    return folder


def test_explanations_of_it_are_removed_in_the_output_and_where_the_user_says(
    scored, talks, tmp_path, capsys
):
    recording = talks / "day1/two.srt"
    inside = explanation(scored / "why", stream="two.srt", source=str(recording))
    copied = {"sha256": hashlib.sha256(recording.read_bytes()).hexdigest()}
    outside = explanation(tmp_path / "why/1", stream="x.srt", source="/x.srt", input=copied)
    older = explanation(tmp_path / "why/2", stream="two.srt")
    of_others = [
        explanation(tmp_path / "why/3", stream="two.srt", source="/elsewhere/two.srt"),
        explanation(tmp_path / "why/4", stream="one.srt"),
        explanation(tmp_path / "why/5", type="training", stream="a"),
    ]
    line = ("purge", recording, "-o", scored, "--explanations", tmp_path / "why")
    assert run_command(*line) == 3
    captured = capsys.readouterr()
    done = json.loads(captured.out)
    assert done["left"] == [
        f"{tmp_path}/why/3/explanation.json"
    ]  # the name is that of the recording
    removed = {one["path"] for one in done["removed"]}
    assert {"why/face.png", f"{tmp_path}/why/1/frame_2.png"} < removed
    for folder in (inside, outside, older):
        assert [path.name for path in folder.iterdir()] == ["mine.png"]
    for folder in of_others:
        assert len(list(folder.iterdir())) == 6
    shutil.rmtree(tmp_path / "why/3")
    assert run_command(*line) == 4
    assert run_command(*line[:-1], tmp_path / "nowhere") == 2


def test_a_folder_of_an_explanation_that_is_then_empty_is_removed(scored, talks):
    (scored / "why/this").mkdir(parents=True)
    document = {"type": "explanations", "source": str(talks / "day1/two.srt")}
    (scored / "why/this/explanation.json").write_text(json.dumps(document))
    (scored / "why/this/explanation.mp4").write_bytes(b"a face")
    assert run_command("purge", talks / "day1/two.srt", "-o", scored) == 0
    assert not (scored / "why").exists()


@pytest.fixture(params=["memory", "s3", "s3 with versions"])
def store(request):
    """The address of an empty object store."""
    if request.param == "memory":
        fsspec = pytest.importorskip("fsspec", reason="the 'cluster' extra is not installed")
        fsspec.filesystem("memory").store.clear()
        return "memory://study"
    url = request.getfixturevalue("bucket")
    if request.param != "s3":
        import s3fs

        s3fs.S3FileSystem().make_bucket_versioned(url.split("/")[2], True)
    return url


def test_results_on_an_object_store_are_removed_and_this_is_proven(talks, tmp_path, store, capsys):
    line = ("score", talks, "-f", "jsonl,parquet", "--workers", 1, "-o")
    assert run_command(*line, store) == 0
    place = ObjectStorage(store)
    place.write("day1/two.srt/events.jsonl", b"an older version")
    place.write("day1/two.srt/segments.vtt", b"of an earlier run")
    place.remove("day1/two.srt/segments.vtt")
    place.write("why/explanation.json", json.dumps({"stream": "two.srt"}).encode())
    place.write("why/face.png", b"a picture")
    capsys.readouterr()
    assert run_command("purge", talks / "day1/two.srt", "-o", store) == 0
    done = json.loads(capsys.readouterr().out)
    removed = {one["path"] for one in done["removed"]}
    assert {"day1/two.srt/run.json", "day1/two.srt/events.jsonl", "why/face.png"} <= removed
    assert done["left"] == done["unread"] == done["kept"] == [] and done["searched"] > 5
    assert not [name for name in place.files() if "two.srt" in name or "why" in name]
    (talks / "day1/two.srt").unlink()
    assert run_command(*line, tmp_path / "out") == 0
    assert place.read("summary.csv") == (tmp_path / "out/summary.csv").read_bytes()
    if store.startswith("s3"):
        key = store.partition("://")[2].partition("/")
        kept = place._files.call_s3("list_object_versions", Bucket=key[0], Prefix=key[2])
        versions = [one["Key"] for one in (*kept["Versions"], *kept.get("DeleteMarkers", ()))]
        assert not [name for name in versions if "two.srt" in name or "why" in name]
        assert versions.count(f"{key[2]}/summary.csv") == 1  # the one without it
    place.write("notes.txt", b"day1/two.srt was hard to watch")
    assert run_command("purge", talks / "day1/two.srt", "-o", store) == 3
    assert json.loads(capsys.readouterr().out)["left"] == ["notes.txt"]


def test_a_store_that_may_keep_what_was_removed_is_named(talks, capsys, monkeypatch):
    fsspec = pytest.importorskip("fsspec", reason="the 'cluster' extra is not installed")
    fsspec.filesystem("memory").store.clear()
    assert run_command("score", talks / "one.srt", "-f", "jsonl", "-o", "memory://study") == 0
    monkeypatch.setattr(
        "affectstream.stream.batch.output.store_versions.StoreVersions.__init__",
        lambda self, files, url: self.__dict__.update(_url="gs://study", _scheme="gs"),
    )
    assert run_command("purge", talks / "one.srt", "-o", "memory://study") == 3
    captured = capsys.readouterr()
    assert "soft delete policy" in json.loads(captured.out)["kept"][0]
    assert "removed, but perhaps not gone" in captured.err


class VersionedBucket:
    """A bucket that keeps versions in pages of one, and refuses to remove some."""

    def __init__(self, versions, locked=()):
        self.versions, self.locked = dict(versions), locked

    def call_s3(self, method, **given):
        if method == "delete_object":
            if given["VersionId"] not in self.locked:
                del self.versions[given["VersionId"]]
            return {}
        if "forbidden" in self.locked:
            raise PermissionError("Access Denied")
        known = list(self.versions)
        place = known.index(given["VersionIdMarker"]) + 1 if "VersionIdMarker" in given else 0
        key, latest = self.versions[known[place]]
        page = {"Versions": [{"Key": key, "VersionId": known[place], "IsLatest": latest}]}
        more = {"IsTruncated": True, "NextKeyMarker": key, "NextVersionIdMarker": known[place]}
        return page | (more if place + 1 < len(known) else {})


VERSIONS = {"v1": ("a.csv", False), "v2": ("a.csv", True), "v3": ("a.csv.old", True)}


def test_all_older_versions_are_found_and_no_others():
    bucket = VersionedBucket(VERSIONS)
    found = StoreVersions(bucket, "s3://bucket")
    found.erase("bucket/a.csv", newest=False)
    assert list(bucket.versions) == ["v2", "v3"]
    found.erase("bucket/a.csv", newest=True)
    assert list(bucket.versions) == ["v3"] and found.keeps is None


@pytest.mark.parametrize(
    ("locked", "reason"),
    [("v1", "still has 1 older versions"), ("forbidden", "s3:ListBucketVersions")],
)
def test_versions_that_stay_are_a_reason(locked, reason):
    found = StoreVersions(VersionedBucket(VERSIONS, (locked,)), "s3://bucket")
    found.erase("bucket/a.csv", newest=False)
    assert reason in found.keeps
    assert StoreVersions(None, "memory://a").keeps is None
    assert "not known" in StoreVersions(None, "abfs://a").keeps


def test_an_empty_recording_is_no_copy_of_another(talks, tmp_path):
    for name in ("one.mp4", "two.mp4"):
        (talks / name).touch()
    assert run_command("score", talks, "-o", tmp_path / "out", "--workers", 1) == 3
    assert run_command("purge", talks / "one.mp4", "-o", tmp_path / "out") == 0
    assert (tmp_path / "out/two.mp4/run.json").exists()


def test_results_in_another_output_are_removed_there(scored, talks, capsys):
    assert run_command("purge", talks / "day1/two.srt", "-o", scored.parent) == 2
    assert f"give --output {scored}" in " ".join(capsys.readouterr().err.split())
    assert (scored / "day1/two.srt/run.json").exists()


def test_results_whose_run_cannot_be_read_are_removed(scored, talks):
    (scored / "day1/two.srt/run.json").write_bytes(b"{")
    assert run_command("purge", talks / "day1/two.srt", "-o", scored) == 0
    assert not (scored / "day1/two.srt").exists()


def test_what_a_killed_run_has_left_is_removed_too(scored, talks, capsys):
    """Without `run.json`, and with a table that has no end."""
    for name in ("day1/two.srt", "day2/two.srt", "one.srt"):
        folder = scored / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.json").unlink(missing_ok=True)
        (folder / ".readings.parquet.0a1b2c3d.part").write_bytes(b"PAR1 and no end")
    assert run_command("purge", talks / "day1/two.srt", "-o", scored) == 3
    captured = capsys.readouterr()
    done = json.loads(captured.out)
    assert "day1/two.srt/.readings.parquet.0a1b2c3d.part" in {o["path"] for o in done["removed"]}
    assert not (scored / "day1/two.srt").exists()
    assert done["unread"] == [
        f"{name}/.readings.parquet.0a1b2c3d.part" for name in ("day2/two.srt", "one.srt")
    ]
    assert "could not be searched" in captured.err


def test_the_folder_of_one_recording_is_not_taken_for_all(scored, talks, capsys):
    assert run_command("purge", talks / "one.srt", "-o", scored / "one.srt") == 2
    assert "give --output the folder above it" in " ".join(capsys.readouterr().err.split())
    assert (scored / "one.srt/run.json").exists()


def test_what_cannot_be_removed_is_named(scored, talks, capsys, monkeypatch):
    def refuse(path, missing_ok=False):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        assert run_command("purge", talks / "one.srt", "-o", scored) == 4
    err = " ".join(capsys.readouterr().err.split())
    assert "cannot remove" in err and "Permission denied" in err
    assert run_command("purge", talks / "one.srt", "-o", scored) == 0


def test_folders_that_hold_results_or_files_of_others_are_left_alone(scored, talks, capsys):
    before = contents(scored)
    (scored / "day1/.lock").touch()
    (scored / "day1/.DS_Store").touch()
    assert run_command("purge", "day1", "-o", scored) == 4
    (scored / "day2").mkdir()
    (scored / "day2/raw_interview.mp4").write_text("a recording")
    assert run_command("purge", "day2", "-o", scored) == 4
    (scored / "day2/segments.vtt").write_text("of a killed run")
    capsys.readouterr()
    assert run_command("purge", "day2", "-o", scored) == 0
    done = json.loads(capsys.readouterr().out)
    assert [one["path"] for one in done["removed"]] == ["day2/segments.vtt"]
    assert (scored / "day2/raw_interview.mp4").exists()
    assert contents(scored) == before


def test_unfinished_results_in_another_output_are_removed_there(scored, talks, capsys):
    (scored / "day1/two.srt/run.json").unlink()
    (talks.parent / "study").mkdir()
    output = scored.rename(talks.parent / "study/day0")
    assert run_command("purge", "day0/day1/two.srt", "-o", output.parent) == 2
    assert f"give --output {output}" in " ".join(capsys.readouterr().err.split())
    assert (output / "day1/two.srt/events.jsonl").exists()


def test_pictures_of_an_interrupted_explanation_are_removed(scored, talks):
    why = explanation(scored / "why", source=str(talks / "one.srt"))
    (why / "mine.png").unlink()
    for name in ("explanation.mp4.0a1b2c3d.tmp", "face.png.ffffffff.tmp"):
        (why / name).write_bytes(b"a face")
    assert run_command("purge", talks / "one.srt", "-o", scored) == 0
    assert not why.exists()


def test_the_record_of_what_was_removed_outlives_an_error(scored, talks, capsys, monkeypatch):
    """And the same command goes on, though only the results say what the recording held."""
    (talks / "one.srt").unlink()
    shutil.rmtree(scored / "day1/one.srt")
    copied = json.loads((scored / "one.srt/run.json").read_text())["input"]
    for name in ("why/1", "why/2"):
        explanation(scored / name, source="/copy.srt", input=copied)
    before = Path.unlink

    def refuse(path, missing_ok=False):
        if path == scored / "why/2/face.png":
            raise PermissionError(13, "Permission denied", str(path))
        before(path, missing_ok=missing_ok)

    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        assert run_command("purge", talks / "one.srt", "-o", scored) == 4
    done = json.loads(capsys.readouterr().out)
    assert {"why/1/face.png", "why/1/explanation.json"} <= {one["path"] for one in done["removed"]}
    assert "Permission denied" in done["error"]
    assert run_command("purge", talks / "one.srt", "-o", scored) == 0
    assert not list(scored.rglob("face.png"))


def test_a_place_that_cannot_be_read_stops_a_purge_before_it_removes(
    scored, talks, capsys, monkeypatch
):
    pytest.importorskip("fsspec", reason="the 'cluster' extra is not installed")

    def refuse(*_, **__):
        raise ConnectionError("unreachable")

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.find", refuse)
    line = ("purge", talks / "one.srt", "-o", scored, "--explanations", "memory://why")
    assert run_command(*line) == 4
    assert "unreachable" in capsys.readouterr().err
    assert (scored / "one.srt/run.json").exists()


def test_a_link_to_an_empty_folder_stays_with_its_explanation(scored, talks, tmp_path):
    why = explanation(tmp_path / "why/1", source=str(talks / "one.srt"))
    (tmp_path / "empty").mkdir()
    (why / "link").symlink_to(tmp_path / "empty")
    line = ("purge", talks / "one.srt", "-o", scored, "--explanations", tmp_path / "why")
    assert run_command(*line) == 0
    assert {path.name for path in why.iterdir()} == {"link", "mine.png"}
    assert (tmp_path / "empty").is_dir()


def test_a_place_within_another_is_purged_once(scored, talks, capsys):
    explanation(scored / "why", source=str(talks / "one.srt"))
    capsys.readouterr()
    line = ("purge", talks / "one.srt", "-o", scored, "--explanations", scored / "why")
    assert run_command(*line) == 0
    removed = [one["path"] for one in json.loads(capsys.readouterr().out)["removed"]]
    assert [name for name in removed if "face.png" in name] == ["why/face.png"]


@pytest.mark.parametrize(
    "document",
    [
        {"source": ["x"]},
        {"stream": [1]},
        {"source": "x", "input": "abc"},
        {"source": "x", "input": {"sha256": [1]}},
    ],
)
def test_an_explanation_of_another_program_is_not_ours(scored, talks, tmp_path, document):
    why = explanation(tmp_path / "why/1", **document)
    line = ("purge", talks / "one.srt", "-o", scored, "--explanations", tmp_path / "why")
    assert run_command(*line) == 0
    assert len(list(why.iterdir())) == 6


@pytest.mark.parametrize(
    "odd", [{"input": "text"}, {"input": {"size": 1, "sha256": [1]}}, {"transcript": "text"}]
)
def test_a_run_of_another_program_is_found_by_what_it_states(scored, talks, odd):
    for name in ("day1/two.srt", "one.srt"):
        path = scored / name / "run.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | odd))
    assert run_command("purge", talks / "day1/two.srt", "-o", scored) == 0
    assert not (scored / "day1/two.srt").exists() and (scored / "one.srt").exists()


def test_one_part_is_removed_without_what_belongs_to_the_others(talks, tmp_path, capsys):
    (talks / "table.csv").write_text("path,start,end\none.srt,0,0.5\none.srt,0.5,1\n")
    output = tmp_path / "out"
    assert run_command("score", talks / "table.csv", "-o", output, "-f", "jsonl") == 0
    first, second = sorted(status(output))
    stated = json.loads((output / first / "run.json").read_text())
    stated = {name: stated[name] for name in ("source", "input")}
    explanation(output / first / "why", **stated)
    explanation(output / "why", **stated)
    explanation(tmp_path / "whys/1", **stated | {"source": "/moved.srt"})
    line = ("-o", output, "--explanations", tmp_path / "whys")
    capsys.readouterr()
    assert run_command("purge", first, *line) == 0
    assert list(status(output)) == [second]
    assert (output / "why/face.png").exists() and (tmp_path / "whys/1/face.png").exists()
    assert run_command("purge", talks / "one.srt", *line) == 0
    assert not list(tmp_path.rglob("face.png"))


def test_a_copy_that_stays_is_named(scored, talks, capsys):
    """The recording is gone, so only its results say what it held."""
    (talks / "one.srt").unlink()
    capsys.readouterr()
    assert run_command("purge", talks / "one.srt", "-o", scored) == 3
    assert json.loads(capsys.readouterr().out)["left"] == ["day1/one.srt/run.json"]


def test_what_a_killed_run_has_left_under_another_name_is_found_by_that(scored, talks, capsys):
    (scored / "day1/two.srt/run.json").unlink()
    (scored / "day1/two.srt").rename(scored / "talk")
    (scored / "talk/.readings.parquet.0a1b2c3d.part").write_bytes(b"PAR1 and no end")
    (scored / "notes.txt").write_text("we had a talk")
    assert run_command("purge", talks / "day1/two.srt", "-o", scored) == 3
    assert f"affectstream purge NAME --output {scored}" in capsys.readouterr().err
    assert run_command("purge", "talk", "-o", scored) == 0
    assert not (scored / "talk").exists()


def test_a_plain_word_that_a_table_gave_is_not_searched_for(talks, tmp_path):
    (talks / "table.csv").write_text("path,name\none.srt,talk\nday1/two.srt,\n")
    output = tmp_path / "out"
    assert run_command("score", talks / "table.csv", "-o", output, "-f", "jsonl") == 0
    (output / "notes.txt").write_text("we had a talk")
    assert run_command("purge", "talk", "-o", output) == 0


def test_a_folder_of_results_may_be_given_as_a_path_of_windows():
    assert is_called("day1/talk", PureWindowsPath("day1\\talk"))
    assert not is_called("day1/talk", PureWindowsPath("day2\\talk"))


def test_a_store_that_held_nothing_keeps_nothing(scored, talks, monkeypatch):
    fsspec = pytest.importorskip("fsspec", reason="the 'cluster' extra is not installed")
    fsspec.filesystem("memory").store.clear()
    monkeypatch.setattr(StoreVersions, "keeps", "a soft delete policy")
    line = ("purge", talks / "one.srt", "-o", scored, "--explanations", "memory://why")
    assert run_command(*line) == 0
    held = {"source": str(talks / "day1/two.srt")}
    ObjectStorage("memory://why").write("1/explanation.json", json.dumps(held).encode())
    assert run_command(*line[:1], talks / "day1/two.srt", *line[2:]) == 3


def test_versions_of_another_explanation_in_the_same_folder_stay(talks, tmp_path, bucket):
    import s3fs

    s3fs.S3FileSystem().make_bucket_versioned(bucket.split("/")[2], True)
    assert run_command("score", talks, "-o", tmp_path / "out", "--workers", 1) == 0
    place = ObjectStorage(bucket)
    place.write("why/voice.png", b"of another recording")
    place.remove("why/voice.png")
    held = {"source": str(talks / "one.srt")}
    place.write("why/explanation.json", json.dumps(held).encode())
    place.write("why/face.png", b"a picture")
    line = ("purge", talks / "one.srt", "-o", tmp_path / "out", "--explanations", bucket)
    assert run_command(*line) == 0
    name, _, key = bucket.removeprefix("s3://").partition("/")
    kept = place._files.call_s3("list_object_versions", Bucket=name, Prefix=key)
    assert {one["Key"] for one in kept["Versions"]} == {f"{key}/why/voice.png"}
