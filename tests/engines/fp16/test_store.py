"""The cache of FP16 graphs: bounded, listed, and cleaned together with the plans."""

import os

import pytest
from typer.testing import CliRunner

pytest.importorskip("onnx", reason="FP16 graphs are derived with the package onnx")

from affectstream.engines.cli import application
from affectstream.engines.fp16.derive import fp16_file
from affectstream.engines.fp16.store import Fp16Store
from tests.support import small_graphs


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("AFFECTSTREAM_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "half"


def command(*arguments, answer=None):
    done = CliRunner().invoke(application, arguments, input=answer)
    assert done.exit_code == 0, done.output
    return done.output


def derived(tmp_path, *names):
    """FP16 graphs of small graphs of these names, the first used longest ago."""
    made = []
    for age, name in enumerate(names):
        made.append(fp16_file(small_graphs.linear(tmp_path / f"{name}.onnx", seed=age)))
        os.utime(made[-1].with_suffix(".sha256"), (1e9 + age, 1e9 + age))
    return made


def names():
    return [graph.name for graph in Fp16Store().graphs()]


def test_each_graph_has_the_name_of_its_source_and_its_last_use(tmp_path):
    first, _ = derived(tmp_path, "first", "second")
    assert names() == ["second.onnx", "first.onnx"]
    assert fp16_file(tmp_path / "first.onnx") == first
    assert names() == ["first.onnx", "second.onnx"]
    assert Fp16Store().graphs()[0].bytes == first.stat().st_size


def test_the_least_recently_used_are_deleted_for_room(root):
    store = Fp16Store(limit_bytes=2500)
    for age, key in enumerate(("a", "b", "a", "c")):
        path = store.graph_for(key, f"{key}.onnx", lambda: bytes(1000))
        os.utime(path.with_suffix(".sha256"), (1e9 + age, 1e9 + age))
    assert sorted(names()) == ["a.onnx", "c.onnx"]
    store.graph_for("large", "large.onnx", lambda: bytes(9000))
    assert names() == ["large.onnx"], "the newest stays, however large"
    assert not [
        path
        for path in root.iterdir()
        if path.name.startswith(("a.onnx", "b.", "c.onnx")) and path.suffix != ".lock"
    ]


def test_a_graph_of_an_older_version_has_no_name_and_is_listed_all_the_same(tmp_path, root):
    [path] = derived(tmp_path, "old")
    note = path.with_suffix(".sha256")
    note.write_text(note.read_text().split()[0] + "\n")
    assert names() == [""]
    assert fp16_file(tmp_path / "old.onnx") == path


def test_list_shows_them(tmp_path, root):
    assert f"0 FP16 graphs, 0 B, in {root}" in command("list")
    [path] = derived(tmp_path, "face")
    shown = command("list")
    [line] = [line for line in shown.splitlines() if "face.onnx" in line]
    assert line.split()[0] == path.stem[:12] and line.endswith("2001-09-09 01:46")
    assert "1 FP16 graphs, " in shown


def test_clean_takes_them_with_the_plans(tmp_path):
    derived(tmp_path, "older", "old")
    fp16_file(small_graphs.linear(tmp_path / "new.onnx", seed=9))
    command("clean", "--runtime", "tensorrt", "--yes")  # a graph is of no runtime
    command("clean", "--older-than", "1", answer="n\n")
    assert len(names()) == 3
    size = Fp16Store().graphs()[0].bytes
    shown = command("clean", "--to-size", str(2 * size), answer="y\n")
    assert "older.onnx  FP16 graph" in shown and "0 plans and 1 FP16 graphs deleted" in shown
    assert names() == ["new.onnx", "old.onnx"]
    command("clean", "--older-than", "1", "--yes")
    assert names() == ["new.onnx"]
    command("clean", "--all", "--yes")
    assert names() == []


def test_clean_sweeps_what_a_killed_process_left(tmp_path, root):
    [kept] = derived(tmp_path, "kept")
    for name in ("0a.onnx", "0b.sha256", "0c.onnx.77.tmp", f"{kept.name}.77.tmp"):
        (root / name).write_bytes(b"12345")
    assert Fp16Store().sweep() == 20
    assert {path.name for path in root.iterdir() if path.suffix != ".lock"} == {
        kept.name,
        kept.with_suffix(".sha256").name,
    }
    assert fp16_file(tmp_path / "kept.onnx") == kept
