"""Sheets and sounds of augmentation: what is on them, and what they are made of."""

import wave

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="needs the train extra")

from affectstream.stream.errors import OutputError
from affectstream.train.cli import application
from affectstream.train.data.dataset import Dataset
from affectstream.train.data.sample import Sample
from affectstream.train.errors import DataError
from affectstream.train.loader.preview import preview
from tests.support.prepared import utterances, write


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    torch.set_num_threads(1)
    return write(tmp_path_factory.mktemp("preview") / "set", list(utterances(6, "train")))


def read_wav(path):
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16_000)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768


def test_the_command_shows_each_sample_beside_its_variants(data, tmp_path):
    done = CliRunner().invoke(
        application,
        ["preview", "--data", str(data), "--output", str(tmp_path / "look"), "--count", "3"],
    )
    assert done.exit_code == 0, done.output
    written = sorted(path.name for path in (tmp_path / "look").iterdir())
    assert sorted(done.output.split()) == [str(tmp_path / "look" / name) for name in written]
    assert len(written) == 2 + 3 * 4

    sheet = cv2.imread(str(tmp_path / "look" / "frames.png"))
    tile = sheet.shape[0] // 3
    assert sheet.shape[1] == 8 * tile
    first = Dataset(data)[1].crops[4][..., ::-1]  # the second of six: the middle of the first third
    shown = cv2.resize(sheet[: tile - 2, : tile - 2], first.shape[:2], interpolation=cv2.INTER_AREA)
    assert np.abs(shown.astype(float) - first).mean() < 3
    variants = [sheet[: tile - 2, k * tile : (k + 1) * tile - 2] for k in range(8)]
    assert len({variant.tobytes() for variant in variants}) == 8

    window = read_wav(tmp_path / "look" / "sound-00-as-it-is.wav")
    assert len(window) == 48_000
    # Two seconds of sound lie at the end of a window of three, as at the start of a recording.
    assert not window[:16_000].any()
    assert np.abs(window[16_000:] - Dataset(data)[1].audio).max() < 1e-4
    changed = [read_wav(tmp_path / "look" / f"sound-00-changed-{n}.wav") for n in (1, 2, 3)]
    assert all(len(one) == len(window) for one in changed)
    assert any((one != window).any() for one in changed)
    # Seven tiles of 64 bands, two pixels each, and 186 frames; gaps between.
    assert cv2.imread(str(tmp_path / "look" / "sound.png")).shape == (3 * 130, 7 * 188, 3)


def test_the_same_seed_writes_the_same_files(data, tmp_path):
    made = [
        {p.name: p.read_bytes() for p in preview(data, tmp_path / name, count=2, seed=seed)}
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert made[0] == made[1]
    assert made[0]["frames.png"] != made[2]["frames.png"]
    assert made[0]["sound.png"] != made[2]["sound.png"]


def test_words_alone_have_nothing_to_show(tmp_path):
    samples = [Sample(id=f"s{n}", text="well", emotion="joy", split="train") for n in range(4)]
    folder = write(tmp_path / "set", samples)
    with pytest.raises(
        DataError, match=r"none of the 4 samples of split train has pictures or sound"
    ):
        list(preview(folder, tmp_path / "look"))
    assert not (tmp_path / "look").exists()


def test_a_folder_that_cannot_be_made_is_an_error(data, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        list(preview(data, tmp_path / "file" / "look"))
