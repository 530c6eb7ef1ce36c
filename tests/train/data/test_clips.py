"""Clips for training: crops spread over a part, on its own clock, with the sound that belongs to it."""

import numpy as np
import pytest

from affectstream.stream.errors import SourceError
from affectstream.stream.faces.crop import frame_crop, person_crop, scaled_template
from affectstream.train.data.options import Options
from affectstream.train.data.reading.clips import picture_times, read_clip
from affectstream.train.data.reading.crops import Cropper
from tests.support.media import (
    Sound,
    clicks,
    numbered,
    read_number,
    write_sound,
    write_video,
)


@pytest.fixture
def cropper():
    return Cropper("frame", 64)


def shown(clip):
    return [read_number(crop[8:56]) for crop in clip.crops]


def test_frames_lie_in_the_middle_of_equal_parts(tmp_path, cropper):
    film = write_video(tmp_path / "a.mp4", 50)
    clip = read_clip(film, cropper, Options(frames=4))
    assert [*picture_times(Options(frames=4), 0, 2_000_000)] == [
        250_000,
        750_000,
        1_250_000,
        1_750_000,
    ]
    assert shown(clip) == [6, 18, 31, 43]
    assert clip.times_us.tolist() == [240_000, 720_000, 1_240_000, 1_720_000]
    assert clip.frames_seen == 4
    assert clip.audio is None
    assert clip.end_us == 2_000_000


def test_a_short_clip_gives_each_frame_once(tmp_path, cropper):
    film = write_video(tmp_path / "a.mp4", 3)
    clip = read_clip(film, cropper, Options(frames=16))
    assert shown(clip) == [0, 1, 2]


def test_a_part_has_its_own_clock_and_sound(tmp_path, cropper):
    sound = Sound(clicks(4.0, 16_000, at=[0.5, 2.5]), 16_000, "pcm_s16le")
    film = write_video(tmp_path / "a.mkv", 100, sound=sound)
    clip = read_clip(film, cropper, Options(frames=2), start_us=2_000_000, end_us=3_000_000)
    assert shown(clip) == [56, 68]
    assert clip.times_us.tolist() == [240_000, 720_000]
    assert len(clip.audio) == 16_000
    assert np.abs(clip.audio).argmax() == pytest.approx(8_000, abs=40)
    short = read_clip(film, cropper, Options(frames=2), longest_us=1_000_000)
    assert (len(short.audio), short.end_us) == (16_000, 1_000_000)


def test_sound_that_begins_late_keeps_its_time(tmp_path, cropper):
    sound = Sound(clicks(1.0, 16_000, at=[0.25]), 16_000, "pcm_s16le", start_s=1.0)
    film = write_video(tmp_path / "a.mkv", 50, sound=sound)
    clip = read_clip(film, cropper, Options(frames=1))
    assert np.abs(clip.audio).argmax() == pytest.approx(1.25 * 16_000, abs=40)


def test_sound_alone_has_no_frames(tmp_path, cropper):
    path = write_sound(tmp_path / "a.wav", clicks(1.0, 16_000, [0.5]), 16_000, "pcm_s16le")
    clip = read_clip(path, cropper, Options(frames=4))
    assert clip.crops is clip.frames_seen is None
    assert len(clip.audio) == 16_000


def test_damage_is_reported_and_an_empty_file_is_an_error(tmp_path, cropper):
    film = write_video(tmp_path / "a.mkv", [numbered(i) for i in range(100)])
    (tmp_path / "cut.mkv").write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    clip = read_clip(tmp_path / "cut.mkv", cropper, Options(frames=8))
    assert "cut off or damaged" in clip.damage
    assert 1 < len(clip.crops) < 8
    (tmp_path / "none.mkv").write_bytes(b"")
    with pytest.raises(SourceError, match=r"none\.mkv: is empty"):
        read_clip(tmp_path / "none.mkv", cropper, Options(frames=8))


def test_the_template_shows_the_same_at_every_size():
    small, large = np.array(scaled_template(48)), np.array(scaled_template(224))
    np.testing.assert_allclose((large + 0.5) / 224, (small + 0.5) / 48)


def test_a_whole_frame_is_fitted_without_stretching():
    rgb = np.full((50, 100, 3), 200, np.uint8)
    crop = frame_crop(rgb, 40)
    assert (crop[10:30] == 200).all()
    assert (crop[:10] == 0).all() and (crop[30:] == 0).all()
    assert (frame_crop(rgb.transpose(1, 0, 2), 40) == crop.transpose(1, 0, 2)).all()


def test_a_person_is_the_box_three_times_as_wide_within_the_picture():
    rgb = np.zeros((300, 300, 3), np.uint8)
    rgb[105:195, 105:195] = 255
    inside = person_crop(rgb, (120, 120, 180, 180), 90)
    white = inside[..., 0] > 127
    assert white.sum() == pytest.approx(45 * 45, abs=90)  # 90 of 180 pixels, at half the size
    corner = person_crop(rgb, (0, 0, 60, 60), 90)
    # It would reach from -60 to 120; what there is begins at 0.
    assert (corner[80:, 80:] == 255).all()
    assert (corner[:78] == 0).all() and (corner[:, :78] == 0).all()
