"""The voice encoder: its mel, its data and its graph."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.engines.bundle.folder import POCKET
from affectstream.train.data.readers import (
    emodb,
    ravdess,
)
from affectstream.train.data.sample import Sample
from affectstream.train.errors import DataMissing
from affectstream.train.loader.window_spec import loudest_window
from affectstream.train.networks.mel import BANDS, LogMel
from affectstream.train.recipes.pocket.mels import (
    MelStore,
    augment,
    balanced_windows,
    resample,
)
from affectstream.train.recipes.pocket.pocket_voice import (
    EMBEDDING,
    FRAMES,
    RECIPE,
    WINDOW_SAMPLES,
    level,
)


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return RECIPE.module().eval()


def tone(hz, seconds=3.0, gain=0.1):
    n = np.arange(int(seconds * 16_000))
    wobble = 1.0 + 0.5 * np.sin(2 * np.pi * 3 * n / 16_000)
    return (gain * wobble * np.sin(2 * np.pi * hz * n / 16_000)).astype(np.float32)


def test_mel_equals_librosa():
    # Made with librosa 0.11.0, on a second of wobbling harmonics, noise, a loud tone and silence:
    # np.log(np.maximum(librosa.feature.melspectrogram(y=samples / 32768, sr=16000, n_fft=512,
    # hop_length=256, center=False, n_mels=64, fmin=50, fmax=8000), 1e-10))
    kept = np.load(Path(__file__).parents[2] / "fixtures" / "librosa_mel.npz")
    samples = torch.from_numpy(kept["samples"].astype(np.float32) / 32_768)
    found = LogMel()(samples.unsqueeze(0))[0].numpy()
    assert found.shape == kept["mel"].shape
    np.testing.assert_allclose(found, kept["mel"], atol=1e-4, rtol=0)


def test_shapes_and_uniform_prior(encoder):
    embedding, logits = encoder(torch.from_numpy(np.stack([tone(200), tone(300)])))
    assert embedding.shape == (2, EMBEDDING)
    assert logits.shape == (2, 7)
    assert len(RECIPE.prior) == 7
    assert sum(RECIPE.prior) == pytest.approx(1.0)


@pytest.mark.parametrize("gain", [0.0, 1e-9, 1.0])
def test_any_level_is_finite(encoder, gain):
    embedding, logits = encoder(torch.full((1, WINDOW_SAMPLES), gain))
    assert torch.isfinite(embedding).all()
    assert torch.isfinite(logits).all()


def test_loudness_does_not_matter(encoder):
    noise = np.random.default_rng(0).normal(0, 0.05, WINDOW_SAMPLES).astype(np.float32)
    sound = torch.from_numpy(tone(220) + noise).unsqueeze(0)
    loud, quiet = encoder(sound)[1], encoder(sound * 0.05)[1]
    assert (loud - quiet).abs().max() < 1e-3


def test_zeros_in_front_do_not_move_the_level():
    noise = np.random.default_rng(0).normal(0, 0.05, WINDOW_SAMPLES).astype(np.float32)
    half = np.concatenate([np.zeros(24_064, np.float32), noise[24_064:]])  # whole frames of zeros
    whole, padded = (level(LogMel()(torch.from_numpy(x).unsqueeze(0))) for x in (noise, half))
    assert (whole[0, :, 95:] - padded[0, :, 95:]).abs().max() < 0.05


def test_the_exported_graph_agrees(encoder, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    (path,) = RECIPE.export(encoder, tmp_path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    sound = np.stack([tone(150), np.zeros(WINDOW_SAMPLES, np.float32), tone(400)])
    embedding, logits = session.run(["embedding", "logits"], {"samples": sound})
    want = encoder(torch.from_numpy(sound))
    np.testing.assert_allclose(embedding, want[0].detach().numpy(), atol=1e-3)
    np.testing.assert_allclose(logits, want[1].detach().numpy(), atol=1e-3)


def test_the_shipped_graph_equals_an_export(tmp_path):
    """It was rewritten by hand once, for Turing; nothing but the trained numbers may differ."""
    onnx = pytest.importorskip("onnx")
    torch.manual_seed(0)
    module = RECIPE.module().eval()
    for parameter in module.parameters():  # the exporter shares tensors that are alike
        torch.nn.init.normal_(parameter, float(parameter.dim() == 1), 0.02)
    (path,) = RECIPE.export(module, tmp_path)
    exported, shipped = (onnx.load(str(p)).graph for p in (path, POCKET / "voice_encoder.onnx"))

    def kinds(graph):
        return [node.op_type for node in graph.node if node.op_type != "Constant"]

    def spectrogram(graph):
        """What leads to the logarithm: the transform and the filter bank."""
        found = [n.attribute[0].t for n in graph.node if n.op_type == "Constant"]
        return [onnx.numpy_helper.to_array(t) for t in found if len(t.dims) == 3]

    assert kinds(exported) == kinds(shipped)
    assert "MatMul" not in kinds(shipped)
    assert len(spectrogram(shipped)) == 2
    for found, expected in zip(spectrogram(shipped), spectrogram(exported), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)


def test_loudest_window():
    clip = np.zeros(80_000, np.float32)
    clip[20_000:60_000] = 0.5
    window = loudest_window(clip, WINDOW_SAMPLES)
    assert window.shape == (WINDOW_SAMPLES,)
    assert np.count_nonzero(window) == 40_000
    short = loudest_window(np.ones(1_000, np.float32), WINDOW_SAMPLES)
    assert short.shape == (WINDOW_SAMPLES,)
    assert short[:-1_000].max() == 0.0
    assert short[-1_000:].min() == 1.0


def test_resampling_moves_pitch_and_length():
    faster = resample(tone(400, 1.0), 1.25)
    assert len(faster) == 12_800
    peak = int(torch.fft.rfft(faster).abs().argmax()) * 16_000 / 12_800
    assert peak == pytest.approx(500, abs=3)


def test_batches_are_balanced_and_repeat():
    angry = Sample(id="a", emotion="anger", audio=tone(200, 1.5))
    clips = [angry] * 9 + [Sample(id="b", emotion="joy", audio=tone(300, 4.0))]
    batches = balanced_windows(
        MelStore(clips, ("anger", "joy")), frames=FRAMES, batch=32, steps=4, seed=3
    )
    first, again, other = (list(batches.epoch(n)) for n in (0, 0, 1))
    assert first[0]["mel"].shape == (32, BANDS, FRAMES)
    assert all(torch.equal(a[k], b[k]) for a, b in zip(first, again, strict=True) for k in a)
    assert not torch.equal(first[0]["mel"], other[0]["mel"])
    share = torch.cat([b["label"] for b in first]).float().mean()
    assert 0.35 < share < 0.65  # ten per cent of the clips
    assert torch.isfinite(RECIPE.loss(RECIPE.module(), {**first[0]}))


def test_augmentation_stays_finite():
    silent = torch.full((4, BANDS, FRAMES), float(np.log(1e-10)))
    assert torch.isfinite(augment(silent, torch.Generator().manual_seed(0))).all()


def test_splits_share_no_actor():
    parts = [ravdess.TRAIN_ACTORS, ravdess.VALID_ACTORS, ravdess.TEST_ACTORS]
    everyone = [actor for part in parts for actor in part]
    assert sorted(everyone) == list(range(1, 25))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("03-01-01-01-01-01-01", ("neutral", 1)),
        ("03-01-02-01-02-01-12", ("neutral", 12)),
        ("03-01-03-01-01-01-24", ("joy", 24)),
        ("03-01-06-02-01-01-07", ("fear", 7)),
        ("03-01-08-01-01-02-16", ("surprise", 16)),
    ],
)
def test_ravdess_names(name, expected):
    word, actor = ravdess.parse(name)
    assert (ravdess.EMOTIONS[word], actor) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("03a01Fa", ("joy", 3)), ("16b10Wb", ("anger", 16)), ("08a02Lc", ("boredom", 8))],
)
def test_emodb_names(name, expected):
    assert emodb.parse(name) == expected


@pytest.mark.parametrize("parse", [ravdess.parse, emodb.parse])
def test_other_names_are_refused(parse):
    with pytest.raises(ValueError, match="is no"):
        parse("holiday")


def test_missing_data_names_the_expected_path(tmp_path):
    with pytest.raises(DataMissing, match="Actor_21"):
        ravdess.read(tmp_path, ravdess.TEST_ACTORS)
    with pytest.raises(DataMissing, match="emodb"):
        emodb.read(tmp_path)


@pytest.mark.data
def test_ravdess_reader(data_root):
    clips = ravdess.read(data_root, [17])
    assert len(clips) == 60
    assert {clip.participant for clip in clips} == {"ravdess-17"}
    assert {clip.audio.dtype for clip in clips} == {np.dtype(np.float32)}
    assert sum(clip.emotion == "neutral" for clip in clips) == 12  # 4 neutral, 8 calm


@pytest.mark.data
def test_emodb_reader(data_root):
    clips = emodb.read(data_root)
    assert {clip.emotion for clip in clips} == set(emodb.EMOTIONS.values())
    assert {clip.participant for clip in clips}.isdisjoint({"emodb-15", "emodb-16"})
