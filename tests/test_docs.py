"""The examples in the README, the docs, the card and CONTRIBUTING.

Python examples run as they stand. Every `affectstream ...` in a block or in the text is read by the command
line's own parser: an option that there is not, or an argument that is missing, fails. The lines that begin as
`RUN` says are run too, on small files made here. What needs a camera, a microphone, a sender, the network, a
GPU, runs or bundles of one's own, or minutes is parsed and no more: the rest of `live`, of `engines` and of
`bench`, `serve`, and of `train` all but `list` and two sets of `prepare`. Of recipes, their options and
pretrained parts it is looked up whether there are such.

The two programs for the server run in `test_serve_media.py`, the file of settings in `test_train_cli.py`;
figures are held to the results in `test_docs_figures.py`.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import entry_points
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
import typer

from affectstream.engines.bundle.folder import POCKET, read_manifest
from affectstream.stream import parse_event
from affectstream.stream.cli import GROUP, _application, main
from affectstream.stream.events import TYPES, AssignedBy, Reason
from affectstream.stream.results.readings import table_schema
from tests.support.live_media import write_face
from tests.support.media import Sound, write_video

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "CONTRIBUTING.md",
    ROOT / "engines/pocket/CARD.md",
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)

RUN = (
    "agree ann.csv ben.csv",
    "demo",
    "doctor",
    "schema",
    "score ",
    "explain interview.mp4 --at 1.5",
    "live --source talk.mp4",
    "engines list",
    "engines compare cpu cpu:fp16",
    "engines pull --list",
    "bench feeds",
    "teach interviews --annotations coded --output",
    "train list",
    "train prepare fer2013 fer2013.zip",
    "train prepare conversation",
)
MADE_BY_THE_SITE = ("reference/commands.md", "reference/pocket.md")
"""Pages that `docs/hooks.py` adds; `mkdocs build --strict` checks links to them."""
MADE = "train prepare fer2013 fer2013.zip --output prepared/fer2013 --duplicates drop"
"""What an example that reads a prepared data set begins with."""
WORDS = """1
00:01:00,200 --> 00:01:01,500
I am so happy to see you, this is wonderful!
"""


def blocks(language):
    for page in PAGES:
        found = [text for name, text in FENCE.findall(page.read_text()) if name == language]
        for number, text in enumerate(found):
            yield pytest.param(text, id=f"{page.stem}-{number}")


def lines():
    """Every command with its arguments, once, without what a shell would do with its output."""
    found = {}
    for page in PAGES:
        text = page.read_text()
        inside = "\n".join(code for name, code in FENCE.findall(text) if name in ("", "text"))
        spans = re.findall(r"`(affectstream [^`]+)`", FENCE.sub("", text))
        for line in [*inside.replace("\\\n", " ").splitlines(), *spans]:
            reader = shlex.shlex(" ".join(line.split()), posix=True, punctuation_chars=True)
            reader.whitespace_split = True
            words = list(reader)
            while "affectstream" in words:
                words = words[words.index("affectstream") + 1 :]
                ends = [n for n, word in enumerate(words) if word in ("|", ">", "&&", ";")]
                found[shlex.join(words[: min(ends, default=None)])] = None
    return list(found)


LINES = lines()
ELSEWHERE = ("--cluster", "--words", "://", "--bundle mine")
"""Lines with these need a cluster, weights, a network or a taught bundle; `tests/stream/words` runs the
second, `tests/train/teach` the last."""
RUNNABLE = [
    line for line in LINES if line.startswith(RUN) and not any(part in line for part in ELSEWHERE)
]


def run(line):
    """Run a command here; what it asks for is that it leaves with 0."""
    words = [
        str(name)
        for word in shlex.split(line)
        for name in (sorted(Path().glob(word)) if "*" in word else [word])
    ]
    code = None
    try:
        main(words)
    except SystemExit as left:
        code = left.code
    assert not code, line


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """The recordings and data sets that the pages name, small."""
    pytest.importorskip("skimage", reason="the portrait comes with the 'demo' extra")
    folder = tmp_path_factory.mktemp("docs")
    write_face(folder / "interview.mp4", 2)
    hum = np.random.default_rng(1).normal(0, 0.01, (62 * 16_000, 1)).astype(np.float32)
    write_video(folder / "talk.mp4", 62 * 5, rate=5, sound=Sound(hum, 16_000))
    (folder / "talk.srt").write_text(WORDS)
    for day in ("day1", "day2"):
        (folder / "recordings" / day).mkdir(parents=True)
        shutil.copy(folder / "talk.srt", folder / "recordings" / day / "talk.srt")
        shutil.copy(folder / "interview.mp4", folder / "recordings" / day / "anna.mp4")
    (folder / "recordings.csv").write_text("path,group\nrecordings/day1/anna.mp4,patients\n")
    sides = np.random.default_rng(0).normal(0, 0.1, (2 * 16_000, 2)).astype(np.float32)
    write_video(folder / "call.mkv", 50, sound=Sound(sides, 16_000))
    (folder / "my-bundle").symlink_to(POCKET)
    (people,) = [p.values[0] for p in blocks("json") if '"tracks"' in p.values[0]]
    (folder / "people.json").write_text(people)
    (folder / "talks.csv").write_text(
        "id,participant,text,label,split\n1,ann,what a day,happy,train\n2,ben,oh no,sadness,valid\n"
    )
    (folder / "ann.csv").write_text("start,end,label\n0,30,neutral\n30,40,happy\n40,62,bored\n")
    (folder / "ben.csv").write_text("start,end,label\n0,31,neutral\n31,45,joy\n45,62,neutral\n")
    _coded_interview(folder)
    with zipfile.ZipFile(folder / "fer2013.zip", "w") as archive:
        for number, name in enumerate(["train/happy", "train/sad", "test/happy", "test/sad"]):
            picture = np.random.default_rng(number).integers(0, 255, (48, 48), np.uint8)
            archive.writestr(f"{name}/{number}.png", cv2.imencode(".png", picture)[1].tobytes())
    return folder


def _coded_interview(folder):
    """Words of one person, and what somebody says of them, for examples that teach."""
    lines = [("I love it, this is wonderful!", "happy"), ("Leave me alone, I hate you!", "angry")]
    cues, rows = [], ["start,end,label"]
    for n in range(20):
        words, label = lines[n % 2]
        start = f"00:{n // 12:02}:{n % 12 * 5:02}"
        cues.append(f"{n + 1}\n{start},000 --> {start},900\n{words}\n")
        rows.append(f"{n * 5 + 1},{n * 5 + 6},{label}")
    for name, text in (("interviews/anna.srt", cues), ("coded/anna.csv", rows)):
        (folder / name).parent.mkdir()
        (folder / name).write_text("\n".join(text) + "\n")


@pytest.fixture
def folder(material, tmp_path, monkeypatch):
    """A folder of one's own with `material` in it, where the test then is."""
    place = shutil.copytree(material, tmp_path / "here", symlinks=True)
    monkeypatch.chdir(place)
    monkeypatch.setenv("AFFECTSTREAM_HOME", str(tmp_path / "home"))
    return place


