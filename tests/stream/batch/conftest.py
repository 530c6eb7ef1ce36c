"""Recordings that take no time: words alone."""

import pytest

WORDS = "1\n00:00:00,000 --> 00:00:01,000\nI am so happy, this is wonderful!\n"


@pytest.fixture
def talks(tmp_path):
    """A folder with three recordings, and two that are damaged."""
    folder = tmp_path / "talks"
    for number, name in enumerate(("one.srt", "day1/two.srt", "day1/three.vtt")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        head = "WEBVTT\n\n" if name.endswith(".vtt") else ""
        words = WORDS.replace(",000", ".000") if head else WORDS
        path.write_text(head + words.replace("happy", "happy " * (number + 1)))
    return folder


@pytest.fixture
def damaged(talks):
    (talks / "empty.mp4").touch()
    (talks / "day1/text.mp4").write_text("Dear diary, this is not a film.\n" * 40)
    return talks
