"""`overlay.mp4`: every frame, the sound, the times, the faces drawn or blurred."""

from __future__ import annotations

import re
from base64 import b64decode
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from affectstream.engines.landmarks import FIVE_POINTS
from affectstream.stream.overlay.draw import COLORS, blur, draw
from affectstream.stream.overlay.places import FaceAt, FacePlaces
from affectstream.stream.report import document
from tests.stream.report.test_page import data_of
from tests.support.command import run_command
from tests.support.media import Sound, tone, write_sound, write_video


def decoded(path: Path) -> tuple[list[float], list[NDArray[np.uint8]], float, str | None]:
    """Times and pictures of the video, seconds of its sound, and the codec of that."""
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        frames = list(container.decode(video=0))
    pictures = [frame.to_ndarray(format="rgb24") for frame in frames]
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return [f.time for f in frames], pictures, 0.0, None
        codec = container.streams.audio[0].codec_context.name
        heard = list(container.decode(audio=0))
        seconds = heard[-1].time + heard[-1].samples / heard[-1].sample_rate
    return [f.time for f in frames], pictures, seconds, codec


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, portrait: NDArray[np.uint8]) -> Path:
    """Three seconds of a face with a tone, 25 frames a second."""
    picture = np.ascontiguousarray(portrait[:480, 40:400])
    folder = tmp_path_factory.mktemp("overlay")
    return write_video(
        folder / "face.mp4", [picture] * 75, sound=Sound(tone(3.0, 48_000), 48_000, "aac")
    )


def scored(clip: Path, tmp_path: Path, formats: str, *more: str) -> Path:
    assert run_command("score", clip, "-o", tmp_path / "out", "--format", formats, *more) == 0
    return tmp_path / "out" / clip.name


def test_every_frame_has_its_time_and_the_sound_stays(clip: Path, tmp_path: Path) -> None:
    folder = scored(clip, tmp_path, "overlay")
    times, pictures, seconds, codec = decoded(folder / "overlay.mp4")
    assert times == pytest.approx([n / 25 for n in range(75)], abs=0.001)
    assert codec == "aac" and seconds == pytest.approx(3.0, abs=0.1)
    _, before, _, _ = decoded(clip)
    drawn = np.abs(pictures[50].astype(int) - before[50]).max(2) > 60
    assert 0.002 < drawn.mean() < 0.2


def test_a_blurred_face_is_found_by_nobody(clip: Path, tmp_path: Path) -> None:
    folder = scored(clip, tmp_path, "overlay,overlay-blurred,parquet")
    again = scored(folder / "overlay-blurred.mp4", tmp_path / "again", "parquet")
    plain = scored(folder / "overlay.mp4", tmp_path / "plain", "parquet")
    found = {
        name: pq.read_table(f / "readings.parquet")
        for name, f in {"again": again, "plain": plain}.items()
    }
    assert set(found["again"]["track"].to_pylist()) == {None}
    assert 1 in found["plain"]["track"].to_pylist()


def test_a_recording_on_its_side_is_drawn_upright(
    tmp_path: Path, portrait: NDArray[np.uint8]
) -> None:
    upright = np.ascontiguousarray(portrait[32:512, :512])
    lying = np.ascontiguousarray(np.rot90(upright, -1))
    clip = write_video(tmp_path / "lying.mp4", [lying] * 16, rate=8)
    _, pictures, _, _ = decoded(scored(clip, tmp_path, "overlay") / "overlay.mp4")
    assert pictures[8].shape == upright.shape
    unchanged = np.abs(pictures[8].astype(int) - upright).sum(2) < 90
    assert 0.8 < unchanged.mean() < 0.998


def test_the_axes_of_a_head_turn_with_it() -> None:
    box, points = np.array([0.3, 0.3, 0.7, 0.7]), np.full((5, 2), 0.5)
    drawn = {}
    for yaw in (-60.0, 60.0):
        picture = np.zeros((360, 360, 3), np.uint8)
        reading = {"yaw": yaw, "pitch": 0.0, "roll": 0.0}
        draw(picture, [FaceAt(1, box, points, reading)])
        _, across = np.nonzero(np.abs(picture.astype(int) - (100, 160, 255)).sum(2) < 20)
        drawn[yaw] = across.mean() - 180
    assert drawn[-60.0] * drawn[60.0] < 0 and abs(drawn[60.0]) > 8


def test_a_part_begins_at_zero_and_states_the_consent(clip: Path, tmp_path: Path) -> None:
    part = ("--start", "1", "--end", "2", "--consent", "form 12")
    folder = scored(clip, tmp_path, "overlay", *part)
    with av.open(str(folder / "overlay.mp4")) as container:
        assert container.metadata["comment"] == "consent: form 12"
    times, _, seconds, _ = decoded(folder / "overlay.mp4")
    assert times[0] == pytest.approx(0.0, abs=0.04) and times[-1] == pytest.approx(0.96, abs=0.08)
    assert seconds == pytest.approx(1.0, abs=0.1)


