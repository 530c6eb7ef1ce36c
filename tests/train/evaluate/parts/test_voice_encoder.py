"""Measuring the voice of a bundle: the noise, the room, the corpora."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="evaluation needs the 'train' extra")

from affectstream.train.data.dataset import Dataset
from affectstream.train.evaluate.parts import voice_encoder as voices
from affectstream.train.evaluate.parts.voice_models import open_voice_model
from tests.support import prepared


def sounds():
    rng = np.random.default_rng(0)
    found = rng.normal(0, 0.1, (3, 48_000)).astype(np.float32)
    found[0, :20_000] = 0.0
    found[2] = 0.0
    return found


@pytest.mark.parametrize("ratio_db", [20, 0])
def test_pink_noise_has_the_stated_ratio_and_stays_out_of_silence(ratio_db):
    clean = sounds()
    noise = voices.add_pink_noise(clean, ratio_db) - clean
    assert not noise[0, :20_000].any() and not noise[2].any()
    powers = [np.mean(part[0, 20_000:] ** 2) for part in (clean, noise)]
    assert 10 * np.log10(powers[0] / powers[1]) == pytest.approx(ratio_db, abs=1.0)
    spectrum = np.abs(np.fft.rfft(noise[1])) ** 2
    low, high = spectrum[300:600].mean(), spectrum[3_000:6_000].mean()
    assert 10 * np.log10(low / high) == pytest.approx(10, abs=1.5), "3 dB an octave"


def test_a_room_goes_on_after_the_sound():
    click = np.zeros((1, 48_000), np.float32)
    click[0, 10_000] = 1.0
    heard = voices.add_echo(click)[0]
    assert not np.abs(heard[:10_000]).max() > 1e-6
    assert heard[10_000] == pytest.approx(1.0, abs=1e-5)
    assert np.sum(heard[10_001:] ** 2) == pytest.approx(1.0, rel=0.01)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "set"
    made = list(prepared.utterances(12, "valid", crops=1))
    for number, sample in enumerate(made):
        sample.id = f"{'one' if number < 8 else 'two'}/{sample.id}"
        sample.gender = "female" if number % 2 else "male"
    return prepared.write(folder, made)


def test_every_corpus_is_measured_alone_and_as_it_is_changed(data):
    with open_voice_model("pocket") as model:
        found = voices.evaluate(model, data, ["valid"])
    counts = {(h.corpus, h.clips): h.count for h in found.hearings}
    assert counts["one", "as they are"] == 8 and counts["two", "as they are"] == 4
    assert counts["one", "female speakers"] == 4 and counts["all", "as they are"] == 12
    for ratio_db in voices.NOISES_DB:
        assert counts["two", f"pink noise {ratio_db} dB below"] == 4
    assert sum(map(sum, found.confusion)) == 12
    assert set(found.recalls["one"]) == set(Dataset(data).column("emotion")[:8])
    assert found.megabytes > 0 and found.milliseconds > 0


def test_an_emotion_that_was_not_learned_is_never_right(data):
    class Joyful:
        labels = ("joy", "sadness")
        samples = 48_000
        megabytes = 1.0

        def __call__(self, sounds):
            return np.tile(np.float32([1, 0]), (len(sounds), 1))

        def encode(self, sounds):
            return None

    found = voices.evaluate(Joyful(), data, ["valid"])
    for label, recall in found.recalls["one"].items():
        assert recall == (label == "joy")
    emotions = set(Dataset(data).column("emotion"))
    assert set(found.labels) == emotions | {"joy", "sadness"}
