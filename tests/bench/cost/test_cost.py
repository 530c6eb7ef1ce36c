"""`bench cost` on small settings."""

import json
import wave

import av
import numpy as np
import pytest

pytest.importorskip("skimage", reason="the demo's clip comes with the 'demo' extra")
pytest.importorskip("scipy", reason="intervals need scipy")

from affectstream.bench.cost import command
from affectstream.bench.cost.crowd import cut_cells, write_crowd
from affectstream.bench.cost.growth import Growth, Point
from affectstream.stream import Recognizer, exits
from affectstream.stream.faces.detection.find import FaceFinder
from tests.support.command import run_command
from tests.support.live_media import write_face
from tests.support.media import write_sound


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_face(tmp_path_factory.mktemp("clip") / "face.mp4", 1)


def test_a_crowd_has_so_many_faces_and_the_sound(clip, tmp_path):
    with Recognizer.open(device="cpu") as recognizer:
        cells = cut_cells(clip, FaceFinder.from_bundle(recognizer.bundle))
    ((height, width, colors),) = {cell.shape for cell in cells}
    assert 160 <= height <= 180 and 300 <= width <= 320 and colors == 3
    path = write_crowd(cells, clip, 3, tmp_path / "crowd.mp4", 2.0)
    with av.open(str(path)) as after:
        assert len(list(after.decode(video=0))) == 50, "forth and back, longer than the clip"
        assert len(after.streams.audio) == 1
    with av.open(str(path)) as after:
        picture = next(after.decode(video=0)).to_ndarray(format="rgb24")
    cells = picture[:720, :1280].reshape(4, 180, 4, 320, 3).swapaxes(1, 2).reshape(16, -1)
    assert [int(np.ptp(cell.astype(int)) > 100) for cell in cells] == [1] * 3 + [0] * 13


@pytest.mark.slow
def test_faces_cost_more_the_more_there_are(clip, tmp_path, capsys):
    line = ("--only", "faces", "--faces", "1,3", "--seconds", 1, "--repeats", 1)
    out = tmp_path / "out"
    assert run_command("bench", "cost", "--source", clip, *line, "-o", out, "--json") == 0
    (printed,) = capsys.readouterr().out.splitlines()
    result = json.loads(printed)
    assert result == json.loads((out / "cost.json").read_text())
    (growth,) = result["growth"]
    assert [row["label"] for row in growth["rows"]] == ["1", "3"]
    one, three = (row["x"] for row in growth["rows"])
    assert 0.5 < one < three <= 3
    assert growth["exponent"]["value"] and growth["exponent"]["low"] is None


def test_tables_a_file_a_picture_and_one_line_of_json(monkeypatch, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    points = tuple(Point(f"{x}", x, (10.0 + x, 11.0 + x, 12.0 + x)) for x in (1, 2, 4))
    given = []

    def measure(name, clip, bundle, device, ranges, seconds, repeats):
        given.append((name, ranges.faces, ranges.minutes, seconds, repeats))
        return Growth(name, points)

    monkeypatch.setattr(command, "_measure", measure)
    line = ("--faces", "1,3", "--minutes", "0.5,480", "--seconds", 2, "--repeats", 1)
    assert run_command("bench", "cost", "--source", "x.mp4", *line, "-o", tmp_path) == 0
    names = ["faces", "resolution", "duration", "sessions"]
    assert given == [(name, [1, 3], [0.5, 480.0], 2.0, 1) for name in names]
    *lines, last = capsys.readouterr().out.splitlines()
    result = json.loads(last)
    assert result == json.loads((tmp_path / "cost.json").read_text())
    assert [growth["name"] for growth in result["growth"]] == names
    assert sum(line.startswith("exponent ") for line in lines) == 4
    assert (tmp_path / "cost.png").stat().st_size > 5000


@pytest.mark.slow
def test_all_of_them(clip, capsys):
    pytest.importorskip("websockets", reason="the server comes with the 'serve' extra")
    small = ("--faces", "1", "--sizes", "360p", "--minutes", "0.25", "--sessions", "1")
    rest = ("--seconds", 5, "--repeats", 1)
    assert run_command("bench", "cost", "--source", clip, *small, *rest) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    growths = json.loads(last)["growth"]
    assert [growth["name"] for growth in growths] == ["faces", "resolution", "duration", "sessions"]
    assert all(growth["rows"][0]["cost"] > 0 for growth in growths)
    assert growths[2]["rows"][0]["peak MB"] > 50
    assert any("peak MB" in line for line in lines)


def test_a_recording_or_folder_that_cannot_be_used_is_named_at_once(tmp_path, capsys):
    sound = tmp_path / "sound.wav"
    with wave.open(str(sound), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(32_000))
    for arguments, code, message in (
        (("--source", "none.mp4"), exits.NOTHING, "none.mp4: no such file"),
        (("--source", sound), exits.NOTHING, "sound.wav: has no pictures"),
        (("--output", sound), exits.USAGE, "is a file"),
        (("--seconds", "inf"), exits.USAGE, "3600"),
    ):
        assert run_command("bench", "cost", "--only", "faces", *arguments) == code
        assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_mistakes_are_named(capsys):
    for option, value, message in (
        ("--faces", "17", "expected numbers from 1 to 16"),
        ("--sizes", "4k", "--sizes 4k: expected some of 360p"),
        ("--minutes", "0", "expected numbers from 0.25 to 1440"),
        ("--only", "pixels", "--only pixels: expected some of faces"),
    ):
        assert run_command("bench", "cost", option, value) == 2
        assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("only", ["faces", "resolution"])
def test_a_file_that_cannot_be_used_is_named(only, tmp_path, capsys):
    sound = write_sound(tmp_path / "a.wav", np.zeros((16_000, 1), np.float32), 16_000, "pcm_s16le")
    for clip, message in ((sound, "has no pictures"), (tmp_path / "none.mp4", "no such file")):
        assert run_command("bench", "cost", "--only", only, "--source", clip) == exits.NOTHING
        assert f"{clip}: {message}" in capsys.readouterr().err