def test_sound_that_mp4_cannot_hold_becomes_aac(tmp_path: Path) -> None:
    clip = write_video(
        tmp_path / "talk.mkv", 50, sound=Sound(tone(2.0, 16_000), 16_000, "pcm_s16le")
    )
    _, _, seconds, codec = decoded(scored(clip, tmp_path, "overlay") / "overlay.mp4")
    assert codec == "aac" and seconds == pytest.approx(2.0, abs=0.15)


def test_frames_keep_a_variable_rate_and_odd_sizes_are_cut(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.5, 0.6, 1.4]
    pictures = [np.full((51, 67, 3), 90, np.uint8) for _ in times]
    clip = write_video(
        tmp_path / "odd.mkv",
        pictures,
        rate=Fraction(25),
        times_s=times,
        codec="ffv1",
        pix_fmt="yuv444p",
    )
    found, shown, _, _ = decoded(scored(clip, tmp_path, "overlay") / "overlay.mp4")
    assert found == pytest.approx(times, abs=0.002)
    assert shown[0].shape == (50, 66, 3)


def test_a_recording_without_pictures_has_no_overlay_and_the_user_hears_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = write_sound(tmp_path / "talk.wav", tone(2.0, 16_000), 16_000, "pcm_s16le")
    folder = scored(clip, tmp_path, "overlay,jsonl")
    assert not (folder / "overlay.mp4").exists() and (folder / "events.jsonl").exists()
    err = " ".join(capsys.readouterr().err.split())
    assert "talk.wav: no overlay.mp4, since the recording has no pictures" in err


def readings(*rows: tuple[int, float, float]) -> pa.Table:
    """Readings of (track, start, left) with a face in the middle of the hop."""
    made: list[dict[str, Any]] = []
    points = {f"{name}_{axis}": 0.5 for name in FIVE_POINTS for axis in "xy"}
    for track, start_s, left in rows:
        about = {"track": track, "t_start": start_s, "t_end": start_s + 0.5}
        about |= {"face_t": start_s + 0.25, "label": "joy", "confidence": 0.9, "abstain": None}
        about |= {"attention_state": "away", "yaw": None, "pitch": None, "roll": None}
        about |= {"gaze_yaw": None, "gaze_pitch": None}
        box = {"left": left, "top": 0.1, "right": left + 0.2, "bottom": 0.4}
        made.append(about | {"modalities": "video"} | box | points)
    return pa.Table.from_pylist(made)


def test_a_face_moves_evenly_between_its_places_and_stays_for_a_while() -> None:
    places = FacePlaces(readings((1, 0.0, 0.1), (1, 0.5, 0.3), (1, 5.0, 0.3)), hold_s=0.3)
    (face,) = places.at(0.5)
    assert face.box[0] == pytest.approx(0.2)
    assert face.reading is not None and face.reading["label"] == "joy"
    assert places.at(1.0)[0].box[0] == pytest.approx(0.3)
    assert places.at(2.0) == []
    assert places.at(4.96)[0].reading is None


def test_nothing_of_a_blurred_face_is_left_at_the_border() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (100, 100, 3), np.uint8)
    face = FaceAt(1, np.array([0.8, 0.8, 1.1, 1.2]), np.zeros((5, 2)), None)
    before = picture.copy()
    blur(picture, [face])
    assert np.ptp(picture[85:, 85:].astype(int)) < np.ptp(before[85:, 85:].astype(int)) / 2
    assert (picture[:50] == before[:50]).all()


def test_the_colors_are_those_of_the_report() -> None:
    script = (Path(document.__file__).parent / "page/bands.js").read_text()
    line = next(line for line in script.splitlines() if line.startswith("const COLORS"))
    assert dict(re.findall(r'(\w+): "(#\w{6})"', line)) == COLORS


def test_an_embedded_report_holds_a_picture_of_each_person(clip: Path, tmp_path: Path) -> None:
    folder = scored(clip, tmp_path, "report,report-embedded")
    assert data_of((folder / "report.html").read_text("utf-8"))["portraits"] == {}
    found = data_of((folder / "report-embedded.html").read_text("utf-8"))["portraits"]
    kind, _, text = found["1"].partition(",")
    assert list(found) == ["1"] and kind == "data:image/jpeg;base64"
    picture = cv2.imdecode(np.frombuffer(b64decode(text), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (96, 96, 3) and picture.std() > 20
