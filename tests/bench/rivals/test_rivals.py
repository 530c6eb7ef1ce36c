"""Rivals: adapters, the worker in another Python, pairs, and what is reported where one cannot be run."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from affectstream.bench.rivals import command, environments
from affectstream.bench.rivals.command import line, main, ratios, run_pairs
from affectstream.bench.rivals.environments import NotInstalled, find_python
from affectstream.bench.rivals.process import Pass, RivalFailed, running
from affectstream.bench.rivals.rival import OURS, rivals
from affectstream.engines.errors import UsageError
from affectstream.stream.errors import SourceError
from tests.support.live_media import write_face
from tests.support.media import write_video

PYTHON = Path(sys.executable)


@pytest.fixture
def clip(tmp_path):
    write_video(tmp_path / "clip.mp4", 30, rate=15)
    return tmp_path / "clip.mp4"


def adapter(tmp_path, body):
    file = tmp_path / "adapter.py"
    file.write_text(f"REQUIREMENTS = ('numpy==1',)\n{body}\n")
    return replace(rivals()["naive"], file=file, requirements=("numpy==1",))


def test_every_adapter_states_what_it_computes():
    found = rivals()
    assert next(iter(found)) == OURS
    assert {"fer", "mediapipe", "naive", "torch_eager", "torch_compile", "py_feat"} < set(found)
    for rival in found.values():
        assert rival.title and rival.computes
        assert all("==" in r or "<" in r for r in rival.requirements), "versions are pinned"


@pytest.mark.parametrize(("hz", "looks"), [(0.0, 30), (5.0, 10), (8.0, 16)])
def test_the_worker_looks_at_the_pictures_that_are_due(clip, tmp_path, hz, looks):
    rival = adapter(
        tmp_path, "def open_look(bundle):\n    print('noise')\n    return lambda picture: 2"
    )
    with running(rival, PYTHON, clip, "pocket", hz) as process:
        found = process.run()
        assert process.run().frames == 30
    assert (found.frames, found.looks, found.faces) == (30, looks, 2 * looks)
    assert found.wall_s > 0 and found.cpu_s > 0 and found.peak_mb > 1
    assert process.versions.keys() == {"numpy"}


def test_a_rival_has_nothing_of_our_environment(clip, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "ours")
    body = "import os\ndef open_look(bundle):\n    raise OSError(os.environ.get('PYTHONPATH'))"
    rival = adapter(tmp_path, body)
    with (
        pytest.raises(RivalFailed, match="None"),
        running(rival, PYTHON, clip, "pocket", 0.0),
    ):
        pass


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("def open_look(bundle):\n    import no_such_package", "no_such_package"),
        ("def open_look(bundle):\n    import os; os._exit(3)", "its process ended"),
        ("def open_score(clip, bundle):\n    raise OSError('no weights')", "no weights"),
    ],
)
def test_a_rival_that_fails_gives_its_reason(clip, tmp_path, body, reason):
    rival = adapter(tmp_path, body)
    with pytest.raises(RivalFailed, match=reason), running(rival, PYTHON, clip, "pocket", 0.0):
        pass


def test_a_missing_python_is_reported(clip, tmp_path):
    rival = adapter(tmp_path, "")
    with (
        pytest.raises(RivalFailed, match="No such file"),
        running(rival, tmp_path / "python", clip, "pocket", 0.0),
    ):
        pass


def test_environments_are_given_or_made(tmp_path, monkeypatch):
    fer = rivals()["fer"]
    assert find_python(fer, {"fer": PYTHON}, None) == PYTHON
    assert find_python(rivals()["naive"], {}, None) == PYTHON
    with pytest.raises(NotInstalled, match=r"--environments FOLDER.*fer=="):
        find_python(fer, {}, None)
    with pytest.raises(NotInstalled, match=r"weights.*--python py_feat=PATH"):
        find_python(rivals()["py_feat"], {}, tmp_path)
    calls = []

    def call(*command):
        calls.append(command)
        if "venv" in command:
            (tmp_path / "fer/bin").mkdir(parents=True, exist_ok=True)
            (tmp_path / "fer/bin/python").touch()

    monkeypatch.setattr(environments, "_call", call)
    for _ in range(2):
        assert find_python(fer, {}, tmp_path) == tmp_path / "fer/bin/python"
    assert len(calls) == 2 and calls[1][-2:] == fer.requirements  # the second time it is there
    find_python(replace(fer, requirements=("fer==1",)), {}, tmp_path)
    assert len(calls) == 4, "other versions are installed afresh"


def test_what_pip_says_is_the_reason():
    code = "import sys; print('noise'); print('ERROR: No matching distribution', file=sys.stderr); exit(1)"
    with pytest.raises(NotInstalled, match="No matching distribution"):
        environments._call(sys.executable, "-c", code)


class Scripted:
    def __init__(self, name, order, walls):
        self.name, self.order, self.walls = name, order, iter(walls)

    def run(self):
        self.order.append(self.name)
        wall_s = next(self.walls)
        return Pass(wall_s, 2 * wall_s, 1.0, 1, 1, 1)


def test_pairs_alternate_and_a_busy_moment_spoils_one_of_them():
    order = []
    ours, theirs = Scripted("o", order, [1, 10, 1]), Scripted("t", order, [3, 3, 3])
    found = ratios(run_pairs(ours, theirs, 3))
    assert "".join(order) == "ottoot"
    assert found["wall_ratio"] == found["cpu_ratio"] == 3.0
    assert not found["stable"]


def test_the_command_measures_and_reports(clip, tmp_path, capsys, monkeypatch):
    known = rivals()
    fake = adapter(tmp_path, "def open_look(bundle):\n    return lambda picture: 1")
    fakes = {OURS: replace(fake, name=OURS, requirements=()), "fer": known["fer"]}
    fakes["naive"] = replace(fake, requirements=())
    monkeypatch.setattr(command, "rivals", lambda: fakes)
    main(clip, "pocket", ["fer", "naive"], None, {}, 1.0, 1, tmp_path / "out")
    *_, last = capsys.readouterr().out.splitlines()
    result = json.loads(last)
    assert result == json.loads((tmp_path / "out/rivals.json").read_text())
    ours, fer, naive, rate = result["rows"]
    assert (ours["rival"], ours["frames"]) == ("ours", 30)
    assert "fer==" in fer["not_run"] and "not run" in line(fer)
    assert (naive["looks"], rate["looks"]) == (30, 16)
    assert naive["cpu_ratio"] > 0 and not naive["stable"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["naive", "ours_pictures", "torch_eager"])
def test_the_rivals_that_use_our_engines_find_the_same_faces(tmp_path, capsys, name):
    pytest.importorskip("skimage", reason="the portrait comes with the 'demo' extra")
    if name == "torch_eager":
        pytest.importorskip("torch")
    main(write_face(tmp_path / "face.mp4", 2), "pocket", [name], None, {}, 1.0, 1, None)
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    ours, *others = result["rows"]
    assert ours["faces"] >= 15
    for row in others:
        assert row["faces"] == (50 if row["looks"] == 50 else 16), row


def test_mistakes_are_named(clip, tmp_path):
    with pytest.raises(UsageError, match=r"'nobody'.*naive"):
        main(clip, "pocket", ["nobody"], None, {}, 1.0, 1, None)
    with pytest.raises(SourceError, match="cannot be opened"):
        main(tmp_path / "absent.mp4", "pocket", ["naive"], None, {}, 1.0, 1, None)
    with pytest.raises(UsageError, match="ours"):
        main(clip, "pocket", ["ours"], None, {}, 1.0, 1, None)