@pytest.mark.slow
@pytest.mark.parametrize("code", list(blocks("python")))
def test_python_examples(code, folder):
    if "affectstream.train.metrics" in code:
        pytest.importorskip("sklearn", reason="the 'train' extra is not installed")
    if "affectstream.train.evaluate" in code:
        pytest.importorskip("torch", reason="the 'train' extra is not installed")
    if "prepared/fer2013" in code:
        run(MADE)
    if "results/interview.mp4" in code:
        run("score interview.mp4 --output results")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.fixture(scope="module")
def application():
    return typer.main.get_command(_application(list(entry_points(group=GROUP))))


def parsed(command, line):
    """The command that `line` names, and its parameters; the parser raises for what does not fit."""
    words = shlex.split(line)
    while commands := getattr(command, "commands", {}):
        if not words:
            return command, {}
        if words[0].startswith("-"):  # an option of the group, with its value
            assert any(words[0] in option.opts for option in command.params), line
            del words[:2]
        command = commands[words.pop(0)]
    if not words:  # only mentioned by its name
        return command, {}
    return command, command.make_context("affectstream", words).params


@pytest.mark.parametrize("line", LINES)
def test_every_line_is_one_that_the_parser_takes(line, application):
    parsed(application, line)


def test_recipes_and_their_options_are_there(application):
    pytest.importorskip("torch", reason="training needs the 'train' extra")
    from affectstream.train.recipes.registry import recipes

    known, named = recipes(), 0
    for line in LINES:
        if "--recipe" not in line or "NAME" in line:
            continue
        given = parsed(application, line)[1]
        recipe, named = known[given["recipe"]], named + 1
        assert {pair.partition("=")[0] for pair in given.get("options") or []} <= set(
            getattr(recipe, "options", {})
        ), line
        parts = given["weights"] if isinstance(given.get("weights"), (list, tuple)) else []
        assert {part.partition("=")[0] for part in parts if part != "none"} <= set(
            getattr(recipe, "backbones", {})
        ), line
    assert named > 20


