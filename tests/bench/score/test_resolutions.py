"""`bench throughput`: one clip at several sizes."""

import json

import av
import pytest

pytest.importorskip("skimage", reason="the demo's clip comes with the 'demo' extra")

from affectstream.bench.recordings import scale_clip
from affectstream.bench.score.resolutions import main
from affectstream.engines.errors import UsageError
from affectstream.stream.demo import write_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip"))


def test_a_clip_keeps_its_pictures_and_sound_at_another_size(clip, tmp_path):
    path = scale_clip(clip, 320, 180, tmp_path / "small.mp4")
    with av.open(str(clip)) as before, av.open(str(path)) as after:
        assert (after.streams.video[0].width, after.streams.video[0].height) == (320, 180)
        assert after.duration == pytest.approx(before.duration, abs=100_000)
        for kind in ("video", "audio"):
            counts = []
            for container in (before, after):
                container.seek(0)
                counts.append(sum(1 for _ in container.decode(**{kind: 0})))
            assert counts[0] == counts[1] > 0


def test_a_clip_is_cut(clip, tmp_path):
    path = scale_clip(clip, 160, 90, tmp_path / "short.mp4", 2.0)
    with av.open(str(path)) as container:
        assert container.duration == pytest.approx(2e6, abs=100_000)
        assert sum(1 for _ in container.decode(video=0)) == 50


@pytest.mark.slow
def test_each_size_is_a_row(clip, tmp_path, capsys):
    main(clip, "pocket", "cpu", ["360p"], 1.0, 1, tmp_path / "out")
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert json.loads((tmp_path / "out" / "throughput.json").read_text()) == result
    (row,) = result["rows"]
    assert row["size"] == "360p" and not row["stable"]  # one round says nothing
    assert row["hops_per_s"] > 0 and row["cpu_ratio"] > 0
    assert row["frames_per_s"] == pytest.approx(row["realtime"] * 24, rel=0.3)


def test_an_unknown_size_is_named(clip):
    with pytest.raises(UsageError, match="--sizes 4k: expected some of 360p,720p"):
        main(clip, "pocket", "cpu", ["4k"], 1.0, 1, None)
