"""The voice and the text encoder that learn from scratch: what must not change what they hear and read."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.engines.bundle.folder import POCKET
from affectstream.train.loader.augment_sound import change_mel
from affectstream.train.loader.window_spec import loudest_window
from affectstream.train.networks.mel import LogMel
from affectstream.train.networks.network import NetworkSpec
from affectstream.train.networks.whisper import WhisperMel
from affectstream.train.recipes import mel_resnet, ngram_text

SAMPLES = 48_000


@pytest.fixture(scope="module")
def voice():
    torch.manual_seed(0)
    spec = NetworkSpec(outputs=7, samples=SAMPLES, options=mel_resnet.OPTIONS)
    return mel_resnet.MelResNet(spec).eval()


@pytest.fixture(scope="module")
def text():
    torch.manual_seed(0)
    options = {**ngram_text.OPTIONS, **ngram_text.TINY}
    return ngram_text.NgramEncoder(NetworkSpec(outputs=7, vocabulary=400, options=options)).eval()


def tone(hz, seconds=3.0, gain=0.1):
    n = np.arange(int(seconds * 16_000))
    wobble = 1.0 + 0.5 * np.sin(2 * np.pi * 3 * n / 16_000)
    return (gain * wobble * np.sin(2 * np.pi * hz * n / 16_000)).astype(np.float32)


def noise():
    return np.random.default_rng(0).normal(0, 0.05, SAMPLES).astype(np.float32)


def test_mel_equals_librosa():
    # Made with librosa 0.11.0, on a second of wobbling harmonics, noise, a loud tone and silence:
    # np.log(np.maximum(librosa.feature.melspectrogram(y=samples / 32768, sr=16000, n_fft=512,
    # hop_length=256, center=False, n_mels=64, fmin=50, fmax=8000), 1e-10))
    kept = np.load(Path(__file__).parents[2] / "fixtures" / "librosa_mel.npz")
    samples = torch.from_numpy(kept["samples"].astype(np.float32) / 32_768)
    found = LogMel()(samples.unsqueeze(0))[0].numpy()
    assert found.shape == kept["mel"].shape
    np.testing.assert_allclose(found, kept["mel"], atol=1e-4, rtol=0)


def test_the_shipped_voice_computes_the_same_mels():
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(str(POCKET / "voice_encoder.onnx")).graph
    float32 = onnx.TensorProto.FLOAT
    shipped = [
        onnx.numpy_helper.to_array(tensor)
        for size in ([402, 1, 400], [80, 201, 1])
        for tensor in graph.initializer
        if list(tensor.dims) == size and tensor.data_type == float32
    ]
    mel = WhisperMel()
    for found, expected in zip(shipped, (mel.rows, mel.bank), strict=True):
        np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-7)


@pytest.mark.parametrize("gain", [0.0, 1e-9, 1.0])
def test_any_level_is_finite(voice, gain):
    assert torch.isfinite(voice(torch.full((1, SAMPLES), gain))).all()


def test_loudness_does_not_matter(voice):
    sound = torch.from_numpy(tone(220) + noise()).unsqueeze(0)
    assert (voice(sound) - voice(sound * 0.05)).abs().max() < 1e-3


def test_zeros_in_front_do_not_move_the_level():
    half = np.concatenate([np.zeros(24_064, np.float32), noise()[24_064:]])  # whole frames of zeros
    mels = (LogMel()(torch.from_numpy(x).unsqueeze(0)) for x in (noise(), half))
    whole, padded = map(mel_resnet.level, mels)
    assert (whole[0, 0, :, 95:] - padded[0, 0, :, 95:]).abs().max() < 0.05
    # The mean of a band is of other frames of the noise.
    assert (whole[0, 1, :, 95:] - padded[0, 1, :, 95:]).abs().max() < 0.15


def test_the_color_of_a_line_does_not_matter_to_the_second_channel():
    mel = LogMel()(torch.from_numpy(noise() + tone(300)).unsqueeze(0))
    tilted = mel + torch.linspace(-1.0, 1.0, 64).view(1, 64, 1)
    plain, changed = map(mel_resnet.level, (mel, tilted))
    assert (plain[0, 1] - changed[0, 1]).abs().max() < 0.05
    assert (plain[0, 0] - changed[0, 0]).abs().max() > 0.25


def test_changed_mels_are_finite_and_have_the_same_form():
    silent = torch.full((4, 64, 186), float(np.log(1e-10)))
    assert torch.isfinite(change_mel(silent)).all()
    mel = LogMel()(torch.from_numpy(np.stack([tone(200), noise()])))
    torch.manual_seed(0)
    changed = change_mel(mel)
    assert changed.shape == mel.shape and not torch.equal(changed, mel)
    torch.manual_seed(0)
    assert torch.equal(change_mel(mel), changed)


def test_loudest_window():
    clip = np.zeros(80_000, np.float32)
    clip[20_000:60_000] = 0.5
    window = loudest_window(clip, SAMPLES)
    assert window.shape == (SAMPLES,)
    assert np.count_nonzero(window) == 40_000
    short = loudest_window(np.ones(1_000, np.float32), SAMPLES)
    assert short.shape == (SAMPLES,)
    assert short[:-1_000].max() == 0.0
    assert short[-1_000:].min() == 1.0


def tokens(*lengths):
    ids = torch.randint(1, 400, (len(lengths), 64), generator=torch.Generator().manual_seed(0))
    mask = torch.arange(64) < torch.tensor(lengths).unsqueeze(1)
    return ids * mask, mask


def test_padded_tokens_do_not_matter(text):
    ids, mask = tokens(5, 64, 1)
    rubbish = torch.where(mask, ids, torch.randint(1, 400, ids.shape))
    assert torch.equal(text(ids, mask), text(rubbish, mask))
    short, there = tokens(5, 9)
    cut = text(short[:, :9], there[:, :9])
    assert (cut - text(short, there)).abs().max() < 1e-5


def test_a_line_without_tokens_gives_finite_numbers(text):
    assert torch.isfinite(text(*tokens(0, 3))).all()


def test_the_order_of_the_pieces_matters(text):
    ids, mask = tokens(4)
    turned = ids.clone()
    turned[0, :4] = ids[0, :4].flip(0)
    assert not torch.allclose(text(ids, mask), text(turned, mask))


@pytest.mark.parametrize("layers", [0, 1])
def test_a_text_encoder_with_and_without_a_transformer(layers):
    options = {**ngram_text.OPTIONS, **ngram_text.TINY, "text_layers": layers}
    network = ngram_text.NgramEncoder(NetworkSpec(outputs=7, vocabulary=400, options=options))
    assert all(parameter.numel() for parameter in network.parameters())
    assert len(network.layers) == layers
    assert torch.isfinite(network.eval()(*tokens(3, 0))).all()
