"""How parts of the input are hidden, and that maps depend on what the network has learned."""

import shutil

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from affectstream.engines.bundle.folder import MANIFEST, POCKET
from affectstream.engines.cache.digest import sha256
from affectstream.stream import Recognizer
from affectstream.stream.demo import babble
from affectstream.stream.explain.explanation import Detail
from affectstream.stream.explain.patches import patches, spread
from affectstream.stream.explain.voice import _quiet_level, inverse_stft, stft


@pytest.mark.parametrize(("size", "count"), [(48, 9), (7, 3), (10, 20), (224, 2)])
def test_patches_cover_every_place(size, count):
    found = patches(size, size, count, count)
    assert len(found) == count * count
    covered = spread(found, np.ones(len(found)), size, size)
    assert np.array_equal(covered, np.ones((size, size)))


def test_a_spectrum_without_changes_gives_the_same_sound():
    sound = babble(2)[:20_000]
    assert np.allclose(inverse_stft(stft(sound), len(sound)), sound, atol=1e-6)


def test_silence_before_a_recording_is_no_quiet_moment_of_its_sound():
    noise = np.random.default_rng(0).normal(0, 0.1, 8_000)
    padded = np.concatenate([np.zeros(40_000), noise]).astype(np.float32)
    alone = _quiet_level(np.abs(stft(noise.astype(np.float32))))
    shares = _quiet_level(np.abs(stft(padded))) / alone
    assert np.median(shares) == pytest.approx(1, abs=0.1)


def test_random_weights_destroy_the_map(pocket, face, tmp_path):
    """The sanity check of Adebayo et al. (2018): a map that survives random weights shows the picture, not
    the network."""
    fine = Detail(face=5, voice_time=2, voice_frequency=2)

    def ranks(recognizer):
        found = recognizer.explain(face, 1.2, explained="joy", detail=fine).document
        return np.argsort(np.argsort(np.ravel(found["face"][0]["grid"])))

    def agreement(one, other):
        return abs(np.corrcoef(one, other)[0, 1])

    learned, again = ranks(pocket), ranks(pocket)
    assert agreement(learned, again) == pytest.approx(1)
    found = []
    for seed in range(2):
        with Recognizer.open(
            _randomized(tmp_path / str(seed), seed), device="cpu", threads=1
        ) as other:
            found.append(agreement(learned, ranks(other)))
    assert np.mean(found) < 0.5


def _randomized(folder, seed):
    """`pocket` with the weights of its face encoder shuffled, layer by layer."""
    shutil.copytree(POCKET, folder)
    path = folder / "face_encoder.onnx"
    model, rng = onnx.load(path), np.random.default_rng(seed)
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype.kind == "f" and values.ndim >= 2:
            mixed = rng.permutation(values.ravel()).reshape(values.shape)
            weight.CopyFrom(numpy_helper.from_array(mixed, weight.name))
    onnx.save(model, path)
    manifest = msgspec.json.decode((folder / MANIFEST).read_bytes())
    manifest["engines"]["face_encoder"]["sha256"] = sha256(path)
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    return folder
