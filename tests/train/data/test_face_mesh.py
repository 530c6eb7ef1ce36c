import pytest

from affectstream.train.data.teachers import face_mesh
from tests.support.media import Sound, tone, write_video


def test_times_count_from_the_start_of_the_recording(tmp_path, monkeypatch):
    """OpenCV counts from the first picture, which may come after the first sound."""
    times_s = [0.8 + number / 25 for number in range(12)]
    sound = Sound(tone(1.5, 16_000), 16_000)
    write_video(tmp_path / "late.mp4", 12, times_s=times_s, sound=sound)
    write_video(tmp_path / "whole.mp4", 12)
    monkeypatch.setattr(face_mesh, "measure", lambda points, size: {"yaw": 0.0})
    rows = face_mesh.recordings(tmp_path, lambda picture, paddings: [None])
    found = {
        name: [r["time_s"] for r in rows if r["name"] == name] for name in ("late.mp4", "whole.mp4")
    }
    assert found["late.mp4"] == pytest.approx(times_s, abs=0.002)
    assert found["whole.mp4"] == pytest.approx([number / 25 for number in range(12)], abs=0.002)
