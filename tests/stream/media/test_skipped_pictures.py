"""The decoder may skip pictures that no grid point needs; the grid gets the same frames."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from affectstream.stream.media.grid import GridSampler
from affectstream.stream.media.picture import to_rgb
from affectstream.stream.media.recording import Recording
from affectstream.stream.media.types import Frame
from tests.support.media import Muxing, write_video

Looks = list[tuple[range, int | None, bytes]]


def sampled(path: Path, hz: int, **options: object) -> tuple[Looks, int, int]:
    """The frames of the grid, how many pictures were decoded for them, and the end of the recording."""
    grid, looks = GridSampler(hz), []
    with Recording.open(path, **options) as recording:  # type: ignore[arg-type]
        for item in recording:
            if isinstance(item, Frame):
                looks += grid.push(item)
        looks += grid.flush(recording.end_us)
        end_us, count = recording.end_us, recording.counts()["frames"]
    told = [
        (s.points, s.frame and s.frame.pts_us, to_rgb(s.frame).tobytes() if s.frame else b"")
        for s in looks
    ]
    return told, count, end_us


def same(path: Path, hz: int) -> tuple[int, int]:
    every, of_all, end = sampled(path, hz)
    some, decoded, same_end = sampled(path, hz, frame_hz=hz)
    assert some == every
    assert same_end == end
    return decoded, of_all


@pytest.mark.parametrize("hz", [2, 4, 8, 25, 60])
@pytest.mark.parametrize(("codec", "suffix"), [("libx264", "mp4"), ("libx264", "ts"),
                                               ("libx264", "avi"), ("libx265", "mkv"),
                                               ("libvpx-vp9", "webm"), ("mpeg4", "avi"), ("mpeg4", "mp4"),
                                               ("mpeg2video", "ts")])  # fmt: skip
def test_the_grid_gets_the_same_frames(tmp_path: Path, codec: str, suffix: str, hz: int) -> None:
    path = write_video(tmp_path / f"a.{suffix}", 60, codec=codec)
    same(path, hz)


def test_b_frames_that_serve_no_point_are_not_decoded(tmp_path: Path) -> None:
    muxing = Muxing(video_options={"bf": "3", "b-pyramid": "normal", "g": "30"})
    decoded, of_all = same(write_video(tmp_path / "b.mp4", 120, muxing=muxing), 4)
    assert of_all == 120
    assert decoded < 0.8 * of_all


def test_decoder_threads_do_not_change_which_pictures_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("affectstream.stream.media.recording.THREADED_PIXELS", 0)
    muxing = Muxing(video_options={"bf": "3", "b-pyramid": "normal", "g": "30"})
    path = write_video(tmp_path / "b.mp4", 120, muxing=muxing)
    assert sampled(path, 4, frame_hz=4, threads=3) == sampled(path, 4, frame_hz=4)


def test_without_b_frames_every_picture_is_decoded(tmp_path: Path) -> None:
    muxing = Muxing(video_options={"bf": "0"})
    assert same(write_video(tmp_path / "p.mp4", 60, muxing=muxing), 4) == (60, 60)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(st.sampled_from([5, 17, 33, 40, 125, 250, 400]), min_size=8, max_size=40),
    hz=st.integers(1, 20),
    b_frames=st.integers(0, 4),
)
def test_variable_frame_rates(tmp_path: Path, steps: list[int], hz: int, b_frames: int) -> None:
    times = (np.cumsum(steps) / 1000).tolist()
    muxing = Muxing(video_options={"bf": str(b_frames)})
    same(write_video(tmp_path / "v.mp4", len(times), times_s=times, muxing=muxing), hz)


@pytest.mark.data
def test_real_clips(data_root: Path) -> None:
    clips = sorted((data_root / "video").glob("*.mp4"))[:4]
    shares = [same(clip, 8) for clip in clips]
    assert sum(decoded for decoded, _ in shares) < sum(of_all for _, of_all in shares)
