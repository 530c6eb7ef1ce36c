"""Large pictures are converted in parts, which are those of the whole."""

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectstream.stream.media.partial_picture import LargePicture, WholePicture, open_picture
from affectstream.stream.media.picture import to_rgb
from affectstream.stream.media.types import RIGHT_ANGLES, UPRIGHT, Frame, Rotation


def smooth(width: int, height: int, pixels: str = "yuv420p") -> av.VideoFrame:
    """A colorful picture without sharp edges."""
    coarse = np.random.default_rng(0).integers(90, 166, (18, 32, 3)).astype(np.uint8)
    rgb = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format=pixels)


@pytest.fixture(scope="module")
def pictures() -> dict[tuple[int, int], av.VideoFrame]:
    return {size: smooth(*size) for size in ((1280, 720), (1538, 866), (3840, 2160))}


@settings(max_examples=25, deadline=None)
@given(
    size=st.sampled_from([(1280, 720), (1538, 866)]),
    rotation=st.sampled_from([*RIGHT_ANGLES, Rotation(False, True, False)]),
    corner=st.tuples(st.floats(-200, 1600), st.floats(-200, 1600)),
    extent=st.tuples(st.floats(0, 700), st.floats(0, 700)),
)
def test_a_part_holds_the_pixels_of_the_whole(pictures, size, rotation, corner, extent):
    frame = Frame(0, pictures[size], rotation)
    picture, whole = open_picture(frame), to_rgb(frame)
    assert isinstance(picture, LargePicture)
    assert picture.shape == whole.shape[:2]
    (x0, y0), (height, width) = corner, picture.shape
    x1, y1 = x0 + extent[0], y0 + extent[1]
    part = picture.part((x0, y0, x1, y1))
    rows, columns = part.rgb.shape[:2]
    assert rows and columns
    same = whole[part.y : part.y + rows, part.x : part.x + columns]
    assert np.array_equal(part.rgb, same)
    if 0 <= x0 < width and 0 <= y0 < height:
        assert part.x <= x0 and part.y <= y0
        assert part.x + columns >= min(x1, width) and part.y + rows >= min(y1, height)


@pytest.mark.parametrize("rotation", RIGHT_ANGLES)
def test_the_reduced_picture_shows_the_whole(pictures, rotation):
    frame = Frame(0, pictures[1280, 720], rotation)
    picture, whole = open_picture(frame), to_rgb(frame)
    height, width = (s // 4 for s in picture.shape)
    reduced, scale = picture.reduced(height, width)
    assert scale == 4
    assert reduced.shape[:2] == (height, width)
    expected = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
    assert np.abs(reduced.astype(int) - expected).mean() < 2


def test_the_reduced_picture_is_not_smaller_than_asked(pictures):
    reduced, scale = open_picture(Frame(0, pictures[1538, 866])).reduced(217, 385)
    assert (scale, reduced.shape) == (2, (433, 769, 3))


@pytest.mark.parametrize("rotation", [UPRIGHT, RIGHT_ANGLES[1]])
def test_a_picture_of_twice_the_largest_side_is_averaged(pictures, rotation):
    frame = Frame(0, pictures[3840, 2160], rotation)
    picture, whole = open_picture(frame), to_rgb(frame)
    assert picture.shape == whole.shape[:2]
    part = picture.part((200, 300, 500, 700))
    rows, columns = part.rgb.shape[:2]
    same = whole[part.y : part.y + rows, part.x : part.x + columns]
    assert np.abs(part.rgb.astype(int) - same).mean() < 2
    reduced, scale = picture.reduced(*(s // 4 for s in picture.shape))
    assert scale == 4
    assert reduced.shape[:2] == tuple(s // 4 for s in picture.shape)


@pytest.mark.parametrize(
    ("picture", "aspect"),
    [
        (smooth(640, 360), 1.0),
        (smooth(1280, 720), 1.5),
        (smooth(1280, 720, "rgb24"), 1.0),
        (smooth(1280, 720, "yuv420p10le"), 1.0),
        (smooth(2048, 1152), 1.0),
        (smooth(1280, 721), 1.0),
    ],
)
def test_other_pictures_are_converted_as_a_whole(picture, aspect):
    frame = Frame(0, picture)
    opened = open_picture(frame, aspect)
    assert isinstance(opened, WholePicture)
    assert np.array_equal(opened.whole(), to_rgb(frame, pixel_aspect=aspect))