def test_every_kind_that_is_to_run_is_there():
    assert not [start for start in RUN if not any(line.startswith(start) for line in RUNNABLE)]


@pytest.mark.parametrize("line", RUNNABLE)
def test_lines_that_run(line, folder, capsys):
    if line.startswith("train list --recipe"):
        pytest.importorskip("torch", reason="training needs the 'train' extra")
    if "fp16" in line:
        pytest.importorskip("onnx", reason="FP16 graphs are derived with onnx")
    run(f"{line} --duration 2s" if line.startswith("live") else line)
    said = capsys.readouterr().out
    if line.startswith(("score", "live")) and "--output" not in line:
        assert [parse_event(event) for event in said.splitlines()]
    (written,) = re.findall(r"--output (\S+)", line) or ["."]
    assert said.strip() or any((folder / written).iterdir())


def test_every_example_is_in_a_fence():
    """An indented block would be found by none of the tests above."""
    for page in PAGES:
        assert not re.findall(r"\n\n {4}\S.*", FENCE.sub("", page.read_text())), page.name


def test_every_link_to_a_file_leads_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            if target.endswith(MADE_BY_THE_SITE):
                continue
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_shows_an_event_and_every_command(application):
    text = (ROOT / "README.md").read_text()
    (event,) = [code for name, code in FENCE.findall(text) if name == "json"]
    assert parse_event(event).label == "joy"
    rows = dict(re.findall(r"^\| `affectstream (\w+)[^|]*\| (.*) \|$", text, re.M))
    for name, command in application.commands.items():
        named = set(re.findall(r"`([\w-]+)`", rows[name]))
        assert set(getattr(command, "commands", ())) <= named, name


def every(command, path=()):
    yield " ".join(path), command
    for name, part in getattr(command, "commands", {}).items():
        yield from every(part, (*path, name))


def test_help_is_whole(application):
    """Every command and group has an example, every option a description, every paragraph one line."""
    for path, command in every(application):
        if path:
            assert "\n\nExample: [bold]affectstream" in command.help, path
        assert not re.search(r"[^\n]\n[^\n]", command.help), path
        assert not [option.name for option in command.params if not option.help], path


def test_every_field_column_and_key_is_documented(folder):
    """`docs/reference/events.md` has a row for each, by its name in backticks."""
    page = (ROOT / "docs/reference/events.md").read_text()
    named = {
        name
        for line in page.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([^`]+)`", line.split("|")[1])
    }
    assert {field for kind in TYPES.values() for field in kind.__struct_fields__} <= named
    run("score interview.mp4 --output results")
    document = json.loads((folder / "results/interview.mp4/run.json").read_text())
    assert set(document) <= named
    assert set(document["counts"]) <= named
    labels = read_manifest(POCKET).labels
    first = {f"{label}{end}" for label in labels[:2] for end in ("", "_intensity")}
    rest = {f"{label}{end}" for label in labels[2:] for end in ("", "_intensity")}
    assert first | (set(table_schema(labels).names) - rest) <= named
    assert set(get_args(Reason)) <= named
    assert set(get_args(AssignedBy)) <= named
