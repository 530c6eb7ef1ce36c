"""The package of `docs/guides/extend.md`, installed and used as the page says."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from affectstream.stream import OptionError
from affectstream.stream.sinks import by_format
from tests.support.command import run_command

PAGE = (Path(__file__).parents[1] / "docs/guides/extend.md").read_text()


def block(language, number=0):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)[number]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the package installed in ``site``, and small input."""
    folder = tmp_path_factory.mktemp("extend")
    source = folder / "affect_extras"
    source.mkdir()
    (source / "pyproject.toml").write_text(block("toml"))
    (source / "affect_extras.py").write_text(block("py"))
    (source / "affect_extras_train.py").write_text(block("py", 1))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    target = ["--disable-pip-version-check", "--target", folder / "site", source]
    done = subprocess.run([*pip, *target], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (folder / "talk.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nI am so happy!\n")
    (folder / "diaries.csv").write_text("id,entry,mood\n1,what a day,happy\n2,oh no,sad\n")
    return folder


def run(installed, line):
    code = "from affectstream.stream.cli import main; main()"
    path = os.pathsep.join([str(installed / "site"), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code, *shlex.split(line)[1:]],
        cwd=installed,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done


LINES = block("sh").splitlines()[1:]


def test_a_sink_and_a_live_source(installed):
    score, live = LINES[:2]
    run(installed, score)
    assert re.match(r"0\.5 no_words\n", (installed / "results/talk.srt/labels.txt").read_text())
    run(installed, live)
    (events,) = (installed / "results").glob("gradient*/events.jsonl")
    found = [json.loads(line) for line in events.read_text().splitlines()]
    assert {event["stream"] for event in found} == {"gradient:10"}
    assert any(event["type"] == "emotion" for event in found)
    assert found[-1]["what"] == "ended" and found[-1]["counts"]["frames"] > 0


def test_a_data_set_and_a_recipe(installed):
    pytest.importorskip("torch", reason="training needs the 'train' extra")
    prepare, recipe = LINES[2:]
    assert "2 samples" in run(installed, prepare).stdout
    assert "channels=16" in run(installed, recipe).stdout


def test_an_entry_point_that_cannot_be_used_is_named(tmp_path, monkeypatch, capsys):
    info = tmp_path / "broken-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[affectstream.sinks]\nbad=gone:Sink\nodd=json:loads\n")
    monkeypatch.syspath_prepend(tmp_path)
    talk = tmp_path / "talk.srt"
    talk.write_text("1\n00:00:00,000 --> 00:00:01,000\nI am so happy!\n")
    assert run_command("score", talk, "-o", tmp_path / "out", "-f", "bad") == 2
    assert "'bad' of broken (affectstream.sinks: gone:Sink) cannot be" in capsys.readouterr().err
    with pytest.raises(OptionError, match="expected a subclass of FileSink"):
        by_format.file_writer("odd")
    assert run_command("score", talk, "-o", tmp_path / "out", "-f", "none") == 2
    assert "bad, odd" in " ".join(capsys.readouterr().err.replace("│", " ").split())
