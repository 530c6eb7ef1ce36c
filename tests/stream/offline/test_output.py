"""Which folder results go to."""

from pathlib import Path

import pytest

from affectstream.stream.offline.output import folder_names, live_folder_name
from affectstream.stream.sinks import DEFAULT_FORMATS, FORMATS, RECORDING_FORMATS
from affectstream.stream.sinks.by_format import FILE_SINKS
from affectstream.stream.sinks.whole import RECORDING_WRITERS


def test_a_folder_has_the_name_of_its_recording():
    paths = [Path("a/talk.mp4"), Path("b/call.2024.wav"), Path("no_suffix"), Path("said.srt")]
    assert folder_names(paths) == ["talk.mp4", "call.2024.wav", "no_suffix", "said.srt"]


def test_recordings_of_the_same_name_get_different_folders():
    first, second, third = folder_names([Path("a/x.mp4"), Path("b/x.mp4"), Path("b/y.mp4")])
    assert third == "y.mp4"
    assert first != second
    for name in (first, second):
        stem, _, mark = name.rpartition(".")
        assert (stem, len(mark)) == ("x.mp4", 8)
    # The mark is of the path alone, so a second run finds its folders again.
    assert folder_names([Path("b/x.mp4"), Path("a/x.mp4")]) == [second, first]


def test_a_file_played_live_gets_the_folder_name_of_its_recording(tmp_path):
    path = tmp_path / "my talk.v2.mp4"
    path.touch()
    assert live_folder_name(path.name, str(path)) == folder_names([path])[0] == "my talk.v2.mp4"


@pytest.mark.parametrize(
    ("name", "source", "folder"),
    [
        ("rtsp://10.0.0.5:554/door", "rtsp://u:p@10.0.0.5:554/door", "rtsp_10.0.0.5_554_door"),
        ("camera /dev/video0", "0", "camera_dev_video0"),
        ("microphone default", None, "microphone_default"),
    ],
)
def test_the_name_of_a_live_source_becomes_a_valid_folder_name(name, source, folder):
    assert live_folder_name(name, source) == folder


def test_every_format_has_a_class():
    assert tuple(FILE_SINKS) == FORMATS
    assert tuple(RECORDING_WRITERS) == RECORDING_FORMATS
    assert set(DEFAULT_FORMATS) < {*FORMATS, *RECORDING_FORMATS}
